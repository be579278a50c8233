"""Near duplicates: texts whose shingles overlap by at least a threshold, found by MinHash and LSH, then verified.

Shingles are the runs of five bytes of the folded text, so any language and one-word changes work; the similarity is
Jaccard's: shared shingles over all shingles. LSH only proposes pairs: every pair that counts was compared in full.
A. Broder (1997), *On the resemblance and containment of documents*; the signatures are rensa's R-MinHash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHINGLE_BYTES = 5
PERMUTATIONS = 126
SEED = 17
ALL_PAIRS = 12
"""Buckets up to this size propose all their pairs; larger ones a chain and a star, which the other bands complete."""
COMPARED = 5_000
"""Pairs compared at once: the shingles of their texts take some 60 MB."""
AT_ONCE, TRIED = 2_000_000, 300
"""Of ``matches``: pairs that are counted at once, some 50 MB, and most reference texts that a text is compared with."""
MIX = 0x9E3779B97F4A7C15


def bands(threshold: float) -> tuple[int, int]:
    """Bands and rows a band: the most rows with which two texts at the threshold still meet in 99 of 100 cases."""
    best = (PERMUTATIONS, 1)
    for rows in range(2, 15):
        count = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= 0.99:
            best = (count, rows)
    return best


def pairs(
    batches: Iterable[list[bytes]], size: int, fetch: Callable[[NDArray[np.int64]], list[bytes]], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of texts at least as similar as the threshold that LSH proposes.

    Args:
        batches: folded texts as UTF-8, in order.
        size: number of texts in all batches.
        fetch: the folded texts at some positions, each position given once and in order.
        threshold: least Jaccard similarity, 0 to 1.

    Returns:
        Positions of shape ``(pairs, 2)``, the smaller first, and the similarity of each pair.
    """
    import numpy as np

    proposed = _proposed(_signatures(batches, size, threshold))
    found, similar = [], []
    for start in range(0, len(proposed), COMPARED):
        some = proposed[start : start + COMPARED]
        places = np.unique(some)
        sets = {int(place): shingles(text) for place, text in zip(places, fetch(places), strict=True)}
        scores = np.array([_jaccard(sets[a], sets[b]) for a, b in some.tolist()])
        found.append(some[scores >= threshold])
        similar.append(scores[scores >= threshold])
    if not found:
        return np.empty((0, 2), np.int64), np.empty(0)
    return np.concatenate(found), np.concatenate(similar)


def matches(texts: list[bytes], reference: Iterable[list[bytes]], threshold: float) -> NDArray[np.float64]:
    """Of each text the similarity to a reference text that is at least as similar as the threshold.

    Only pairs of a text and a reference text are compared, never two of the reference, the likeliest first, and a text
    that has found its like is compared no more. At most 10,000 reference texts are held at once.

    Args:
        texts: folded texts as UTF-8.
        reference: folded texts as UTF-8, batch by batch.
        threshold: least Jaccard similarity, 0 to 1.

    Returns:
        Similarities ``[texts]``; 0 where no reference text is alike.
    """
    import numpy as np

    found = np.zeros(len(texts))
    wanted = _signatures([texts], len(texts), threshold)
    for batch in _some(reference):
        left, theirs = np.flatnonzero(found == 0), dict[int, frozenset[bytes]]()
        for one, others in _likeliest(wanted[:, left], _signatures([batch], len(batch), threshold)):
            own = shingles(texts[left[one]])
            for other in others:
                if other not in theirs:
                    theirs[other] = shingles(batch[other])
                score = _jaccard(own, theirs[other])
                if score >= threshold:
                    found[left[one]] = score
                    break
    return found


def shingles(text: bytes) -> frozenset[bytes]:
    """The runs of five bytes in a folded text; none where it is shorter."""
    return frozenset(text[i : i + SHINGLE_BYTES] for i in range(len(text) - SHINGLE_BYTES + 1))


def _jaccard(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def _signatures(batches: Iterable[list[bytes]], size: int, threshold: float) -> NDArray[np.uint64]:
    """Band hashes of shape ``(bands, texts)``; 0 for texts too short to have a shingle."""
    import numpy as np
    from rensa import RMinHash

    count, rows = bands(threshold)
    signatures, start = np.zeros((count, size), np.uint64), 0
    for texts in _some(batches):
        tokens, offsets = _tokens(texts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(tokens, offsets, PERMUTATIONS, SEED)
        signature = np.array(matrix.to_rows(), dtype=np.uint64)[:, : count * rows].reshape(len(texts), count, rows)
        value = np.zeros((len(texts), count), np.uint64)
        for row in range(rows):
            value = (value ^ signature[:, :, row]) * np.uint64(MIX)
            value ^= value >> np.uint64(29)
        value[np.diff(offsets.astype(np.int64)) == 0] = 0
        signatures[:, start : start + len(texts)] = value.T
        start += len(texts)
    return signatures


def _some(batches: Iterable[list[bytes]], most: int = 10_000) -> Iterator[list[bytes]]:
    for texts in batches:
        for start in range(0, len(texts), most):
            yield texts[start : start + most]


def _tokens(texts: list[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes of all texts' shingles in one array, and where each text's begin."""
    import numpy as np

    flat = np.frombuffer(b"".join(texts) + bytes(SHINGLE_BYTES - 1), dtype=np.uint8)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    total = len(flat) - SHINGLE_BYTES + 1
    packed = np.zeros(total, np.uint64)
    for place in range(SHINGLE_BYTES):
        packed = (packed << np.uint64(8)) | flat[place : place + total]
    ends = np.cumsum(lengths)
    whole = np.ones(total, dtype=bool)
    for back in range(1, SHINGLE_BYTES):
        crossing = ends[lengths >= back] - back
        whole[crossing] = False
    counts = np.maximum(lengths - SHINGLE_BYTES + 1, 0)
    tokens = packed[whole] * np.uint64(MIX)
    return tokens ^ (tokens >> np.uint64(32)), np.r_[0, np.cumsum(counts)].astype(np.uint64)


def _proposed(signatures: NDArray[np.uint64]) -> Any:
    """Distinct pairs of positions that share a bucket in at least one band."""
    import numpy as np

    size = signatures.shape[1]
    proposed = np.empty(0, np.int64)
    for band in signatures:
        order = np.argsort(band, kind="stable")
        value = band[order]
        starts = np.flatnonzero(np.r_[True, value[1:] != value[:-1]]) if size else np.empty(0, np.int64)
        sizes = np.diff(np.r_[starts, size])
        new = [_within(order, starts[(sizes == k) & (value[starts] != 0)], k) for k in range(2, ALL_PAIRS + 1)]
        for start, many in zip(starts, sizes, strict=True) if (sizes > ALL_PAIRS).any() else ():
            if many > ALL_PAIRS and value[start]:
                bucket = order[start : start + many]
                new.append(np.c_[np.repeat(bucket[0], many - 1), bucket[1:]])
                new.append(np.c_[bucket[:-1], bucket[1:]])
        both = np.concatenate(new)
        codes = both.min(axis=1) * size + both.max(axis=1)
        proposed = np.union1d(proposed, codes)
    return np.c_[proposed // max(size, 1), proposed % max(size, 1)]


def _likeliest(wanted: NDArray[np.uint64], reference: NDArray[np.uint64]) -> Iterator[tuple[int, list[int]]]:
    """Of each text that meets reference texts in a bucket their positions, those first that it meets in most bands."""
    import numpy as np

    orders = np.argsort(reference, axis=1, kind="stable")
    ranked = np.take_along_axis(reference, orders, axis=1)
    first = np.stack([np.searchsorted(*two, "left") for two in zip(ranked, wanted, strict=True)])
    end = np.stack([np.searchsorted(*two, "right") for two in zip(ranked, wanted, strict=True)])
    many = np.where(wanted != 0, end - first, 0)
    turn = np.cumsum(many.sum(axis=0)) // AT_ONCE
    for texts in np.split(np.arange(wanted.shape[1]), np.flatnonzero(np.diff(turn)) + 1):
        met = [np.empty(0, np.int64)]
        for order, start, count in zip(orders, first[:, texts], many[:, texts], strict=True):
            one = np.repeat(np.arange(len(texts)), count)
            nth = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
            met.append(one * reference.shape[1] + order[start[one] + nth])
        codes, bands = np.unique(np.concatenate(met), return_counts=True)
        one, other = np.divmod(codes, max(reference.shape[1], 1))
        best = np.lexsort((-bands, one))
        for some in np.split(best, np.flatnonzero(np.diff(one[best])) + 1) if len(best) else ():
            yield int(texts[one[some[0]]]), other[some[:TRIED]].tolist()


def _within(order: NDArray[np.int64], starts: NDArray[np.int64], size: int) -> Any:
    """All pairs within the buckets of one size."""
    import numpy as np

    members = order[starts[:, None] + np.arange(size)]
    one, other = np.triu_indices(size, 1)
    return np.c_[members[:, one].ravel(), members[:, other].ravel()]


def leave_out(
    found: NDArray[np.int64], rank: NDArray[np.int64], compatible: Callable[[int, int], bool], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose, in the order of ``rank``, the texts that stay; a text like one that stays goes.

    Args:
        found: pairs of positions.
        rank: importance of each position; the lowest is looked at first.
        compatible: whether the second text may go because of the first, which ranks before it.
        size: number of texts.

    Returns:
        Positions that go, sorted, and for each the position of a similar text that stays.
    """
    import numpy as np

    swap = rank[found[:, 0]] > rank[found[:, 1]]
    first = np.where(swap, found[:, 1], found[:, 0])
    second = np.where(swap, found[:, 0], found[:, 1])
    because = np.full(size, -1, np.int64)
    # All pairs of a text with earlier ones come together, and what was decided about those is final by then.
    for place in np.lexsort((rank[first], rank[second])).tolist():
        one, other = int(first[place]), int(second[place])
        if because[other] < 0 and because[one] < 0 and compatible(one, other):
            because[other] = one
    gone = np.flatnonzero(because >= 0)
    return gone, because[gone]

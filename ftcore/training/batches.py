"""Batches without padding waste: rows of like length together, several short rows in one sequence, parts that fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler

from ftcore.models.features import IGNORED, Collator, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = "row_numbers"
"""Key of a batch's row numbers: which rows they are must be known when their loss is not a number."""
POOLED = 100
"""Batches whose rows are sorted by length together. More is less padding, fewer is more chance."""


class ByLength(Sampler[int]):  # type: ignore[misc] # torch is skipped by mypy
    """Row numbers in an order in which each batch holds rows of like length, and batches come in random order.

    The order is a function of the seed and the epoch alone: a run that is resumed needs no memory of it.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        """Keep what the order is drawn from; ``batch_size`` counts the rows of one optimiser step."""
        super().__init__()
        self.lengths = torch.tensor(lengths)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens of an epoch's rows."""
        return int(self.lengths.sum())

    def _grouped(self, order: torch.Tensor) -> torch.Tensor:
        """Rows in an order in which neighbours are of like length."""
        pools = order.split(self.batch_size * POOLED)
        return torch.cat([pool[self.lengths[pool].argsort(stable=True)] for pool in pools])

    def _drawn(self, chance: torch.Generator) -> torch.Tensor:
        """The epoch's rows, by chance."""
        return torch.randperm(len(self.lengths), generator=chance)

    def __iter__(self) -> Iterator[int]:
        """The epoch's order."""
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        batches = list(self._grouped(self._drawn(chance)).split(self.batch_size))
        # The odd batch stays last, so that each process of several gets whole batches.
        places = torch.randperm(len(self.lengths) // self.batch_size, generator=chance).tolist()
        for place in [*places, *range(len(places), len(batches))]:
            yield from batches[place].tolist()


class ByLabel(ByLength):
    """The same with rows drawn by their label: an epoch has as many rows, and each label its share of them.

    A label whose share is more than its rows is gone through several times; of one whose share is less a part is seen,
    another one in each epoch.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, groups: tuple[list[list[int]], list[float]]
    ) -> None:
        """Keep what the order is drawn from; ``groups`` are row numbers by label, and shares."""
        super().__init__(lengths, batch_size, seed)
        self.groups = [torch.tensor(numbers) for numbers in groups[0]]
        self.shares = torch.tensor(groups[1], dtype=torch.float64)

    @property
    def tokens(self) -> int:
        """Tokens that an epoch's rows have in the mean."""
        means = torch.tensor([self.lengths[rows].double().mean() for rows in self.groups], dtype=torch.float64)
        return int(len(self) * (means * self.shares).sum())

    def _drawn(self, chance: torch.Generator) -> torch.Tensor:
        ends = (self.shares.cumsum(0) * len(self)).round().long()
        counts = ends.diff(prepend=torch.zeros(1, dtype=torch.long)).tolist()
        drawn = [_rounds(rows, count, chance) for rows, count in zip(self.groups, counts, strict=True)]
        order = torch.cat(drawn)
        return order[torch.randperm(len(order), generator=chance)]


def _rounds(rows: torch.Tensor, wanted: int, chance: torch.Generator) -> torch.Tensor:
    """So many of some rows: all of them as often as that takes, each time in another order, and the rest by chance."""
    rounds = [rows[torch.randperm(len(rows), generator=chance)] for _ in range(-(-wanted // len(rows)))]
    return torch.cat([rows[:0], *rounds])[:wanted]


class ByPart(ByLength):
    """The same for rows of several parts: each batch holds rows of one, and each part has its share of the batches.

    An epoch has as many batches as its rows fill. A part whose share is more than its rows is gone through several
    times, each time in another order; of one whose share is less a part is seen, another one in each epoch. Shares
    are kept exactly in each epoch, but for the batch that is drawn where they leave a fraction of one.
    """

    def __init__(self, features: Any, batch_size: int, seed: int) -> None:
        """Keep what the order is drawn from: ``lengths``, ``parts`` and ``shares`` of encoded rows."""
        super().__init__(features.lengths, batch_size, seed)
        self.numbers = {part: torch.tensor(rows) for part, rows in sorted(by_part(features).items())}
        self.shares = torch.tensor([features.shares[part] for part in self.numbers], dtype=torch.float64)

    def __len__(self) -> int:
        """Rows of an epoch: every batch is full."""
        return -(-len(self.lengths) // self.batch_size) * self.batch_size

    @property
    def tokens(self) -> int:
        """Tokens that an epoch's rows have in the mean."""
        means = torch.tensor([self.lengths[rows].double().mean() for rows in self.numbers.values()])
        return int(len(self) * (means * self.shares / self.shares.sum()).sum())

    def batches(self, chance: torch.Generator) -> dict[str, int]:
        """Batches of each part in an epoch: its share of them, rounded by chance."""
        exact = self.shares / self.shares.sum() * (len(self) // self.batch_size)
        counts = exact.floor()
        left = int(exact.sum().round() - counts.sum())
        if left:
            counts[torch.multinomial((exact - counts).clamp_min(1e-9), left, generator=chance)] += 1
        return dict(zip(self.numbers, counts.int().tolist(), strict=True))

    def __iter__(self) -> Iterator[int]:
        """The epoch's order."""
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        batches: list[torch.Tensor] = []
        for part, count in self.batches(chance).items():
            rows, wanted = self.numbers[part], count * self.batch_size
            batches += self._grouped(_rounds(rows, wanted, chance)).split(self.batch_size) if wanted else ()
        for place in torch.randperm(len(batches), generator=chance).tolist():
            yield from batches[place].tolist()


def by_part(rows: Any) -> dict[str, list[int]]:
    """Numbers of the rows of each part; all under an empty name where there are no parts."""
    if not rows.parts:
        return {"": list(range(len(rows)))}
    found: dict[str, list[int]] = {}
    for number, part in enumerate(rows.parts):
        found.setdefault(part, []).append(number)
    return found


def ordered(
    rows: Any, batch_size: int, seed: int, groups: tuple[list[list[int]], list[float]] | None = None
) -> ByLength:
    """The order in which rows are trained on: by length, by part where they are of several, or by label."""
    if groups is not None:
        return ByLabel(rows.lengths, batch_size, seed, groups)
    return ByPart(rows, batch_size, seed) if rows.parts else ByLength(rows.lengths, batch_size, seed)


class Packed:
    """Several rows of a causal model in one sequence of at most ``max_length`` tokens, none cut.

    Positions start again with each row, by which attention keeps the rows apart; the first token of a row is not
    learnt, since nothing of its own row comes before it. Best fit, longest rows first. Rows of two parts share none.
    """

    def __init__(self, features: Features, max_length: int) -> None:
        """Put the rows into bins."""
        self.features = features
        self.row_ids, self.shares = features.row_ids, features.shares
        packed = {part: _packed(rows, features.lengths, max_length) for part, rows in by_part(features).items()}
        self.bins = [one for bins in packed.values() for one in bins]
        self.parts = [part for part, bins in packed.items() for _ in bins] if features.parts else []

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence."""
        return [sum(self.features.lengths[number] for number in one) for one in self.bins]

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return self.features.tokens

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.bins)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """One sequence: ``input_ids``, ``labels`` and ``position_ids`` of its rows one after the other."""
        joined: dict[str, Any] = {"input_ids": [], "labels": [], "position_ids": [], ROWS: self.bins[place]}
        for number in self.bins[place]:
            row = self.features[number]
            joined["input_ids"] += row["input_ids"]
            joined["labels"] += [IGNORED, *row["labels"][1:]]
            joined["position_ids"] += range(len(row["input_ids"]))
        return joined


def _packed(rows: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    """Row numbers in bins whose lengths come to ``most`` at most."""
    bins: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms = 0  # a bit for each number of tokens that some bin has room for
    for number in sorted(rows, key=lambda n: -lengths[n]):
        length = lengths[number]
        fitting = rooms >> length
        room = length + (fitting & -fitting).bit_length() - 1 if fitting else most
        place = by_room[room].pop() if fitting else len(bins)
        if not fitting:
            bins.append([])
        elif not by_room[room]:
            rooms ^= 1 << room
        bins[place].append(number)
        by_room.setdefault(room - length, []).append(place)
        rooms |= 1 << (room - length)
    return bins


class Numbered:
    """Rows that know their own number."""

    def __init__(self, features: Features) -> None:
        """Wrap encoded rows."""
        self.features, self.row_ids = features, features.row_ids
        self.parts, self.shares = features.parts, features.shares
        self.lengths, self.tokens = features.lengths, features.tokens

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.features)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One row and its number."""
        return {**self.features[number], ROWS: [number]}


def collate_packed(rows: list[dict[str, Any]], pad: int = 0) -> dict[str, torch.Tensor]:
    """Sequences of ``Packed`` as ``[sequences, tokens]``; what is padded counts as a row of its own and is not learnt.

    There is no attention mask: the models of transformers tell the rows apart by their positions.
    """
    longest = max(len(row["input_ids"]) for row in rows)
    filling = {"input_ids": pad, "labels": IGNORED, "position_ids": 0}
    return {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
        for name, value in filling.items()
    }


def remembering(collate: Collator) -> Collator:
    """A collator whose batches know which rows they hold: ``[rows, most of them in one sequence]``, -1 where none."""

    def batch(rows: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        numbers = [row[ROWS] for row in rows]
        most = max(map(len, numbers))
        filled = torch.tensor([one + [-1] * (most - len(one)) for one in numbers])
        plain = [{name: value for name, value in row.items() if name != ROWS} for row in rows]
        return {**collate(plain), ROWS: filled}

    return batch


def parts(batch: Mapping[str, Any], budget_tokens: int | None) -> list[dict[str, Any]]:
    """A batch in parts of at most so many tokens, padding included, but never less than a row."""
    rows, longest = batch["input_ids"].shape
    size = rows if budget_tokens is None else max(1, budget_tokens // longest)
    return [
        {name: value[start : start + size] if _is_by_row(value, rows) else value for name, value in batch.items()}
        for start in range(0, rows, size)
    ]


def _is_by_row(value: object, rows: int) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == rows

"""A look at a recipe's data before anything is done with it, and the expectations that it suggests.

The sample is the rows with the lowest row ids. A row id is a hash, so this is a random sample, the same every time,
and whatever the order of the source.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ftcore.context import Context
from ftcore.data import labels, snapshot, split
from ftcore.data.cleaning import near, normalise, regions
from ftcore.data.cleaning.language import languages
from ftcore.data.cleaning.personal import finder
from ftcore.data.cleaning.rows import ask
from ftcore.data.conversations import turns as conversation
from ftcore.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from ftcore.recipe.model import Recipe

log = logging.getLogger(__name__)

UNDECODED = "the text holds U+FFFD: bytes that were not decoded; set `encoding` of the source, such as cp1252"
"""Why rows are named that the task can use, and the suite takes out."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
LANGUAGE_ROWS = 2_000
"""Texts of the sample whose language is guessed."""
MOST_LABELS = 50
SKEWED = 10.0
"""Ratio of the most frequent label to the rarest from which balancing is proposed."""
NEAR = 0.8
"""Jaccard similarity from which two texts count as near duplicates."""
MOST_FAULTS = 100
"""Reasons for which rows cannot be used that are listed."""
MARGIN = 0.25
"""How far from what was seen, in parts of it, a length may be before it is odd."""
SHARE_MARGIN = 0.1
"""How far a label's share may be from what was seen; more where there were few rows."""


def of_sources(context: Context) -> Iterable[pa.Table]:
    """The raw rows of every source of the recipe, table by table, with their split keys."""
    keys = split.load(context.shelf, keep=False)
    for source in context.recipe.sources:
        before = 0
        for table in source.read(context):
            before += table.num_rows
            yield keys.fill(table)
        log.info("read %s rows of %s", f"{before:,}", source.kind)


def look(
    recipe: Recipe,
    tables: Iterable[pa.Table],
    rows: int,
    tokens: Callable[[pa.Table], dict[str, Any] | None] = lambda sample: None,
) -> dict[str, Any]:
    """What the data are like.

    Args:
        recipe: says what labels are and which personal data are looked for.
        tables: all rows; only the sample and eight bytes a row are held.
        rows: size of the sample.
        tokens: what the training's limit of tokens cuts of the sample, see ``token_lengths``.

    Returns:
        ``rows``, all; ``sampled``; ``by_source``; ``exact_duplicates``, over all rows; and of the sample: ``nulls``,
        the share of each column; ``lengths``, quantiles in characters; ``labels``, shares; ``unknown_labels``, those
        that the task does not have; ``languages``, shares; ``near_duplicates``; ``personal_data``, counts per entity;
        ``phone_regions``, countries proposed for ``prepare.personal_data``. Over all rows, before any cleaning:
        ``faults``, rows that the task cannot use by reason; ``labels_by_split``, rows of each label in each split;
        ``rare_labels``, what to know of those that a split lacks; ``imbalance`` of labels.
        ``tokens`` is what the limit of tokens cuts of the sample (None where nothing is known).

    Raises:
        MissingExtraError: what looks at texts is not installed.
    """
    if missing := [name for name in ("presidio_analyzer", "py3langid", "rensa") if find_spec(name) is None]:
        raise MissingExtraError(f"{', '.join(missing)}: not installed", hint="pip install 'ftcore[data]'")
    sample, keys, sources, asked = _sample(recipe, tables, rows)
    texts = [normalise.clean(text) for text in sample["text"].to_pylist()]
    said = [normalise.clean(conversation.plain(text or "")) for text in sample["text"].to_pylist()]
    shares = _labels(recipe, sample)
    known = recipe.task.labels
    by_label = labels.table(recipe.task, asked.by_label)
    return {
        "recipe": recipe.name,
        "rows": len(keys),
        "sampled": len(texts),
        "by_source": dict(sorted(sources.items())),
        "exact_duplicates": len(keys) - len(set(keys.tolist())),
        "near_duplicates": _near(said),
        "nulls": {name: round(sample[name].null_count / max(sample.num_rows, 1), 4) for name in sample.column_names},
        "lengths": _quantiles([len(text) for text in texts]),
        "labels": shares,
        "unknown_labels": sorted(set(shares) - set(known)) if known else [],
        "labels_by_split": by_label,
        "rare_labels": labels.warning(by_label),
        "faults": dict(asked.faults.most_common(MOST_FAULTS)),
        "imbalance": imbalance({label: sum(rows.values()) for label, rows in by_label.items()}),
        "tokens": tokens(sample),
        "languages": languages(said[:LANGUAGE_ROWS]),
        "personal_data": _personal(recipe, texts),
        "phone_regions": regions.seen(said, languages(said[:LANGUAGE_ROWS])),
    }


@dataclass
class ReferenceModel:
    """What the task says of all rows."""

    faults: Counter[str] = field(default_factory=Counter)
    """Rows that it cannot use, by reason."""
    by_label: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows that it can use, by split and label."""

    def add(self, recipe: Recipe, rows: pa.Table) -> pa.Table:
        """Ask the task for some rows; returns them as the task reads them."""
        import pyarrow as pa

        read, faults = ask(rows, recipe.task)
        self.faults.update(faults.values())
        texts = enumerate(rows["text"].to_pylist())
        undecoded = sum("\ufffd" in (text or "") and place not in faults for place, text in texts)
        self.faults += Counter({UNDECODED: undecoded} if undecoded else {})
        if labels.listed(recipe.task):
            if "split" not in read.column_names:
                keys = [key or "0" for key in read["split_key"].to_pylist()]
                splits = [split.assign_split(key, recipe.prepare) for key in keys]
                read = read.append_column("split", pa.array(splits, pa.string()))
            good = pa.array([place not in faults for place in range(read.num_rows)], pa.bool_())
            self.by_label.update(labels.counts(recipe.task, read.filter(good)))
        return read


def _sample(
    recipe: Recipe, tables: Iterable[pa.Table], rows: int
) -> tuple[pa.Table, NDArray[np.uint64], Counter[str], ReferenceModel]:
    """The rows with the lowest ids, a hash of every text, how many rows each source has, and what the task says."""
    import numpy as np
    import pyarrow as pa

    schema = snapshot.schema()
    sample, keys = schema.empty_table(), [np.empty(0, np.uint64)]
    sources: Counter[str] = Counter()
    asked = ReferenceModel()
    for table in tables:
        whole = asked.add(recipe, table).select(schema.names).cast(schema)
        folded = (snapshot.text_key(normalise.clean(text)).encode() for text in whole["text"].to_pylist())
        digests = b"".join(hashlib.sha256(text).digest()[:8] for text in folded)
        keys.append(np.frombuffer(digests, np.uint64))
        sources.update({str(one["values"]): one["counts"] for one in whole["source"].value_counts().to_pylist()})
        sample = pa.concat_tables([sample, whole]).sort_by("row_id").slice(0, rows).combine_chunks()
    return sample, np.concatenate(keys), sources, asked


def _labels(recipe: Recipe, sample: pa.Table) -> dict[str, float]:
    if recipe.task.TARGET != "label":
        return {}
    counts = Counter(label for label in sample["label"].to_pylist() if label is not None)
    return snapshot.label_shares(dict(counts.most_common(MOST_LABELS)))


def imbalance(shares: Mapping[str, float]) -> dict[str, Any] | None:
    """The ratio of the most frequent label to the rarest, and what to do; None where labels are about as frequent."""
    shares = {label: share for label, share in shares.items() if share > 0}
    if len(shares) < 2:
        return None
    often, seldom = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    ratio = shares[often] / shares[seldom]
    if ratio < SKEWED:
        return None
    proposal = (
        f"{often!r} is {ratio:,.0f} times as frequent as {seldom!r}: try train.class_weights: balanced, or "
        "train.sampling: square_root, and judge by a metric over labels such as f1"
    )
    return {"most_frequent": often, "rarest": seldom, "ratio": round(ratio, 2), "proposal": proposal}


def _near(texts: list[str]) -> int:
    """Texts of the sample that are nearly another one of it, exact ones apart."""
    folded = sorted({snapshot.text_key(text).encode() for text in texts})
    pairs, _ = near.pairs([folded], len(folded), lambda places: [folded[int(place)] for place in places], NEAR)
    return len({int(max(pair)) for pair in pairs})


def _quantiles(lengths: list[int]) -> dict[str, float]:
    import numpy as np

    if not lengths:
        return {}
    return {f"{at:g}": float(value) for at, value in zip(QUANTILES, np.quantile(lengths, QUANTILES), strict=True)}


def _personal(recipe: Recipe, texts: list[str]) -> dict[str, int]:
    config = recipe.prepare.personal_data
    look = finder(config, (*config.actions,)).patterns_only
    pieces, _ = conversation.flat(texts)
    return dict(Counter(one.entity for found in look.find(pieces).values() for one in found).most_common())


def propose(profile: dict[str, Any], suite: dict[str, Any] | None, name: str) -> dict[str, Any]:
    """A Great Expectations suite: that of the task, and what the data suggest, with margins around what was seen.

    Args:
        profile: what ``look`` found.
        suite: of the task; None starts from nothing.
        name: of the new suite.

    Returns:
        The suite as JSON values. Rows of the sample break none of what is new; what is new and unsure only warns.
    """
    known = suite or {"expectations": [], "meta": {}}
    proposed = [*_proposed_volume(profile), *_proposed_lengths(profile), *_proposed_labels(profile)]
    proposed += [*_proposed_nulls(profile), *_proposed_sources(profile)]
    about = f"Proposed from {profile['sampled']:,} of {profile['rows']:,} rows of {profile['recipe']}; look it through."
    return {
        "name": name,
        "expectations": [*copy.deepcopy(known["expectations"]), *proposed],
        "meta": {"about": " ".join([about, known.get("meta", {}).get("about", "")]).strip()},
    }


def _expectation(
    kind: str, kwargs: dict[str, Any], description: str, reason: str, on_failure: str = "warn"
) -> dict[str, Any]:
    return {
        "type": f"expect_{kind}",
        "kwargs": kwargs,
        "meta": {"on_failure": on_failure, "reason": reason},
        "description": description,
        "severity": {"reject": "critical", "quarantine": "warning", "warn": "info"}[on_failure],
    }


def _proposed_volume(profile: dict[str, Any]) -> list[dict[str, Any]]:
    least = (profile["rows"] - profile["exact_duplicates"]) // 2
    return [
        _expectation(
            "table_row_count_to_be_between",
            {"min_value": least},
            f"At least {least:,} rows, half of the different ones that were seen.",
            "only {observed} rows, {min_value} and more are usual",
        )
    ]


def _proposed_lengths(profile: dict[str, Any]) -> list[dict[str, Any]]:
    lengths = profile["lengths"]
    if not lengths:
        return []
    least, most = max(1, int(lengths["0"] // 2)), math.ceil(lengths["1"] * 2)
    low, high = max(1, int(lengths["0.01"] * (1 - MARGIN))), math.ceil(lengths["0.99"] * (1 + MARGIN))
    return [
        _expectation(
            "column_value_lengths_to_be_between",
            {"column": "text", "min_value": least, "max_value": most},
            f"No text is shorter than {least:,} or longer than {most:,} characters, twice as far as any that was seen.",
            "text is shorter than {min_value} or longer than {max_value} characters",
            "quarantine",
        ),
        _expectation(
            "column_value_lengths_to_be_between",
            {"column": "text", "min_value": low, "max_value": high, "mostly": 0.95},
            f"At least 95% of the texts have {low:,} to {high:,} characters.",
            "{unexpected} texts are not of the usual {min_value} to {max_value} characters",
        ),
    ]


def _proposed_labels(profile: dict[str, Any]) -> list[dict[str, Any]]:
    shares = {label: share for label, share in profile["labels"].items() if label not in profile["unknown_labels"]}
    if not shares or len(shares) >= MOST_LABELS:
        return []
    rounded = {label: round(share / sum(shares.values()), 4) for label, share in shares.items()}
    margin = round(max(SHARE_MARGIN, 3 * math.sqrt(0.25 / max(profile["sampled"], 1))), 3)
    return [
        _expectation(
            "column_value_shares_to_be_near",
            {"column": "label", "shares": rounded, "max_change": margin, "origin": "the profile"},
            f"No label's share is further than {margin:.1%} of the rows from what was seen.",
            "{why}",
        )
    ]


def _proposed_nulls(profile: dict[str, Any]) -> list[dict[str, Any]]:
    """Columns that are filled for the most part must stay so; text and label are the task's own business."""
    return [
        _expectation(
            "column_values_to_not_be_null",
            {"column": name, "mostly": round(max(0.0, 1 - share - 0.05), 3)},
            f"At least {max(0.0, 1 - share - 0.05):.1%} of the rows have {name.replace('_', ' ')}.",
            f"{{unexpected}} rows have no {name.replace('_', ' ')}",
        )
        for name, share in profile["nulls"].items()
        if name in {"group", "observed_at", "context", "rejected"} and share < 0.5
    ]


def _proposed_sources(profile: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _expectation(
            "column_values_to_be_in_set",
            {"column": "source", "value_set": sorted(profile["by_source"])},
            "Rows come from sources that were seen before.",
            "{unexpected} rows are from a source that was not seen before",
        )
    ]

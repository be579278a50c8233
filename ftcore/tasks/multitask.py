"""Several tasks over one base model: a head for each over one encoder, or several uses of one language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftcore.data import snapshot
from ftcore.data.cleaning.rows import Editor
from ftcore.errors import DataRejectedError, NotEnoughDataError
from ftcore.models import loading
from ftcore.models import outputs as form
from ftcore.models.features import Collator, Features
from ftcore.tasks._parts import Part, Parts

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftcore.data.cleaning.rows import Faults, Rows
    from ftcore.models.outputs import Example, Outputs, Text
    from ftcore.recipe.model import Recipe
    from ftcore.tasks._base import Task

ENCODER = "encoder"


class Multitask(Parts):
    """Parts that share the base model. A batch holds rows of one part; an epoch has as many rows as there are."""

    EXAMPLE: ClassVar = {
        "kind": "multitask",
        "parts": {
            "topic": {"kind": "classification", "labels": ["billing", "delivery"], "sources": ["files:topics"]},
            "urgency": {"kind": "pair", "sources": ["files:urgency"], "weight": 0.5},
        },
    }
    ROW: ClassVar = {"text": "My parcel is late.", "context": None, "label": "delivery"}
    TARGET = "text"
    TEMPLATED = True

    kind: Literal["multitask"] = "multitask"

    def faults(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """Sources without a part, and parts without a source."""
        every = {f"sources[{number}]": source for number, source in enumerate(recipe.sources)}
        every |= {f"evaluate.holdouts.{name}": source for name, source in recipe.evaluate.holdouts.items()}
        known = set()
        for path, source in every.items():
            if source.kind == "feedback":
                continue  # the log says which part was asked
            name = source.source_name()
            known.add(name)
            if name is None:
                yield path, "needs a name, by which a part can say that its rows are the part's"
            elif not any(name in part.sources for part in self.parts.values()):
                yield path, f"belongs to no part: none of task.parts has {name} among its sources"
        for part, own in self.parts.items():
            if strange := [source for source in own.sources if source not in known]:
                yield f"task.parts.{part}.sources", f"the recipe has no source {', '.join(strange)}"

    def parse_rows(self, rows: Rows) -> Faults:
        """Read each row as its part does; a row of no part is a fault."""
        found: Faults = {}
        for place, source in enumerate(rows.source):
            try:
                self.part(source)
            except DataRejectedError as error:
                found[place] = str(error.args[0])
        return found | self._each(rows, lambda part, mine, _: part.parse_rows(mine))

    def clean_rows(self, rows: Rows, editor: Editor) -> None:
        """Clean each row as its part does."""

        def clean(part: Task, mine: Rows, places: list[int]) -> Faults:
            own = Editor(editor.cleaner)
            part.clean_rows(mine, own)
            editor.dropped.update(places[place] for place in own.dropped)
            return {}

        self._each(rows, clean)

    def check_rows(self, rows: Rows) -> Faults:
        """Ask each row's part whether it can use it."""
        return self._each(rows, lambda part, mine, _: part.check_rows(mine))

    def check_requests(self, rows: Rows) -> Faults:
        """Ask each row's part whether its model can be asked."""
        return self._each(rows, lambda part, mine, _: part.check_requests(mine))

    def unreadable(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Text]) -> Faults:
        """Rows that the base model's template refuses, by their part's task."""
        every = form.examples(rows)
        found: Faults = {}
        for name, part in self.parts.items():
            places = [place for place, one in enumerate(every) if self.part(one.source) == name]
            if places:
                faults = part.unreadable(tokenizer, [every[place] for place in places])
                found |= {places[place]: why for place, why in faults.items()}
        return found

    def load(self, base: Path) -> PreTrainedModel:
        """The base model, on an encoder with a head for each part: fresh, or as a saved model of such a part has it."""
        if self.stands_on != ENCODER:
            return self.first.load(base)
        from ftcore.tasks import _heads

        with loading.quietly():
            members = {name: part.load(base) for name, part in self.parts.items()}
        return _heads.joined(members, base)

    def exportable(self, folder: Path) -> nn.Module:
        """A saved model with an output for each part, ``PART.logits``, behind one pass of the body."""
        from ftcore.tasks import _heads

        return _heads.MultiHeadExport(self.load(folder))  # type: ignore[arg-type] # recipes ask for no export of a language model

    def exported(
        self, run: Callable[[Sequence[Text]], Mapping[str, np.ndarray]]
    ) -> Callable[[Sequence[Text]], list[dict[str, Any]]]:
        """What an export of that says, in the form of ``predictor``; rows of several parts may share a batch."""

        def read(said: Mapping[str, np.ndarray], name: str, places: list[int]) -> Outputs:
            return self.parts[name].outputs(said[f"{name}.logits"][places])

        return lambda texts: self._by_part(form.examples(texts), partial(read, run(texts)))

    def check(self, rows: Mapping[str, pa.Table]) -> None:
        """Whether every part has what it needs.

        Raises:
            NotEnoughDataError: a part has not.
            DataRejectedError: rows are no part's, or cannot be learnt.
        """
        for table in rows.values():
            for source in table["source"].unique().to_pylist():
                self.part(source)  # one of no part is an error
        for name, part in self.parts.items():
            mine = {split: table.filter(self._owned(table, name)) for split, table in rows.items()}
            try:
                for split, table in mine.items():
                    if not table.num_rows:
                        raise NotEnoughDataError(
                            f"the {split} split has no row of {', '.join(part.sources)}",
                            hint="add rows, or change the shares in prepare",
                        )
                part.check(mine)
            except (NotEnoughDataError, DataRejectedError) as error:
                error.args = (f"part {name}: {error.args[0]}", *error.args[1:])
                raise

    def encode(self, tokenizer: PreTrainedTokenizerBase, rows: pa.Table, max_length_tokens: int) -> Features:
        """Each part's rows as its task encodes them, part by part."""
        found: dict[str, Features] = {}
        for name, part in self.parts.items():
            mine = rows.filter(self._owned(rows, name))
            if mine.num_rows:
                found[name] = part.encode(tokenizer, mine, max_length_tokens)
        names = list(dict.fromkeys(column for one in found.values() for column in one.columns))
        columns: dict[str, list[Any]] = {
            column: [value for one in found.values() for value in one.columns.get(column, [None] * len(one))]
            for column in names
        }
        parts = [name for name, one in found.items() for _ in range(len(one))]
        return Features(
            {**columns, "part": parts} if self.stands_on == ENCODER else columns,
            [row for one in found.values() for row in one.row_ids],
            sum(one.truncated for one in found.values()),
            packable=all(one.packable for one in found.values()),
            parts=parts,
            shares=self.shares,
        )

    def collator(self, tokenizer: PreTrainedTokenizerBase) -> Collator:
        """The collator of the part that a batch belongs to; a head is told which."""
        every: dict[str, Collator] = {name: part.collator(tokenizer) for name, part in self.parts.items()}
        if self.stands_on != ENCODER:
            return next(iter(every.values()))

        def batch(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
            (part,) = {row["part"] for row in rows}
            plain = [{name: value for name, value in row.items() if name != "part"} for row in rows]
            return {**every[part](plain), "part": part}

        return batch

    def reader(
        self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length_tokens: int
    ) -> Callable[[Sequence[Text]], list[dict[str, Any]]]:
        """Rows to mappings with every part's name and None, but for the part of the row what it says.

        Each row has its source, or the name of a part, as ``source``.
        """
        from ftcore.tasks._heads import TaskView

        heads = self.stands_on == ENCODER
        readers = {
            name: part.reader(TaskView(model, name).eval() if heads else model, tokenizer, max_length_tokens)
            for name, part in self.parts.items()
        }

        def predict(texts: Sequence[Text]) -> list[dict[str, Any]]:
            rows = form.examples(texts)
            return self._by_part(rows, lambda name, places: readers[name]([rows[place] for place in places]))

        return predict

    def answers(self, outputs: Outputs) -> tuple[list[str], np.ndarray]:
        """What the part of each row answers."""
        import numpy as np

        labels, sure = [""] * len(outputs), np.full(len(outputs), np.nan)
        for name, part in self.parts.items():
            places = [place for place, one in enumerate(outputs) if one[name] is not None]
            if places:
                said, scores = part.answers(_said(outputs, name, places))
                for place, label, score in zip(places, said, scores, strict=True):
                    labels[place], sure[place] = label, score
        return labels, sure

    def valid(self, label: str | None) -> bool:
        """Whether some part can learn from a row with this label; of a row whose source is known ask its own part."""
        return any(part.valid(label) for part in self.parts.values())

    def about(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Which rows each metric is about, as masks ``[rows]``: those of its part."""
        import numpy as np

        owners = np.array([self.part(source) for source in rows["source"].to_pylist()], object)
        return {metric: owners == metric.partition("/")[0] for metric in self.better}

    def tallies(self, rows: pa.Table, outputs: Outputs) -> np.ndarray:
        """Each part's tallies side by side, ``[rows, k]``; those of other parts than the row's are 0."""
        import numpy as np

        owners = np.array([self.part(source) for source in rows["source"].to_pylist()], object)
        blocks = []
        for name, part in self.parts.items():
            block = np.zeros((rows.num_rows, _width(part)))
            # A baseline may know some parts only; of a row that it says nothing about it has no tallies.
            places = [place for place in np.flatnonzero(owners == name).tolist() if outputs[place][name] is not None]
            if places:
                block[places] = part.tallies(rows.take(places), _said(outputs, name, places))
            blocks.append(block)
        return np.hstack(blocks)

    def metrics(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """Every part's metrics as ``PART/METRIC``; NaN where it has no row."""
        found: dict[str, np.ndarray] = {}
        start = 0
        for name, part in self.parts.items():
            end = start + _width(part)
            own = part.metrics(sums[..., start:end])
            found |= {f"{name}/{metric}": value for metric, value in own.items()}
            start = end
        return found

    def _each(self, rows: Rows, act: Callable[[Part, Rows, list[int]], Faults]) -> Faults:
        """Let each part act on its own rows, given with their positions; its faults by position among all rows."""
        owned: dict[str, list[int]] = {name: [] for name in self.parts}
        for place, source in enumerate(rows.source):
            with suppress(DataRejectedError):
                owned[self.part(source)].append(place)
        found: Faults = {}
        for name, places in owned.items():
            mine = rows.take(places)
            found |= {places[place]: why for place, why in act(self.parts[name], mine, places).items()}
            rows.put(places, mine)
        return found

    def _owned(self, rows: pa.Table, name: str) -> pa.Array:
        """Which rows are a part's."""
        import pyarrow as pa

        return pa.array([self.part(source) == name for source in rows["source"].to_pylist()], pa.bool_())

    def _by_part(self, rows: Sequence[Example], said: Callable[[str, list[int]], Outputs]) -> list[dict[str, Any]]:
        """Of each row what its part says, and None of the others: ``said`` is asked once a part, for its places."""
        places: dict[str, list[int]] = {}
        for place, one in enumerate(rows):
            places.setdefault(self.part(one.source), []).append(place)
        found: list[dict[str, Any]] = [dict.fromkeys(self.parts) for _ in rows]
        for name, mine in places.items():
            for place, one in zip(mine, said(name, mine), strict=True):
                found[place][name] = one.tolist() if hasattr(one, "tolist") else one
        return found


def _said(outputs: Outputs, name: str, places: Sequence[int]) -> Outputs:
    """What a part said of its rows, as its own task has it."""
    import pyarrow as pa

    return form.of(pa.array([outputs[place][name] for place in places]))


def _width(part: Task) -> int:
    """Numbers in a tally of a part."""
    import numpy as np

    return int(part.tallies(snapshot.schema().empty_table(), np.zeros(0)).shape[1])

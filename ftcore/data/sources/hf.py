"""Rows of a dataset that the `datasets` library reads: a local folder or file, or one of the Hugging Face hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from ftcore.data.credentials import scrub
from ftcore.data.sources._base import Mapped
from ftcore.data.sources._mapping import Batch, Mapper, require
from ftcore.errors import AwayError, DataRejectedError, MissingExtraError, NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

ROWS = 2_000
"""Rows taken at a time."""
_AWAY = ("requests", "httpx", "huggingface_hub", "aiohttp", "urllib3")


class HuggingFace(Mapped):
    """One split of a dataset, read as a stream. Datasets that bring code of their own are not run."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "hf", "path": "data/reviews", "split": "train"}

    kind: Literal["hf"] = "hf"
    path: str | None = None
    """Local folder, as ``save_to_disk`` wrote it or with data files in it; a relative one starts at the recipe's
    folder."""
    dataset: str | None = None
    """Id on the hub, such as ``org/reviews``; a token for a private one comes from ``HF_TOKEN``."""
    revision: str | None = None
    """Commit or tag of the hub's dataset: needed there, so that the same recipe always reads the same rows."""
    subset: str | None = None
    """Name of the configuration, where the dataset has several."""
    split: str = "train"
    """Which split to read."""

    @model_validator(mode="after")
    def _names_one_place(self) -> HuggingFace:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("give either path (local) or dataset (of the hub)")
        if self.dataset and not self.revision:
            raise ValueError("a dataset of the hub needs a revision")
        return self

    @property
    def location(self) -> str | None:
        """The local folder."""
        return self.path

    def source_name(self) -> str:
        """Name that the rows of this source carry."""
        return f"hf:{self.name or (self.dataset or str(self.path)).rstrip('/').split('/')[-1]}"

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """Rows of the split as they come; labels kept as numbers come back as their names.

        Raises:
            NotFoundError: no such dataset.
            MissingExtraError: ``datasets`` is not installed.
            DataRejectedError: no such split or column, or the files are broken.
            AwayError: the hub does not answer.
        """
        where = f"hf:{self.dataset or self.path}"
        mapper = Mapper.reading(self, context, self.source_name())
        try:
            found = _chosen(self._open(context), where, mapper.columns)
            names: list[str] | None = None
            numbers = itertools.count(1)
            for rows in found.iter(batch_size=ROWS):
                if names is None:
                    names = list(rows)
                    require(where, mapper.columns, names)
                count = len(rows[names[0]])
                columns = {name: _named(found.features, name, rows[name]) for name in mapper.columns}
                yield mapper.table(Batch(columns, where, list(itertools.islice(numbers, count)), unit="row"))
            mapper.finish()
        except (DataRejectedError, MissingExtraError, NotFoundError):
            raise
        except Exception as error:
            raise _translated(where, error) from None

    def _open(self, context: Context) -> Any:
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise MissingExtraError("datasets is not installed", hint="pip install 'ftcore[sources]'") from error
        datasets.disable_progress_bars()
        if self.dataset:
            return datasets.load_dataset(
                self.dataset, self.subset, split=self.split, revision=self.revision, streaming=True
            )
        folder = context.recipe_path.parent / str(self.path)
        if not folder.is_dir():
            raise NotFoundError(
                f"there is no folder {self.path!r}", hint="check the path in the recipe, or mount the volume"
            )
        if any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
            loaded = datasets.load_from_disk(str(folder))  # memory-mapped
            if not isinstance(loaded, datasets.DatasetDict):
                return loaded
            if self.split not in loaded:
                raise DataRejectedError(f"{self.path} has no split {self.split!r}; it has {', '.join(loaded)}")
            return loaded[self.split]
        whole = str(folder.resolve())
        if any(sign in whole for sign in "*?[]"):
            raise DataRejectedError(
                f"{self.path}: the datasets library takes the *, ? or brackets of {whole!r} for a pattern",
                hint="rename that folder, read its files with `kind: files`, or save the dataset with save_to_disk",
            )
        return datasets.load_dataset(str(folder), self.subset, split=self.split, streaming=True)


def _chosen(found: Any, where: str, wanted: Sequence[str]) -> Any:
    """The dataset with only the wanted columns, none of which is decoded: sound, pictures and videos stay bytes."""
    if not found.features:  # of files without a schema, which hold nothing to decode
        return found
    require(where, wanted, list(found.features))
    found = found.select_columns(list(wanted) or list(found.features)[:1])
    for name, feature in found.features.items():
        if getattr(feature, "decode", False):
            undecoded = copy(feature)
            undecoded.decode = False
            found = found.cast_column(name, undecoded)
    return found


def _named(features: Any, name: str, values: Sequence[Any]) -> list[Any]:
    """Names in place of the numbers of a ``ClassLabel``, in lists and objects, too; -1 stands for no label there."""
    feature = (features or {}).get(name)
    if not _holds_names(feature):
        return list(values)
    return [_with_names(feature, value) for value in values]


def _holds_names(feature: Any) -> bool:
    if isinstance(feature, dict | list | tuple):
        return any(map(_holds_names, feature.values() if isinstance(feature, dict) else feature))
    return bool(getattr(feature, "names", None)) or _holds_names(getattr(feature, "feature", ()))


def _with_names(feature: Any, value: Any) -> Any:
    inner = feature[0] if isinstance(feature, list | tuple) and feature else getattr(feature, "feature", None)
    found = value
    if names := getattr(feature, "names", None):
        number = value if isinstance(value, int) else -1
        found = names[number] if 0 <= number < len(names) else None if number < 0 else value
    elif isinstance(feature, dict) and isinstance(value, dict):
        found = {name: _with_names(feature.get(name), one) for name, one in value.items()}
    elif isinstance(inner, dict) and isinstance(value, dict):  # a list of objects comes as an object of lists
        found = {name: [_with_names(inner.get(name), one) for one in many or ()] for name, many in value.items()}
    elif inner is not None and isinstance(value, list | tuple):
        found = [_with_names(inner, one) for one in value]
    return found


def _translated(where: str, error: Exception) -> Exception:
    said = (scrub(error).strip() or type(error).__name__).splitlines()[0]
    if type(error).__name__ in {"DatasetNotFoundError", "RepositoryNotFoundError", "RevisionNotFoundError"}:
        return NotFoundError(f"{where} is not there: {said}")
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.split(".")[0] in _AWAY:
        return AwayError(f"{where}: the hub does not answer: {said}", hint="HF_HUB_OFFLINE=1 forbids asking it")
    return DataRejectedError(f"{where} cannot be read: {said}")

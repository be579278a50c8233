"""Real sentences for benchmarks, with their labels."""

from __future__ import annotations

from ftcore import settings
from ftcore.context import Context
from ftcore.data.sources.vader import Vader
from ftcore.recipe import reading
from ftcore.recipe.model import Recipe
from ftcore.settings import Settings
from ftcore.store import store


def load(name: str = "sentiment") -> tuple[Recipe, Settings, Context]:
    """A shipped recipe, the demo's by default, and a context whose run is never written to."""
    conf = settings.load()
    path = settings.REPOSITORY / "dags" / "recipes" / f"{name}.yaml"
    read = reading.read(path)
    return read, conf, Context(read, path, "bench", "ingest", {}, store.shelf(conf, read.name), conf)


def rows(domain: str, count: int) -> list[dict[str, str]]:
    """The ``count`` rows of a domain with the lowest row ids."""
    (table,) = Vader.model_validate({"domain": domain, "max_rows": count}).read(load()[2])
    return table.select(["row_id", "text", "label"]).to_pylist()

"""How a version was trained: base model, method, hyperparameters, licences, as its own run kept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError, TransientError
from ftcore.store import run_recipe
from ftcore.tracking import runs

if TYPE_CHECKING:
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.runs import Logged

GROUPS = {"Method": "method.", "Training": "train."}


@dataclass(frozen=True)
class Trained:
    """What a version was trained with."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Every setting by its dotted path, as text."""
    source: str = ""
    """Where they are known from, in words."""
    mlflow: str = ""
    """Address of the run in MLflow's pages; empty where no server shows any."""
    trouble: str = ""
    """Why something is missing."""

    @property
    def base(self) -> str:
        """The base model as the recipe names it."""
        return self.values.get("base", "")

    @property
    def groups(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Hyperparameters by group: their names without the group's."""
        found = {
            title: [(key.removeprefix(start), text) for key, text in self.values.items() if key.startswith(start)]
            for title, start in GROUPS.items()
        }
        return [(title, pairs) for title, pairs in found.items() if pairs]


def trained(settings: Settings, shelf: RecipeStore, run_id: str, mlflow_run: str) -> Trained:
    """What is known of a training: from MLflow what was used, else from the recipe that the run kept."""
    trouble, logged = "", None
    try:
        logged = _logged(settings.mlflow_uri, mlflow_run) if mlflow_run else None
    except TransientError:
        raise
    except FtcoreError as error:
        trouble = f"MLflow does not have the run of this version: {error.args[0]}."
    page = logged.page if logged else ""
    if logged and logged.params:
        params = {key: "–" if text in ("None", "") else text for key, text in logged.params.items()}
        return Trained(dict(sorted(params.items())), "the parameters of the MLflow run", page, trouble)
    resolved = recipe_of(shelf, run_id)
    return Trained(flat(resolved), "the recipe of the run" if resolved else "", page, trouble)


def recipe_of(shelf: RecipeStore, run_id: str) -> Mapping[str, Any]:
    """The recipe that a run went by with every default filled in; empty where it kept none or it cannot be read."""
    if not run_id:
        return {}
    try:
        kept = run_recipe.of(shelf, run_id)
    except (FtcoreError, OSError):
        return {}
    return kept.resolved if kept else {}


def flat(value: Any, path: str = "") -> dict[str, str]:
    """A recipe as texts by dotted path; items of a list are numbered, and told by their kind where they have one.

    A list of plain values is one text.
    """
    if isinstance(value, Mapping):
        made = [flat(one, f"{path}.{key}" if path else str(key)) for key, one in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
        made = [flat(one, f"{path}[{_named(place, one)}]") for place, one in enumerate(value)]
    else:
        return {path: _text(value)}
    return {key: text for one in made for key, text in one.items()}


def _named(place: int, item: Any) -> str:
    kind = item.get("kind") if isinstance(item, Mapping) else None
    return f"{place} {kind}" if kind else str(place)


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)


@lru_cache(maxsize=512)
def _logged(_uri: str, run: str) -> Logged:
    """Of a run that has ended, as those of versions have: its parameters change no more."""
    from ftcore import settings

    return runs.logged(settings.load(), run)

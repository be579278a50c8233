"""Any two versions side by side: metrics on shared rows, recipe, parameters, data, artefacts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.recipe import reading as recipes
from ftcore.recipe.canonical import canonical
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS
from ftcore_airflow.pages import reading
from ftcore_airflow.pages.actions import State
from ftcore_airflow.pages.comparison import metrics_of
from ftcore_airflow.pages.data_diff import Data, data_of
from ftcore_airflow.pages.tables import Json, Table, part, tables
from ftcore_airflow.pages.training import flat, recipe_of, trained

if TYPE_CHECKING:
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore
    from ftcore_airflow.pages.reading import Product

FACTS = {"snapshot": "Snapshot", "git_commit": "Git commit", "verdict": "Verdict", "promoted_at": "Promoted at"}
UNREADABLE = (FtcoreError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Change:
    """A value that differs."""

    name: str
    before: str | None
    """None where the one has none."""
    after: str | None

    @property
    def word(self) -> str:
        """How it differs."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass
class Difference:
    """Two versions of a model."""

    product: Product
    state: State
    before: Mapping[str, Any] | None = None
    """See ``registry.entry``; None where no two versions are chosen."""
    after: Mapping[str, Any] | None = None
    paired: Sequence[Table] = ()
    """On rows that both were judged on."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Rows of both by dataset."""
    apart: Sequence[Table] = ()
    """Datasets of which they share no row: each on its own."""
    unpaired: str = ""
    """Why no rows could be paired."""
    recipe: Sequence[Change] = ()
    recipes: tuple[bool, bool] = (False, False)
    """Whether each run kept its recipe."""
    params: Sequence[Change] = ()
    """Of the training, besides what the recipes tell."""
    facts: Sequence[Change] = ()
    artefacts: Sequence[Change] = ()
    same_artefacts: Sequence[str] = ()
    data: Data | None = None
    trouble: list[str] = field(default_factory=list)


def difference(settings: Settings, product: Product, before: int | None, after: int | None) -> Difference:
    """Two versions of a model; without numbers the champion, or the one before it, and the newest other one.

    Raises:
        FtcoreError: there is no such version.
        TransientError: MLflow does not answer.
    """
    state = State.read(settings, product.name)
    found = Difference(product, state)
    before, after = _chosen(state, before, after)
    if before is None or after is None:
        return found
    sides = [state.versions[number] for number in (before, after)]
    found.before, found.after = sides
    shelf = reading.shelf_of(settings, product.name)
    _recipes(found, shelf, sides)
    _params(found, settings, shelf, sides)
    names = [dict(one["artefacts"]) for one in sides]
    found.artefacts = changes(*names)
    found.same_artefacts = sorted(key for key in names[0] if names[0][key] == names[1].get(key))
    texts = [{title: str(one[key] or "–") for key, title in FACTS.items()} for one in sides]
    found.facts = changes(*texts)
    _metrics(found, shelf, sides)
    try:
        found.data = data_of(shelf, *(one["snapshot"] for one in sides))
    except UNREADABLE as error:
        found.trouble.append(f"The data cannot be compared: {error}.")
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What differs between two mappings, by name."""
    keys = dict.fromkeys([*before, *after])
    pairs = [Change(key, before.get(key), after.get(key)) for key in keys]
    return [one for one in pairs if one.before != one.after]


def _chosen(state: State, before: int | None, after: int | None) -> tuple[int | None, int | None]:
    numbers, aliases = sorted(state.versions, reverse=True), state.aliases
    for number in (before, after):
        if number is not None and number not in state.versions:
            raise UnknownVersionError(f"There is no version {number}.")
    newest = (aliases.get(CANDIDATE), *numbers)
    after = after or next((one for one in newest if one in state.versions and one != before), None)
    older = (aliases.get(CHAMPION), aliases.get(PREVIOUS), *numbers)
    before = before or next((one for one in older if one in state.versions and one != after), None)
    return before, after


class UnknownVersionError(FtcoreError):
    """The registry has no such version."""


def _recipes(found: Difference, shelf: RecipeStore, sides: Sequence[Mapping[str, Any]]) -> None:
    kept = [recipe_of(shelf, one["run_id"]) for one in sides]
    found.recipes = (bool(kept[0]), bool(kept[1]))
    if all(found.recipes):
        found.recipe = changes(*(flat(one) for one in kept))


def _params(found: Difference, settings: Settings, shelf: RecipeStore, sides: Sequence[Mapping[str, Any]]) -> None:
    made = [trained(settings, shelf, one["run_id"], one["mlflow_run"]) for one in sides]
    found.trouble += [one.trouble for one in made if one.trouble]
    known = [one.name for one in found.recipe]
    other = changes(*(one.values for one in made))
    found.params = [one for one in other if not any(name.startswith(one.name) for name in known)]


def _metrics(found: Difference, shelf: RecipeStore, sides: Sequence[Mapping[str, Any]]) -> None:
    try:
        before, after = (reading.evaluation(shelf, one["run_id"]) for one in sides)
        if before is None or after is None:
            missing = [str(one["version"]) for one, read in zip(sides, (before, after), strict=True) if read is None]
            found.unpaired = f"Version {' and '.join(missing)} has no evaluation in the store."
            return
        how = metrics_of(after, reading.as_trained(found.product, shelf, sides[1]["run_id"]).recipe)
        pairs = _pairs(found, shelf, sides, (before, after))
        found.shared = pairs.get("rows", {})
        mine, other = (pairs["metrics"].get(role, {}) for role in ("candidate", "champion"))
        found.paired = tables(mine, other, pairs["differences"], how)
        own = [_own(one, but=found.shared) for one in (after, before)]
        found.apart = tables({name: own[0][name] for name in own[0] if name in own[1]}, own[1], {}, how)
    except UNREADABLE as error:
        found.trouble.append(f"The metrics cannot be compared: {error}.")


def _own(evaluation: Json, but: Mapping[str, int]) -> dict[str, Any]:
    """A version's metrics of the form that serves by dataset, without some datasets."""
    forms = part(evaluation, "metrics", "candidate")
    return {name: one for name, one in part(forms, _form(evaluation)).items() if name not in but}


def _form(evaluation: Json) -> str:
    return str(evaluation.get("served") or next(iter(part(evaluation, "metrics", "candidate")), ""))


def _pairs(
    found: Difference, shelf: RecipeStore, sides: Sequence[Mapping[str, Any]], evaluations: tuple[Json, Json]
) -> dict[str, Any]:
    """Metrics and differences on the rows of both, by dataset; as the evaluation has them where it compared the two."""
    after = evaluations[1]
    form = _form(after)
    if after.get("champion") == sides[0]["version"] and part(after, "differences", form):
        metrics = {role: part(after, "metrics", role, form) for role in ("candidate", "champion")}
        rows = {name: _rows(one) for name, one in part(after, "differences", form).items()}
        return {"metrics": metrics, "differences": part(after, "differences", form), "rows": rows}
    nothing: dict[str, Any] = {"metrics": {}, "differences": {}, "rows": {}}
    product = reading.as_trained(found.product, shelf, sides[1]["run_id"])
    labels = [list(one.get("labels") or ()) for one in evaluations]
    if product.recipe is None or labels[0] != labels[1]:
        found.unpaired = "The two have different labels." if product.recipe else "The recipe cannot be read."
        return nothing
    ids = [(str(one["run_id"]), _form(read)) for one, read in zip(sides, evaluations, strict=True)]
    try:
        changed = tuple((shelf.folder(run, "evaluate") / "predictions.parquet").stat().st_mtime for run, _ in ids)
        made = _paired(shelf, canonical(product.recipe.resolved()), ids[0], ids[1], changed)
    except FileNotFoundError:
        found.unpaired = "The predictions of one of them are not in the store, so no rows could be paired."
        return nothing
    except FtcoreError as error:
        found.unpaired = f"No rows could be paired: {error.args[0]}."
        return nothing
    if not made["rows"]:
        found.unpaired = "The two were judged on no row in common."
    return made


def _rows(metrics: Json) -> int:
    return max((int(one.get("rows") or 0) for one in metrics.values()), default=0)


@lru_cache(maxsize=64)
def _paired(
    shelf: RecipeStore, recipe: str, before: tuple[str, str], after: tuple[str, str], _changed: tuple[float, ...]
) -> dict[str, Any]:
    from ftcore.evaluation import paired

    found = paired.compare(shelf, recipes.parse(json.loads(recipe), "the run's recipe"), before, after)
    metrics = {role: one[paired.FORM] for role, one in found["metrics"].items()}
    return {"metrics": metrics, "differences": found["differences"].get(paired.FORM, {}), "rows": found["rows"]}

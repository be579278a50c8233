"""One version: its verdict, its comparison with the champion, how it was trained, who answered, what it came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.registry import approvals, declared, licenses
from ftcore.registry.verdict import notes
from ftcore.store import ledger
from ftcore.tracking.curves import curves
from ftcore_airflow.pages import reading
from ftcore_airflow.pages.actions import State
from ftcore_airflow.pages.charts import Limits, Point, Series, chart, domain, strip
from ftcore_airflow.pages.comparison import Chart, Comparison, compare
from ftcore_airflow.pages.confusion import Confusion, confusion
from ftcore_airflow.pages.training import Trained, trained
from ftcore_airflow.pages.versions import snapshot_reports

if TYPE_CHECKING:
    from markupsafe import Markup

    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore
    from ftcore_airflow.pages.reading import Product

CURVES = {"Training loss": "loss", "Validation loss": "eval_loss"}


class NoSuchVersionError(FtcoreError):
    """The registry answers and has no such version."""


@dataclass(frozen=True)
class Rule:
    """A row of the verdict's table."""

    gate: str
    word: str
    look: str
    reason: str
    facts: Mapping[str, Any]
    plot: Markup | None

    @property
    def order(self) -> int:
        """What a reader looks for first: rules that failed, then undecided ones."""
        return ("bad", "wait", "good").index(self.look)


@dataclass
class Page:
    """Everything about one version."""

    product: Product
    facts: Mapping[str, Any]
    """See ``registry.entry``."""
    against: Mapping[str, Any] | None
    """The same of the version that it was compared with."""
    state: State
    """Of the registry, which decides what a person may do."""
    comparison: Comparison | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[Rule] = ()
    notes: Sequence[str] = ()
    """What the verdict tells of the rows behind it."""
    confusion: Sequence[Confusion] = ()
    """What is taken for what, by dataset."""
    trained: Trained = field(default_factory=Trained)
    licences: Sequence[tuple[str, str, str]] = ()
    """What of, the licence, and where it is stated; a licence that nobody stated is empty."""
    curves: Sequence[Chart] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the training record."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """About the snapshot that it was trained on: see ``snapshot_reports``."""
    answers: Sequence[tuple[Mapping[str, Any], str]] = ()
    """What people answered, oldest first, each with why it does not count; empty where it does."""
    refused: str = ""
    """Why the last answer about it did not count; empty where none was refused, or one was taken since."""
    examples: bool = False
    """Whether there are predictions to look at."""
    trouble: list[str] = field(default_factory=list)
    """What is missing, and why."""

    @property
    def number(self) -> int:
        """Number of the version."""
        return int(self.facts["version"])

    @property
    def stale(self) -> bool:
        """Whether it was compared with a version that is champion no more."""
        gone = self.against is not None and "champion" not in self.against["aliases"]
        return gone and not self.facts["promoted_at"]


def version(settings: Settings, product: Product, number: int, form: str = "") -> Page:
    """The page of one version.

    Raises:
        NoSuchVersionError: there is none of that number.
        TransientError: MLflow does not answer.
    """
    state = _state(settings, product, number)
    shelf, every = reading.shelf_of(settings, product.name), state.versions
    product = reading.as_trained(product, shelf, every[number]["run_id"])
    page = Page(product, facts := every[number], None, state)
    evaluation = _read(page, lambda: reading.evaluation(shelf, facts["run_id"]))
    verdict = _read(page, lambda: reading.verdict(shelf, facts["run_id"]))
    before = (evaluation or {}).get("champion") or (verdict or {}).get("champion") or facts["judged_against"]
    page.against = every.get(before) if isinstance(before, int) else None
    if evaluation is None and not page.trouble:
        page.trouble.append("This version has not been evaluated, so there is nothing to compare yet.")
    if evaluation is not None:
        page.evaluation = evaluation
        page.comparison = _compare(page, shelf, form)
        page.trouble += page.comparison.faults
    page.rules, page.notes = rules(verdict or {}, page.trouble), _notes(page, verdict or {})
    page.trained = _read_trained(settings, page, shelf)
    page.confusion = _confusion(page, shelf)
    page.training = (_read(page, lambda: reading.record(shelf, facts["run_id"], "train")) or {}).get("figures", {})
    page.licences = _licences(shelf, state.tags[number], page.training.get("base_license"))
    page.curves = _curves(settings, page)
    page.reports = snapshot_reports(shelf, facts["snapshot"])
    page.refused = _refused(shelf, number)
    page.answers = _answers(page)
    page.examples = _has_examples(page, shelf)
    return page


def facts(settings: Settings, product: Product, number: int) -> Mapping[str, Any]:
    """What the registry says of one version.

    Raises:
        NoSuchVersionError: there is none of that number.
        TransientError: MLflow does not answer.
    """
    return _state(settings, product, number).versions[number]


def _state(settings: Settings, product: Product, number: int) -> State:
    state = State.read(settings, product.name)
    if number not in state.versions:
        raise NoSuchVersionError(f"{product.name} has no version {number}.")
    return state


def _notes(page: Page, verdict: Mapping[str, Any]) -> list[str]:
    try:
        return notes(verdict)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        page.trouble.append(f"verdict.json cannot be read: {error!r}.")
        return []


def _read_trained(settings: Settings, page: Page, shelf: RecipeStore) -> Trained:
    try:
        return trained(settings, shelf, page.facts["run_id"], page.facts["mlflow_run"])
    except FtcoreError as error:
        return Trained(trouble=f"How it was trained is missing: {error.args[0]}.")


def _answers(page: Page) -> list[tuple[Mapping[str, Any], str]]:
    given = [approvals.Answer.model_validate(one) for one in page.facts["answers"]]
    recipe = page.product.recipe
    counted = {one.person for one in approvals.counted(given, recipe.approval)} if recipe else set()
    return [(one.model_dump(), _why_not(one, counted)) for one in given]


def _why_not(answer: approvals.Answer, counted: Collection[str]) -> str:
    if answer.decision == "reject" or answer.person in counted:
        return ""
    if answer.stale:
        return "it is about an earlier verdict"
    return "this person may not approve it" if answer.witness else "Airflow has no record of it"


def _refused(shelf: RecipeStore, number: int) -> str:
    answers = (line for line in ledger.lines(shelf) if line["kind"] == "approve" and line.get("version") == number)
    last = next(answers, None)
    return str(last["reason"]) if last and last["decision"] == "refused" else ""


def _licences(shelf: RecipeStore, tags: Mapping[str, str], base: Any) -> list[tuple[str, str, str]]:
    try:
        told = licenses.told(declared.of_version(shelf, tags), base if isinstance(base, Mapping) else None)
    except (FtcoreError, OSError):
        return []
    of_base = told["base"]
    found = [("Base model", of_base["license"], of_base["stated_in"]), ("Weights", told["model"], "the recipe")]
    found += [(f"Data, {name}", one, "the recipe") for name, one in told["data"].items()]
    return [(what, str(one or ""), str(where or "")) for what, one, where in found]


def _confusion(page: Page, shelf: RecipeStore) -> Sequence[Confusion]:
    form = page.comparison.served if page.comparison else ""
    labels = page.evaluation.get("labels") or page.product.labels
    try:
        return confusion(shelf, page.facts["run_id"], form, [str(label) for label in labels])
    except (FtcoreError, OSError, ValueError, TypeError) as error:
        page.trouble.append(f"The predictions cannot be read: {error}.")
        return ()


def _has_examples(page: Page, shelf: RecipeStore) -> bool:
    run_id = page.facts["run_id"]
    try:
        return bool(run_id) and (shelf.folder(run_id, "evaluate") / "predictions.parquet").exists()
    except (FtcoreError, OSError) as error:
        page.trouble.append(f"The predictions cannot be read: {error}.")
        return False


def _read(page: Page, read: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] | None = read()
    except (FtcoreError, OSError) as error:
        page.trouble.append(f"A part of this page is missing: {error}.")
        return None
    return found


def _compare(page: Page, shelf: RecipeStore, form: str) -> Comparison:
    sizes, before = {}, None
    for role, facts in (("candidate", page.facts), ("champion", page.against)):
        if facts and (record := _read(page, lambda facts=facts: reading.record(shelf, facts["run_id"], "export"))):  # type: ignore[misc]
            sizes[role] = record.get("figures", {}).get("size_bytes", {})
    if page.against:
        before = _read(page, lambda: reading.evaluation(shelf, page.against["run_id"]))  # type: ignore[index]
    return compare(page.evaluation, page.product.recipe, form, sizes, before)


def rules(verdict: Mapping[str, Any], trouble: list[str]) -> list[Rule]:
    """Rows of the verdict's table; a rule that cannot be read is told of instead."""
    found = []
    for rule in rows if isinstance(rows := verdict.get("rules", ()), list) else ():
        try:
            found.append(_rule(rule))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            trouble.append(f"A rule of verdict.json cannot be read: {error!r}.")
    return found


def _rule(rule: Mapping[str, Any]) -> Rule:
    word, look = {True: ("passed", "good"), False: ("failed", "bad"), None: ("undecided", "wait")}[rule.get("passed")]
    measured, low, high, bound = (rule.get(key) for key in ("measured", "low", "high", "bound"))
    plot = None
    if measured is not None and bound is not None:
        limits = domain([measured, low, high, bound], pad=0.2)
        plot = strip([("candidate", Point(0, float(measured), low, high))], limits, mark=float(bound))
    return Rule(str(rule["gate"]), word, look, str(rule.get("reason", "")), rule, plot)


def _curves(settings: Settings, page: Page) -> list[Chart]:
    sides = [("candidate", page.facts), ("champion", page.against)]
    try:
        found = {role: _of_run(settings.mlflow_uri, facts["mlflow_run"]) for role, facts in sides if facts}
    except FtcoreError as error:
        page.trouble.append(f"The learning curves are missing: {error}.")
        return []
    charts = []
    for title, metric in CURVES.items():
        series = [
            Series(role, role, [Point(step, value) for step, value in values[metric]])
            for role, values in found.items()
            if metric in values
        ]
        if series:
            limits = Limits.around([point for one in series for point in one.points])
            charts.append(Chart(title, chart(title, series, ("step", "loss"), limits=limits), series))
    return charts


@lru_cache(maxsize=512)
def _of_run(_uri: str, run: str) -> dict[str, list[tuple[int, float]]]:
    """Curves of a run that has ended: a version is registered at the end of its training, so they change no more."""
    from ftcore import settings

    return curves(settings.load(), run, list(CURVES.values()))

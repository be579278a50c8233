"""A search for better settings: an Optuna study in a file that many workers share.

The only file besides ``space.py`` that imports Optuna.

A trial is claimed from the file, so no two workers run the same one. A worker that was killed takes its own trial up
again; what it drew and what it was told so far is in the file. What is drawn depends on the recipe's seed and on the
trials so far, not on how often the search was interrupted.
"""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.recipe import space
from ftcore.recipe.canonical import sha256
from ftcore.store.store import digest

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial
    from upath import UPath

    from ftcore.recipe.model import Recipe
    from ftcore.recipe.training_sections import Search as Section
    from ftcore.recipe.training_sections import Setting
    from ftcore.store.store import RecipeStore

JOURNAL = "search.journal"
"""Name of the file, in the step's folder of the run."""
LIMITS = ("trials", "minutes", "workers")
"""What may be raised to go on with a search; anything else makes another one."""
ENOUGH = 8
"""Finished trials from which it is said which settings mattered."""


class EndedError(Exception):
    """Ends the training of a trial before it is done; the message says why."""


def identity(recipe: Recipe, snapshot: str) -> str:
    """Name of the search that a recipe asks for on a snapshot."""
    document = recipe.resolved()
    document["search"] = {key: value for key, value in document["search"].items() if key not in LIMITS}
    return digest({"recipe": document, "snapshot": snapshot})[:16]


@dataclass
class Trial:
    """One configuration, while it is tried."""

    search: Search
    inner: optuna.Trial
    before_s: float
    """Seconds that were spent on it before a crash."""
    others_s: float
    """Seconds that its worker spent on other trials."""
    started: float = field(default_factory=time.monotonic)

    @property
    def number(self) -> int:
        """From 0."""
        return int(self.inner.number)

    @property
    def values(self) -> dict[str, Setting]:
        """What is tried, by path."""
        return dict(self.inner.params)

    @property
    def worked_s(self) -> float:
        """Seconds spent on it."""
        return self.before_s + time.monotonic() - self.started

    def tick(self) -> None:
        """Look at the clock.

        Raises:
            EndedError: the time of the search is up.
        """
        minutes = self.search.config.minutes
        if minutes is not None and self.others_s + self.worked_s >= minutes * 60:
            raise EndedError(f"the {minutes:g} minutes of the search were over")

    def judge(self, evaluation: int, loss: float) -> None:
        """Take a validation loss.

        Raises:
            EndedError: half of the earlier trials were better by then, or the time is up.
        """
        known = next(trial for trial in self.search.trials if trial.number == self.number)
        if evaluation not in known.intermediate_values:
            self.inner.report(loss, evaluation)
        self.inner.set_user_attr("worked_s", round(self.worked_s, 3))
        if self.search.config.prune and self.inner.should_prune():
            raise EndedError(f"evaluation {evaluation}: a validation loss of {loss:.4f} is above the others' median")
        self.tick()

    def end(self, state: str, loss: float | None = None, reason: str = "") -> None:
        """Write down how it ended: ``complete`` with its loss, ``pruned`` or ``fail`` with the reason."""
        from optuna.trial import TrialState

        self.inner.set_user_attr("worked_s", round(self.worked_s, 3))
        self.inner.set_user_attr("reason", reason)
        self.search.study.tell(self.inner, loss, state=TrialState[state.upper()])


@dataclass
class Search:
    """What a recipe asks to be searched, as one worker sees it."""

    recipe: Recipe
    path: Path
    """The file that all workers share."""
    name: str
    """Of ``identity``."""
    worker: str = ""
    """Name of this worker. The nameless one comes alone or last: it takes up whatever any other left unfinished."""

    @property
    def config(self) -> Section:
        """The recipe's section ``search``."""
        assert self.recipe.search is not None
        return self.recipe.search

    @cached_property
    def own(self) -> dict[str, Setting]:
        """The recipe's own settings, by path."""
        return space.own(self.recipe)

    @cached_property
    def holds_own(self) -> bool:
        """Whether they lie in the space: then they are the first trial."""
        return space.holds(self.recipe, self.own)

    @cached_property
    def study(self) -> optuna.Study:
        """The study; made where there is none."""
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        _mend(self.path)
        backend = optuna.storages.journal.JournalFileBackend(str(self.path))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=self.name,
            direction="minimize",
            sampler=optuna.samplers.RandomSampler(),  # each trial brings its own
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=self.config.random_trials),
        )

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return trials(self.study)

    def spent_s(self) -> dict[str, float]:
        """Seconds by worker."""
        found: dict[str, float] = {}
        for trial in self.trials:
            worker = trial.user_attrs.get("worker", "")
            found[worker] = found.get(worker, 0.0) + trial.user_attrs.get("worked_s", 0.0)
        return found

    def claim(self) -> Trial | None:
        """A trial for this worker: one that was left unfinished, else a new one; None where all is done."""
        from optuna.trial import TrialState

        for left in self.trials:
            if left.state == TrialState.RUNNING and self.worker in ("", left.user_attrs.get("worker")):
                return self._drawn(left.number)
        minutes, longest_s = self.config.minutes, max(self.spent_s().values(), default=0.0)
        if len(self.trials) >= self.config.trials or (minutes is not None and longest_s >= minutes * 60):
            return None
        asked = self.study.ask()
        if sum(other.number < asked.number for other in self.trials) >= self.config.trials:
            asked.set_user_attr("surplus", True)  # another worker was faster
            self.study.tell(asked, state=TrialState.FAIL)
            return None
        asked.set_user_attr("worker", self.worker)
        return self._drawn(asked.number)

    def _drawn(self, number: int) -> Trial:
        """A trial that was begun, with every setting drawn; what was drawn before a crash stays."""
        import optuna
        from optuna.distributions import FloatDistribution, IntDistribution

        # Seeded anew for each: a search that goes on after a crash would else draw its first trials once more.
        self.study.sampler = self._sampler(number)
        found = next(trial for trial in self.study.get_trials(deepcopy=False) if trial.number == number)
        trial = optuna.Trial(self.study, found._trial_id)  # noqa: SLF001 - as Optuna itself takes one up
        for path, drawn in space.distributions(self.recipe).items():
            if isinstance(drawn, IntDistribution):
                trial.suggest_int(path, drawn.low, drawn.high, log=drawn.log)
            elif isinstance(drawn, FloatDistribution):
                trial.suggest_float(path, drawn.low, drawn.high, log=drawn.log)
            else:
                trial.suggest_categorical(path, drawn.choices)
        before_s = float(found.user_attrs.get("worked_s", 0.0))
        return Trial(self, trial, before_s, self.spent_s()[found.user_attrs.get("worker", "")] - before_s)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Random at first, then TPE; the first trial is the recipe's own setting, where the space holds it."""
        import optuna

        own = self.own

        class Own(optuna.samplers.RandomSampler):  # type: ignore[misc] # Optuna is skipped by mypy
            def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
                del study, trial, param_distribution
                return own[param_name]

        if number == 0 and self.holds_own:
            return Own()
        seed = int(sha256(f"search\x00{self.recipe.train.seed}\x00{number}")[:8], 16)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.config.random_trials, multivariate=True)

    def best(self) -> FrozenTrial | None:
        """The trial with the lowest loss of those that were finished; of equals the first."""
        return best(self.study)

    def table(self) -> list[dict[str, Any]]:
        """Every trial, as ``look`` gives them."""
        return [_row(trial) for trial in self.trials]

    def importances(self) -> dict[str, float]:
        """Share of each setting in what made the difference, the largest first; none of few trials."""
        return importances(self.study)


def trials(study: optuna.Study) -> list[FrozenTrial]:
    """All trials by number, but those that a worker drew when the last had just been given away."""
    found = study.get_trials(deepcopy=False)
    return [trial for trial in found if not trial.user_attrs.get("surplus")]


def best(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the lowest loss of those that were finished; of equals the first."""
    finished = [trial for trial in trials(study) if trial.state.name == "COMPLETE"]
    return min(finished, key=lambda trial: (trial.value, trial.number), default=None)


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in what made the difference, the largest first (PED-ANOVA); none of few trials."""
    import optuna

    if sum(trial.state.name == "COMPLETE" for trial in trials(study)) < ENOUGH:
        return {}
    return dict(optuna.importance.get_param_importances(study))


def look(shelf: RecipeStore, run_id: str = "") -> dict[str, Any]:
    """What a run's search has done so far.

    Args:
        shelf: the recipe's part of the store.
        run_id: the run; the newest with a search where it is empty.

    Returns:
        ``run``, ``best_trial`` (its number; None before one was finished), ``importances`` by path, and ``trials``:
        for each ``trial``, ``state`` (running, complete, pruned or fail), ``validation_loss`` (the best one so far),
        ``evaluations``, ``seconds``, ``worker``, ``reason`` where it was not finished, and ``settings`` by path.

    Raises:
        FtcoreError: no such run, or it has no search.
    """
    import optuna

    place = _newest(shelf, run_id)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / JOURNAL  # looking must not wait for those who write, nor need the right to
        data = place.read_bytes()
        copy.write_bytes(data[: data.rfind(b"\n") + 1])
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(copy)))
        newest = max(storage.get_all_studies(), key=lambda one: one._study_id)  # noqa: SLF001 - in the order of their making
        optuna.logging.set_verbosity(logging.WARNING)
        study = optuna.load_study(study_name=newest.study_name, storage=storage)
        first = best(study)
        return {
            "run": place.parent.parent.name,
            "best_trial": first.number if first else None,
            "importances": importances(study),
            "trials": [_row(trial) for trial in trials(study)],
        }


def _newest(shelf: RecipeStore, run_id: str) -> UPath:
    """The journal of a run, or of the run that wrote to its last."""
    runs = shelf.root / "runs"
    folders = (
        [shelf.folder(run_id, "tune")]
        if run_id
        else [run / "tune" for run in (runs.iterdir() if runs.exists() else [])]
    )
    found = [folder / JOURNAL for folder in folders if (folder / JOURNAL).exists()]
    if not found:
        what = f"run {run_id} of {shelf.name}" if run_id else f"{shelf.name}"
        raise FtcoreError(f"{what} has no search", hint="add search: to the recipe; ftcore schema prints its fields")
    return max(found, key=lambda path: path.stat().st_mtime)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    losses = [*trial.intermediate_values.values(), *(trial.values or [])]
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "validation_loss": min(losses, default=None),
        "evaluations": len(trial.intermediate_values),
        "seconds": trial.user_attrs.get("worked_s", 0.0),
        "worker": trial.user_attrs.get("worker", ""),
        "reason": trial.user_attrs.get("reason", ""),
        "settings": dict(trial.params),
    }


def _mend(path: Path) -> None:
    """Cut off half a line that a crash or a full disk left at the end of the file: nobody acted upon it."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists():
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        with path.open("r+b") as file:
            data = file.read()
            if not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    finally:
        lock.release()

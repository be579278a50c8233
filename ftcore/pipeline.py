"""The ring without Airflow: which steps there are, in which order, and how one is run so that it can be run again."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ftcore import settings
from ftcore.context import Context, Outcome
from ftcore.data import snapshot
from ftcore.errors import DamagedFileError, FtcoreError, MissingExtraError, RecipeError
from ftcore.progress import busy
from ftcore.recipe import reading as recipes
from ftcore.recipe.model import NAME
from ftcore.registry import promoted
from ftcore.store import patience, records, run_recipe, store
from ftcore.store.records import Record
from ftcore.store.store import damaged

if TYPE_CHECKING:
    from ftcore.recipe.model import Recipe
    from ftcore.store.store import RecipeStore

log = logging.getLogger(__name__)

Decides: TypeAlias = tuple[Mapping[str, Any], Mapping[str, str], Mapping[str, str]]
"""Recipe, parameters and earlier steps: what a fingerprint is made of."""
RING: dict[str, tuple[str, ...]] = {
    "data": ("ingest", "prepare", "validate"),
    "finetune": ("plan", "tune", "train", "export", "evaluate", "gate", "approve", "promote"),
    "monitor": ("watch", "decide"),
}
"""The three DAGs and their steps, in order. In Airflow ``approve`` waits for people; here it says what is missing.
``shard`` before ingest is Airflow's alone: it divides the reading among its workers."""
STEPS = (*(step for steps in RING.values() for step in steps), "shard")
"""Every file in ``ftcore/steps/`` that can be run by itself."""
BEGINS = (*(steps[0] for steps in RING.values()), "shard")
"""The steps that read the recipe's file; those after them go by what their run kept of it."""
SHARED = ("ingest", "tune")
"""The steps that many workers may share: with the parameter ``shard`` they do that part only, beside the others, and
without it what is left, and join all parts."""

EXTRAS = {
    "great_expectations": "train",
    "evidently": "train",
    "peft": "train",
    "torch": "train",
    "transformers": "train",
}
EXTRAS |= {"onnx": "train", "onnxruntime": "serve", "airflow": "airflow"}


def chain_of(step: str) -> str:
    """Name of the DAG that a step belongs to."""
    return next((chain for chain, steps in RING.items() if step in steps), "data")


def run_step(
    step: str, recipe_path: Path, run_id: str, params: Mapping[str, str] | None = None, *, again: bool = False
) -> Record:
    """Run one step, or hand back its record where the same work was done already.

    Args:
        step: a file in ``ftcore/steps/``.
        recipe_path: the recipe's file.
        run_id: letters, digits, ``.``, ``_`` and ``-``; steps of one run share it.
        params: what is asked of this run, such as ``{"train": "always"}``.
        again: do the work even where a record says that it was done; never in a run whose version was promoted.

    Raises:
        FtcoreError: one of the tree in ``errors.py``.
    """
    conf, asked = settings.load(), dict(params or {})
    if asked.get("shard") and step not in SHARED:
        raise FtcoreError(f"{step} is done as a whole", hint=f"leave the parameter shard to {' and '.join(SHARED)}")

    def once() -> Record:
        recipe = _recipe(shelf, recipe_path, run_id, step, begins=step in BEGINS and not asked.get("shard"))
        return _once(Context(recipe, recipe_path, run_id, step, asked, shelf, conf), again=again)

    with patience.lasting(conf.patience_s):
        shelf = store.shelf(conf, patience.through(lambda: _name(recipe_path, run_id, conf)))
        with shelf.lock("-".join(filter(None, (step, asked.get("shard")))), conf.lock_timeout_s):
            return patience.through(once)


def _once(context: Context, *, again: bool) -> Record:
    """Do a step that no other process does now, unless it was done."""
    step, run_id, shelf = context.step, context.run_id, context.shelf
    decides = _decides(context)
    done = shelf.record(run_id, step, context.shard)
    if done and not shelf.is_signed(run_id, step, context.shard):
        log.warning("the record of %s in run %s was not written by the platform: it is done again", step, run_id)
        done = None
    same = done is not None and done.fingerprint == records.fingerprint(*decides)
    if done and same and not again and not _looks_again(done):
        log.info("%s was done already: %s", step, done.reason.replace("\n", "; "))
        return done
    promoted.check(shelf, run_id, step)
    if done and not same:
        log.info("%s", _why_again(done, records.parts(*decides)))
    record = _work(context, decides)
    shelf.write_record(record)
    first = record.reason.partition("\n")[0]  # the gate logged the others as it judged
    log.info("%s %s: %s (%.1f s)", "✔" if record.proceed else "■", step, first, record.work_s)
    return record


def run(
    recipe_path: Path,
    run_id: str,
    chains: tuple[str, ...] = ("data", "finetune"),
    params: Mapping[str, str] | None = None,
    notify: Callable[[str, Record | None], None] = lambda step, record: None,
    launch: Callable[[str, Path, str, Mapping[str, str]], Record] = run_step,
) -> list[Record]:
    """Run whole chains, one step after the other, and stop where a step says so.

    Args:
        recipe_path: the recipe's file.
        run_id: name of the run; an interrupted run goes on where it stopped when called again with the same name.
        chains: which of data, finetune and monitor.
        params: what is asked of this run.
        notify: called before each step with None and after it with its record.
        launch: how a step is run; the CLI gives each a process of its own.

    Raises:
        BusyError: another run of this recipe is at work.
    """
    conf = settings.load()
    recipe = recipes.read(recipe_path)
    done = []
    # A monitor reads logs and adds to the ledger: it need not wait for a training, only for another monitor.
    what = "monitor" if set(chains) == {"monitor"} else "run"
    with store.shelf(conf, recipe.name).lock(what, conf.lock_timeout_s):
        for step in (step for chain in chains for step in RING[chain]):
            notify(step, None)
            record = launch(step, recipe_path, run_id, params or {})
            done.append(record)
            notify(step, record)
            if not record.proceed:
                break
    return done


def _name(recipe_path: Path, run_id: str, conf: settings.Settings) -> str:
    """Name of the recipe in a file; of one that is gone or broken since, by the run that it began."""
    try:
        return recipes.read(recipe_path).name
    except RecipeError:
        kept = run_recipe.of(store.shelf(conf, recipe_path.stem), run_id) if NAME.match(recipe_path.stem) else None
        if kept is None:
            raise
        return str(kept.resolved["name"])


def _recipe(shelf: RecipeStore, recipe_path: Path, run_id: str, step: str, *, begins: bool) -> Recipe:
    """The recipe that the run goes by; a step that begins a chain reads its file, and so do runs that kept none."""
    kept, published = run_recipe.of(shelf, run_id), snapshot.source_names(shelf)
    if kept and not begins:
        _same_as_begun(shelf, run_id, step, kept)
        try:
            changed = recipes.read(recipe_path, published).resolved() != kept.resolved
        except RecipeError:
            changed = True
        if changed:
            log.warning(
                "%s changed after run %s began: %s goes by the recipe as it was then; for the change to count, run %s "
                "again first, or start another run",
                recipe_path.name, run_id, step, RING[chain_of(step)][0],
            )  # fmt: skip
        return kept.recipe()
    recipe, text = _read(recipe_path, published)
    if kept and recipe.resolved() != kept.resolved:
        promoted.check(shelf, run_id, step)
    if not (shelf.root / "runs").exists():
        shelf.write_layout()
    run_recipe.begin(shelf, run_id, recipe, text)
    return recipe


def _read(path: Path, published: Mapping[str, str]) -> tuple[Recipe, str]:
    """A recipe and the text that it was read from, also where somebody saves the file at this moment."""
    while True:
        recipe = recipes.read(path, published)
        text = path.read_text(encoding="utf-8")
        if recipes.read(path, published) == recipe:
            return recipe, text


def _same_as_begun(shelf: RecipeStore, run_id: str, step: str, kept: run_recipe.RunRecipe) -> None:
    """Check that what is kept is what the chain's first step kept.

    Raises:
        DamagedFileError: somebody else wrote it since.
    """
    first = RING[chain_of(step)][0]
    record = shelf.record(run_id, first) if step != first else None
    path = shelf.root / "runs" / run_id / run_recipe.FILE
    if record is None and not shelf.is_ours(path):  # neither a record nor a signature vouches for it
        raise damaged(path, f"was changed, or was not written by the platform; {first} has to be run again")
    if record and not shelf.is_signed(run_id, first):
        raise damaged(
            shelf.folder(run_id, first) / "record.json",
            f"was changed, or was not written by the platform; {first} has to be run again",
        )
    if record and record.inputs.get(run_recipe.INPUT, kept.sha256) != kept.sha256:
        raise DamagedFileError(
            f"runs/{run_id}/{run_recipe.FILE} is not what {first} kept there",
            hint=f"restore it from a backup, or begin anew: ftcore step {first} {shelf.name} --run {run_id}",
        )


def _looks_again(done: Record) -> bool:
    """Whether a stop may be over: it depended on something outside of the run, such as an approval or a hold."""
    module = importlib.import_module(f"ftcore.steps.{done.step}")
    return not done.proceed and getattr(module, "RERUN_IF_STOPPED", False)


def _why_again(done: Record, parts: Mapping[str, str]) -> str:
    """Why a step is done once more in its run."""
    changed = records.changed(done.decided_by, parts) if done.decided_by else ["what decides it"]
    hint = "; any change of the recipe does all steps of a run again" if "of the recipe" in changed[0] else ""
    return f"{done.step} was done in run {done.run_id} and is done again: {', '.join(changed)} changed since{hint}"


def _work(context: Context, decides: Decides) -> Record:
    module = importlib.import_module(f"ftcore.steps.{context.step}")
    started, clock = records.now(), time.perf_counter()
    with busy(f"{context.step}: importing its libraries"):
        _import(getattr(module, "NEEDS", ()))
    imported = time.perf_counter()
    outcome: Outcome = module.run(context)
    return Record(
        step=context.step,
        recipe=context.recipe.name,
        run_id=context.run_id,
        fingerprint=records.fingerprint(*decides),
        decided_by=records.parts(*decides),
        proceed=outcome.proceed,
        reason=outcome.reason,
        params=dict(context.params),
        inputs={**_recipe_hashes(context), **_chain(context), **outcome.inputs},
        figures=outcome.figures,
        paths=outcome.paths,
        started_at=started,
        import_s=round(imported - clock, 3),
        work_s=round(time.perf_counter() - imported, 3),
        versions=records.versions(),
        git_commit=records.git_commit(str(settings.REPOSITORY)),
    )


def _recipe_hashes(context: Context) -> dict[str, str]:
    """Hash of the recipe as the step used it, and of the file in which the run keeps it."""
    kept = run_recipe.of(context.shelf, context.run_id)
    found = {"recipe": store.digest(context.recipe.resolved())}
    return found | ({run_recipe.INPUT: kept.sha256} if kept else {})


def _chain(context: Context) -> dict[str, str]:
    """SHA-256 of the file of each earlier record of the run: what ties the evidence together, link by link."""
    steps = RING[chain_of(context.step)]
    earlier = steps[: steps.index(context.step)] if context.step in steps else ()
    files = {name: context.shelf.folder(context.run_id, name) / "record.json" for name in earlier}
    return {f"{records.LINK}{name}": store.hash_file(path) for name, path in files.items() if path.exists()}


def _decides(context: Context) -> Decides:
    """What decides a step's result: recipe, parameters, this run's earlier steps, and the step's own ``state``."""
    steps = RING[chain_of(context.step)]
    state = getattr(importlib.import_module(f"ftcore.steps.{context.step}"), "state", None)
    earlier = dict(state(context)) if state else {}
    for name in steps[: steps.index(context.step)] if context.step in steps else ():
        record = context.shelf.record(context.run_id, name)
        if record is not None:
            earlier[name] = store.digest({"fingerprint": record.fingerprint, "inputs": record.inputs})
    return context.recipe.resolved(), context.params, earlier


def _import(needs: tuple[str, ...]) -> None:
    """Import a step's heavy libraries before its clock starts, so that imports never pass for work."""
    for name in needs:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get(name.split(".")[0], "train")
            raise MissingExtraError(f"{name} is not installed", hint=f"pip install 'ftcore[{extra}]'") from error

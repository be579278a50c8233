"""A step is done once, done again when what decides it changes, and its record comes last."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from ftcore import pipeline
from ftcore.context import Context, Outcome
from ftcore.errors import BusyError, FtcoreError, MissingExtraError, RecipeError

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.store.records import Record


class Counted(ModuleType):
    """Stands in for a step's module and counts its runs."""

    NEEDS: tuple[str, ...] = ("json",)

    def __init__(self) -> None:
        super().__init__("counted")
        self.runs = 0
        self.error: BaseException | None = None
        self.outcome = Outcome("did it", figures={"n": 1}, inputs={"rows": "hash"}, paths={"rows": "p"})

    def run(self, context: Context) -> Outcome:
        self.runs += 1
        if self.error:
            raise self.error
        return self.outcome


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counted]:
    steps = {name: Counted() for chain in pipeline.RING.values() for name in chain}
    for name, module in steps.items():
        monkeypatch.setitem(sys.modules, f"ftcore.steps.{name}", module)
    return steps


def test_the_record_says_what_was_done_and_with_what(product: Product, counted: dict[str, Counted]) -> None:
    record = product.run("ingest", train="always")
    assert product.shelf.record("r1", "ingest") == record
    assert (record.step, record.recipe, record.run_id, record.reason) == ("ingest", product.name, "r1", "did it")
    assert (record.figures, record.paths, record.params) == ({"n": 1}, {"rows": "p"}, {"train": "always"})
    assert set(record.inputs) == {"recipe", "recipe.json", "rows"}
    assert record.versions["ftcore"]


def test_what_was_done_is_not_done_again(product: Product, counted: dict[str, Counted]) -> None:
    first = product.run("ingest")
    assert product.run("ingest") == first
    assert counted["ingest"].runs == 1
    product.run("ingest", again=True)
    product.run("ingest", "r2")
    assert counted["ingest"].runs == 3


def test_a_changed_recipe_or_parameter_is_done_again(product: Product, counted: dict[str, Counted]) -> None:
    product.run("ingest")
    product.change(description="now with one")
    product.run("ingest")
    assert counted["ingest"].runs == 2
    product.run("ingest", train="always")
    assert counted["ingest"].runs == 3
    product.path.write_text(
        "# a comment changes nothing\n" + product.path.read_text(encoding="utf-8"), encoding="utf-8"
    )
    product.run("ingest", train="always")
    assert counted["ingest"].runs == 3


def test_it_says_why_a_step_is_done_again(
    product: Product, counted: dict[str, Counted], caplog: pytest.LogCaptureFixture
) -> None:
    """A run that went on after its recipe was edited began anew without a word."""

    def said(change: Callable[[], object] = lambda: None, **params: str) -> list[str]:
        change()
        caplog.clear()
        with caplog.at_level("INFO", "ftcore"):
            for step in ("ingest", "prepare"):
                product.run(step, **params)
        return [line for line in caplog.messages if "done again" in line]

    assert said() == []
    assert said() == []
    lines = said(lambda: product.change(train={"epochs": 3}))
    why = "train of the recipe changed since; any change of the recipe does all steps of a run again"
    assert lines == [f"{step} was done in run r1 and is done again: {why}" for step in ("ingest", "prepare")]
    assert said(train="always")[0].endswith("done again: the parameter train changed since")
    assert said()[0].endswith("done again: the parameter train changed since"), "taken away"
    counted["ingest"].outcome = Outcome("did it", inputs={"rows": "other rows"})
    product.run("ingest", again=True)
    assert said() == ["prepare was done in run r1 and is done again: the state of ingest changed since"]
    record = product.shelf.record("r1", "ingest")
    assert record is not None
    product.shelf.write_record(record.model_copy(update={"decided_by": {}, "fingerprint": "of an earlier version"}))
    assert said()[0].endswith("done again: what decides it changed since")


def test_what_an_earlier_step_found_decides_the_later_one(product: Product, counted: dict[str, Counted]) -> None:
    product.run("ingest")
    product.run("prepare")
    product.run("ingest", again=True)
    product.run("prepare")
    assert counted["prepare"].runs == 1
    counted["ingest"].outcome = Outcome("did it", inputs={"rows": "other rows"})
    product.run("ingest", again=True)
    product.run("prepare")
    assert counted["prepare"].runs == 2


def test_an_earlier_step_of_another_chain_decides_nothing(product: Product, counted: dict[str, Counted]) -> None:
    product.run("plan")
    product.run("ingest")
    product.run("plan")
    assert counted["plan"].runs == 1


@pytest.mark.parametrize("error", [FtcoreError("it broke"), KeyboardInterrupt(), RuntimeError("surprise")])
def test_a_step_that_raises_leaves_no_record_and_no_lock(
    product: Product, counted: dict[str, Counted], error: BaseException
) -> None:
    counted["ingest"].error = error
    with pytest.raises(type(error)):
        product.run("ingest")
    assert product.shelf.record("r1", "ingest") is None
    counted["ingest"].error = None
    assert product.run("ingest").reason == "did it"


def test_a_failure_after_a_success_keeps_the_old_record(product: Product, counted: dict[str, Counted]) -> None:
    first = product.run("ingest")
    counted["ingest"].error = RuntimeError()
    with pytest.raises(RuntimeError):
        product.run("ingest", again=True)
    assert product.shelf.record("r1", "ingest") == first


def test_the_record_is_written_after_everything_else(
    product: Product, counted: dict[str, Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    run = counted["ingest"].run

    def look(context: Context) -> Outcome:
        seen.append(context.shelf.record("r1", "ingest"))
        return run(context)

    monkeypatch.setattr(counted["ingest"], "run", look)
    product.run("ingest")
    assert seen == [None]


def test_two_runs_of_a_step_do_not_meet(product: Product, counted: dict[str, Counted]) -> None:
    with product.shelf.lock("ingest", 1), pytest.raises(BusyError):
        product.run("ingest")
    assert counted["ingest"].runs == 0
    product.run("ingest")


@pytest.mark.parametrize(("step", "needed"), [("prepare", "ingest"), ("validate", "prepare"), ("decide", "watch")])
def test_a_missing_record_names_the_command(product: Product, step: str, needed: str) -> None:
    with pytest.raises(FtcoreError) as error:
        product.run(step)
    assert str(error.value).startswith(f"{step} needs the record of {needed} in run r1")
    assert error.value.hint == f"run it first: ftcore step {needed} {product.name} --run r1"


@pytest.mark.parametrize(("package", "extra"), [("onnxruntime", "serve"), ("torch.nn", "train"), ("none", "train")])
def test_a_missing_package_names_the_extra(
    product: Product, counted: dict[str, Counted], monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    monkeypatch.setattr(Counted, "NEEDS", (package,))
    for name in [name for name in sys.modules if name.split(".")[0] == package.split(".", maxsplit=1)[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if getattr(f, "__name__", "") == "BuiltinImporter"])
    with pytest.raises(MissingExtraError, match=rf"is not installed\n  hint: pip install 'ftcore\[{extra}\]'"):
        pipeline._import((package,))


def test_a_bad_run_id_and_a_bad_recipe_are_refused_before_any_work(
    product: Product, counted: dict[str, Counted]
) -> None:
    with pytest.raises(FtcoreError, match="bad run id"):
        product.run("ingest", "../up")
    product.path.write_text("name: x\n", encoding="utf-8")
    with pytest.raises(RecipeError):
        product.run("ingest")
    assert counted["ingest"].runs == 0


def test_whole_chains_run_in_order_and_stop_where_a_step_says_so(product: Product, counted: dict[str, Counted]) -> None:
    told: list[tuple[str, bool]] = []

    def notify(step: str, record: Record | None) -> None:
        told.append((step, record is not None))

    done = pipeline.run(product.path, "r1", notify=notify)
    assert [record.step for record in done] == [*pipeline.RING["data"], *pipeline.RING["finetune"]]
    assert told == [(record.step, after) for record in done for after in (False, True)]
    counted["plan"].outcome = Outcome("no need", proceed=False)
    stopped = pipeline.run(product.path, "r2")
    assert [record.step for record in stopped] == [*pipeline.RING["data"], "plan"]
    assert counted["train"].runs == 1


def test_an_interrupted_run_goes_on_where_it_stopped(product: Product, counted: dict[str, Counted]) -> None:
    counted["export"].error = FtcoreError("it broke")
    with pytest.raises(FtcoreError, match="it broke"):
        pipeline.run(product.path, "r1")
    counted["export"].error = None
    pipeline.run(product.path, "r1")
    assert {name: module.runs for name, module in counted.items()} == {
        name: 2 if name == "export" else 0 if name in pipeline.RING["monitor"] else 1 for name in counted
    }


def test_a_monitor_does_not_wait_for_a_training(product: Product, counted: dict[str, Counted]) -> None:
    with product.shelf.lock("run", 1):
        pipeline.run(product.path, "m1", ("monitor",))
    assert counted["watch"].runs == 1
    with product.shelf.lock("monitor", 1), pytest.raises(BusyError):
        pipeline.run(product.path, "m2", ("monitor",))


def test_one_run_of_a_recipe_at_a_time(product: Product, counted: dict[str, Counted]) -> None:
    with product.shelf.lock("run", 1), pytest.raises(BusyError):
        pipeline.run(product.path, "r1")
    assert pipeline.run(product.path, "r1", ("monitor",))


def test_every_step_of_the_ring_is_a_file_and_belongs_to_one_chain() -> None:
    from pathlib import Path

    from ftcore import steps

    files = {path.stem for path in Path(steps.__path__[0]).glob("[a-z]*.py")}
    assert set(pipeline.STEPS) == files
    assert [pipeline.chain_of(step) for step in ("validate", "gate", "decide")] == ["data", "finetune", "monitor"]

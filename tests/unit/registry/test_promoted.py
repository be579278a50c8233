"""What a promoted version goes by is written over by nothing that is asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ftcore.errors import FtcoreError
from ftcore.registry import doctor, promoted
from ftcore.store import run_recipe, store
from ftcore.store.records import Record, now
from ftcore.tracking import registered

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product


@pytest.fixture
def served(product: Product) -> Product:
    """Version 1 is champion: data of run d1, trained and judged in run r1. Version 2 of run r2 was judged and waits."""
    identity = product.publish(range(30))
    manifest = product.shelf.root / "snapshots" / identity / "manifest.json"
    store.write_json(manifest, json.loads(manifest.read_text()) | {"run_id": "d1"})
    text = product.path.read_text(encoding="utf-8")
    for run_id in ("d1", "r1", "r2"):
        run_recipe.begin(product.shelf, run_id, product.recipe, text)
        for step in promoted.DATA if run_id == "d1" else promoted.FINETUNE[:-1]:
            made = {"step": step, "recipe": product.name, "run_id": run_id, "fingerprint": "", "started_at": now()}
            product.shelf.write_record(Record.model_validate(made))
    for number in (1, 2):
        product.register(f"r{number}", identity)
        product.judge(number, run_id=f"r{number}")
    product.registrar.promote(1, "mira")
    return product


def everything(product: Product) -> dict[str, object]:
    root = store.local(product.shelf.root)
    assert root
    files: dict[str, object] = {path.as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    run = product.tracking.version(1).run
    return files | {"mlflow": registered.run_tags(product.tracking, run)}


def test_no_step_is_done_again_once_its_version_was_promoted(served: Product) -> None:
    before = everything(served)
    for run_id, steps in (("d1", promoted.DATA), ("r1", promoted.FINETUNE)):
        for step in steps:
            for more in ({"again": True}, {"train": "always"}):
                with pytest.raises(FtcoreError, match=rf"{step} is not done again .* version 1 was promoted") as told:
                    served.run(step, run_id, **more)  # type: ignore[arg-type]
                assert "start another run" in told.value.hint
    served.edit(description="another one")
    for run_id, step in (("d1", "ingest"), ("r1", "plan"), ("r1", "train")):
        with pytest.raises(FtcoreError, match="is not done again"):
            served.run(step, run_id)
    assert everything(served) == before


def test_of_what_was_not_promoted_it_may(served: Product) -> None:
    for run_id, step in (("r2", "train"), ("r2", "evaluate"), ("d2", "ingest"), ("r1", "promote"), ("r1", "watch")):
        assert promoted.version_of(served.shelf, run_id, step) is None, (run_id, step)


@pytest.mark.parametrize("how", ["garbage", "gone"])
def test_a_record_that_was_lost_is_not_written_anew(served: Product, how: str) -> None:
    path: Path = served.shelf.folder("r1", "export") / "record.json"  # type: ignore[assignment]
    if how == "gone":
        path.unlink()
    else:
        path.write_text("{")
    with pytest.raises(FtcoreError):
        served.run("export", "r1")
    doctor.mend(served.registrar)
    assert path.exists() == (how == "garbage"), "nobody removes it, and nobody writes it"
    assert any("runs/r1/export/record.json" in one.what for one in doctor.examine(served.registrar))


def test_one_that_was_promoted_without_a_verdict(product: Product) -> None:
    """By hand, before the run went on: what was not done yet may be done, what was done stays."""
    product.register("r1")
    made = {"step": "train", "recipe": product.name, "run_id": "r1", "fingerprint": "", "started_at": now()}
    product.shelf.write_record(Record.model_validate(made | {"figures": {"version": 1}}))
    product.registrar.promote(1, "mira", "it has to go out", override=True)
    assert promoted.version_of(product.shelf, "r1", "train") == 1
    assert promoted.version_of(product.shelf, "r1", "evaluate") is None

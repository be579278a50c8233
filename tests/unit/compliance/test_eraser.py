"""A forgotten subject's rows leave every log and evaluation, wherever it is killed on the way, and no forgery hides."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from ftcore.compliance import attestation, eraser, evidence, forget
from ftcore.compliance.forget import ErasureRequest
from ftcore.compliance.traces import Traces
from ftcore.data import erasures, snapshot
from ftcore.data.suppression import Suppression
from ftcore.errors import TransientError
from ftcore.registry import artefacts, doctor
from ftcore.registry.judgement import record_verdict
from ftcore.registry.promotion import ModelRegistry
from ftcore.registry.verdict import Rule, Verdict
from ftcore.serving import scoring
from ftcore.store import run_recipe, store
from ftcore.store.records import Record, now

if TYPE_CHECKING:
    from conftest import Product

    from ftcore.tracking.client import Version

WHO = "C-10442"
TEXTS = {number: f"what {'customer' if number < 2 else 'somebody'} number {number} wrote" for number in range(6)}
HERS = {TEXTS[0], TEXTS[1]}


class Killed(BaseException):
    """Nothing can catch a kill."""


def group(number: int) -> str:
    return WHO if number < 2 else "C-2"


def published(product: Product) -> str:
    """A snapshot of which two rows are hers, told by their group alone."""
    rows = [
        {"row_id": snapshot.row_id("test", snapshot.text_key(text)), "text": text, "label": "positive"}
        | {"source": "test", "group": f"test:{group(number)}", "split": "test"}
        for number, text in TEXTS.items()
    ]
    made = pa.Table.from_pylist(rows, schema=snapshot.schema(split=True))
    quarantine = snapshot.schema().append(made.schema.field("split").with_name("reason")).empty_table()
    return snapshot.publish(product.shelf, lambda: [made], quarantine, {"rows": made.num_rows, "run_id": "d1"})


def requests(numbers: list[int]) -> pa.Table:
    rows = [
        {"request_id": f"q{number}", "at": now(), "text": TEXTS[number], "label": "positive", "group": group(number)}
        for number in numbers
    ]
    return pa.Table.from_pylist(rows, schema=scoring.log_schema())


def evaluated(product: Product, folder: Path, identity: str) -> None:
    """What evaluate leaves in a folder."""
    rows = snapshot.read(product.shelf, identity).select(["row_id", "text", "context", "label", "source"])
    said = pa.array([[0.1, 0.9]] * rows.num_rows, pa.list_(pa.float32()))
    store.write_table(folder / "predictions.parquet", rows.append_column("candidate.torch", said))
    kept = [{**row, "dataset": "test"} for row in rows.to_pylist()]
    figures = {"candidate": 1, "snapshot": identity, "examples": {"best": kept[:3], "worst": kept[3:], "lost": kept}}
    store.write_json(folder / "evaluation.json", figures)


@pytest.fixture
def make(new_product: Callable[[], Product], tmp_path: Path) -> Callable[[], Product]:
    """Makes products of whose customer there are rows in every place that keeps any."""

    def one() -> Product:
        product = new_product()
        identity = published(product)
        folder = tmp_path / product.name / "evaluation"
        evaluated(product, folder, identity)
        version = product.register("r1", identity, [folder])
        for name, numbers in {"a": [0, 2, 3], "b": [1]}.items():
            product.shelf.append("predictions", requests(numbers), "2026-11-01", name)
        labels = [{"request_id": f"q{n}", "label": "positive", "at": now()} for n in (0, 2)]
        product.shelf.append("feedback", pa.Table.from_pylist(labels), "2026-11-02", "c")
        store.write_table(product.shelf.folder("m1", "watch") / "window.parquet", requests([0, 2]))
        place = product.shelf.folder("r1", "evaluate")
        evaluated(product, place, identity)
        inputs = {name: store.hash_file(place / f"{name}.{end}") for name, end in ENDS.items()}
        for step in ("evaluate", "gate"):
            made = Record(step=step, recipe=product.name, run_id="r1", fingerprint="", started_at=now(), inputs=inputs)
            product.shelf.write_record(made)
        rules = (Rule(gate="threshold", passed=True, reason="0.9 reaches 0.8"),)
        verdict = Verdict(passed=True, rules=rules, candidate=version.number, champion=None)
        store.write_json(product.shelf.folder("r1", "gate") / "verdict.json", verdict.to_json())
        digest = store.hash_file(product.shelf.folder("r1", "gate") / "verdict.json")
        record_verdict(product.registrar, "r1", verdict, digest)
        return product

    return one


ENDS = {"predictions": "parquet", "evaluation": "json"}
PLACES = {
    "feedback/date=2026-11-02/c.parquet": 1,
    "predictions/date=2026-11-01/a.parquet": 1,
    "predictions/date=2026-11-01/b.parquet": 1,
    "runs/m1/watch/window.parquet": 1,
    "runs/r1/evaluate/predictions.parquet": 2,
    "runs/r1/evaluate/evaluation.json": 4,
}


def forgets(product: Product, **more: Any) -> dict[str, Any]:
    return forget.forget(product.recipe, product.shelf, product.settings, ErasureRequest(WHO, **more))


def version(product: Product) -> Version:
    return product.tracking.version(1)


def in_mlflow(product: Product) -> Path:
    """Where MLflow keeps the evaluation."""
    return Path(urlsplit(product.tracking.client.get_run(version(product).run).info.artifact_uri).path) / "evaluation"


def texts(product: Product) -> dict[str, list[str]]:
    """What stands in each place: the texts, or the request ids of feedback."""
    root, found = Path(str(product.shelf.root)), {}
    places = [*(root / place for place in PLACES), *in_mlflow(product).iterdir()]
    for path in sorted(places):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else f"mlflow/{path.name}"
        if path.suffix == ".parquet":
            table = store.read_table(path)
            found[name] = table["text" if "text" in table.column_names else "request_id"].to_pylist()
        else:
            examples = json.loads(path.read_text())["examples"]
            found[name] = [row["text"] for kept in examples.values() for row in kept]
    return found


def every_byte(product: Product) -> dict[str, bytes]:
    """Every file of the store and of the artefact, but the time at which something was erased."""
    files = [*Path(str(product.shelf.root)).rglob("*"), *in_mlflow(product).iterdir()]
    return {path.as_posix(): path.read_bytes() for path in files if path.is_file()}


def test_her_rows_leave_and_everybody_elses_stay(make: Callable[[], Product]) -> None:
    product = make()
    before = texts(product)
    report = forgets(product, reason="case 7")
    assert report["logs"] == {"feedback": 1, "predictions": 2}
    assert report["erased"] == PLACES | {f"mlflow/{version(product).run}/evaluation": 6}
    hers = HERS | {"q0", "q1"}
    assert texts(product) == {name: [one for one in said if one not in hers] for name, said in before.items()}
    assert texts(product)["predictions/date=2026-11-01/b.parquet"] == [], "the file stays, its batch is known"
    tags = product.tracking.client.get_run(version(product).run).data.tags
    assert tags["ftcore.sha256.evaluation"] == store.hash_folder(in_mlflow(product))
    line = next(line for line in product.shelf.ledger("forget") if line["decision"] == "erased")
    assert (line["because"], line["places"]) == ("case 7", sorted(report["erased"]))
    written = [line, *(one.model_dump(mode="json") for one in erasures.read(product.shelf))]
    assert len(written) == 8
    assert WHO.lower() not in json.dumps(written).lower(), "the request is named by its hash"


def test_a_subject_whose_text_is_a_word_of_recipes_changes_none(product: Product) -> None:
    """Recipes, aside ones too, and signatures are kept by their hash: the label ``positive`` is nobody's row."""
    first = run_recipe.begin(product.shelf, "r1", product.recipe, "as it was")
    product.edit(description="another")
    run_recipe.begin(product.shelf, "r1", product.recipe, "as it is")
    folder = product.shelf.folder("r1", "gate")
    store.write_json(folder / "notes.json", {"labels": ["positive", "negative"]})
    product.shelf.write_record(Record(step="gate", recipe=product.name, run_id="r1", fingerprint="", started_at=now()))
    traces = Traces()
    traces.add([{"text": "positive"}], ["text"])
    run = Path(str(product.shelf.root / "runs" / "r1"))
    before = {path: path.read_bytes() for path in run.rglob("*.json")}
    eraser.Eraser(product.shelf, "s", Suppression(b"key", ()), {}, traces).pages(product.settings.home)
    changed = {path.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == {"notes.json"}
    assert run_recipe.of(product.shelf, "r1", first.digest) == first


def test_garbage_among_erasures_hides_none_and_stops_nobody(make: Callable[[], Product]) -> None:
    product = make()
    forgets(product)
    every = erasures.read(product.shelf)
    shapes = (b"", b"[]", b"{}", b"\xff\x00", b"[" * 100_000, b'{"place": 1}')
    for number, data in enumerate(shapes):
        store.write_bytes(product.shelf.root / "erasures" / f"{number}.json", data)
    assert erasures.read(product.shelf) == every
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    said = [one.what for one in doctor.examine(registrar) if "erasure" in one.what]
    assert said == [f"erasures/{number}.json is no erasure" for number in range(len(shapes))]
    doctor.mend(registrar)
    assert (erasures.unreadable(product.shelf), erasures.read(product.shelf)) == ([], every)


def test_what_cannot_be_told_any_more_is_said(make: Callable[[], Product]) -> None:
    product = make()
    shutil.rmtree(str(snapshot.folder(product.shelf, version(product).snapshot)))
    report = forgets(product)
    assert report["pruned"] == [1]
    assert f"mlflow/{version(product).run}/evaluation" not in report["erased"], "its groups were in the snapshot"
    by_id = forget.forget(
        product.recipe, product.shelf, product.settings, ErasureRequest(snapshot.row_id("test", TEXTS[0]))
    )
    assert by_id["erased"][f"mlflow/{version(product).run}/evaluation"] == 3, "a row, and twice among the examples"


def test_asked_again_it_finds_nothing_left_and_writes_nothing(make: Callable[[], Product]) -> None:
    product = make()
    forgets(product)
    before = every_byte(product)
    again = forgets(product)
    assert (again["erased"], again["logs"], again["known"]) == ({}, {}, True)
    assert every_byte(product) == before


def test_to_look_lists_the_same_and_changes_nothing(make: Callable[[], Product]) -> None:
    product = make()
    before = every_byte(product)
    looked = forgets(product, dry_run=True)
    assert every_byte(product) == before
    assert looked["erased"] == forgets(product)["erased"]


def test_wherever_it_is_killed_the_end_is_the_same(
    make: Callable[[], Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill it before each of its writes in turn, to the store and to MLflow, and ask again."""
    from mlflow import MlflowClient

    from ftcore.compliance import eraser

    def end(kill_at: int | None) -> tuple[dict[str, list[str]], int]:
        product, made = make(), 0

        def watched(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal made
                made += 1
                if made == kill_at:
                    raise Killed
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(eraser, "write_bytes", watched(eraser.write_bytes))
            patch.setattr(erasures, "write_json", watched(erasures.write_json))
            for name in ("log_artifacts", "set_tag"):
                patch.setattr(MlflowClient, name, watched(getattr(MlflowClient, name)))
            if kill_at is None:
                forgets(product)
            else:
                with pytest.raises(Killed):
                    forgets(product)
        forgets(product)
        assert forgets(product)["erased"] == {}
        assert artefacts.check(product.tracking, version(product), ["evaluation"], product.shelf) == (
            artefacts.Checked(read=("evaluation",))
        ), "the artefact's hashes are explained"
        erased = next(line for line in product.shelf.ledger("forget") if line["decision"] == "erased")
        assert len(erased["places"]) == 7, "the ledger knows all of it"
        return texts(product), made

    expected, writes = end(None)
    assert writes > 14
    for number in range(1, writes + 1):
        assert end(number)[0] == expected, f"killed at write {number} of {writes}"


def test_without_mlflow_the_store_is_gone_through_and_it_says_what_is_left(
    make: Callable[[], Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    product = make()
    before = texts(product)
    with monkeypatch.context() as patch:
        patch.setenv("FTCORE_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(TransientError, match="erased from the store, and not yet from MLflow") as told:
            forgets(product)
    assert "forget again" in told.value.hint
    left = {name for name, said in texts(product).items() if said == before[name]}
    assert left == {"mlflow/evaluation.json", "mlflow/predictions.parquet"}
    assert set(forgets(product)["erased"]) == {f"mlflow/{version(product).run}/evaluation"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    attestation.new_keys(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


def collected(product: Product, key: Path, folder: Path) -> tuple[evidence.Bundle, list[str]]:
    registrar = ModelRegistry(product.recipe, product.shelf, product.tracking)
    bundle = evidence.collect(registrar, 1, folder, key)
    return bundle, list(attestation.examine(folder, key.with_name("signing.pem.pub")).faults)


def test_evidence_says_erased_on_request_and_not_forged(make: Callable[[], Product], key: Path, tmp_path: Path) -> None:
    product = make()
    bundle, faults = collected(product, key, tmp_path / "before")
    assert (bundle.broken, faults, attestation.erased(bundle.folder)) == ((), [], [])
    forgets(product)
    bundle, faults = collected(product, key, tmp_path / "after")
    assert (bundle.broken, faults) == ((), [])
    said = attestation.erased(bundle.folder)
    assert len(said) == 3
    assert any(one.startswith("runs/r1/evaluate/evaluation.json: 4 rows were erased on request") for one in said)
    assert "Erased on request" in (bundle.folder / "index.html").read_text()
    assert not any(text in path.read_text() for path in bundle.folder.rglob("*.json") for text in HERS)


def test_a_byte_that_was_forged_after_an_erasure_is_found(
    make: Callable[[], Product], key: Path, tmp_path: Path
) -> None:
    product = make()
    forgets(product)
    path = product.shelf.folder("r1", "evaluate") / "evaluation.json"
    path.write_text(path.read_text().replace('"candidate": 1', '"candidate": 2'))
    bundle, faults = collected(product, key, tmp_path / "evidence")
    assert bundle.broken[:2] == (
        "the ledger, line 1: runs/r1/evaluate/evaluation.json was changed",
        "records/finetune/evaluate.json was made from another evaluation.json than this one",
    )
    assert faults == list(bundle.broken[1:]), "what lies in the folder tells of its own links"


def test_an_artefact_that_was_replaced_is_told_whatever_was_erased(
    make: Callable[[], Product], key: Path, tmp_path: Path
) -> None:
    product = make()
    forgets(product)
    assert artefacts.check(product.tracking, version(product), (), product.shelf).others == ()
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text("{}")
    product.tracking.log_folder(version(product).run, tmp_path / "evaluation", "evaluation")
    bundle, _ = collected(product, key, tmp_path / "evidence")
    assert any("its artefact 'evaluation'" in fault for fault in bundle.broken)

"""After `forget` a subject's words stand only where the report says, and nowhere once its steps were done."""

from __future__ import annotations

import csv
import itertools
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from ftcore import pipeline
from ftcore.compliance import forget
from ftcore.compliance.forget import ErasureRequest
from ftcore.compliance.traces import ERASED, Traces
from ftcore.data import snapshot
from ftcore.registry import integrity, served
from ftcore.serving import scoring
from ftcore.store import store

if TYPE_CHECKING:
    from tests.conftest import Product

PLANTED = "zqxplanted"
TRAIN = {"epochs": 1, "max_length_tokens": 32, "batch_size": 16, "evaluations_per_epoch": 1, "precision": "fp32"}


def _rows(who: str) -> list[tuple[str, str, str, str]]:
    """Id, text, label and customer; every eighth row is hers, and some of those are set aside."""
    made = []
    for n in range(240):
        mine = n % 8 == 0
        text = f"{PLANTED}{n:x} film {n * 7919:x} was good and the end" if mine else f"the film {n * 7919:x} plot {n:x}"
        text += " \ufffd" if n % 48 == 0 else ""  # set aside, and shown in Data Docs
        made.append((str(n), text, ("negative", "positive")[n // 8 % 2], who if mine else f"C-{n}"))
    return made


def _write(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text", "label", "who"), *rows])


@pytest.fixture
def turned_for(product: Product, tiny: Path, tmp_path: Path) -> tuple[Product, str]:
    """A ring that was turned with the rows of a customer: judged, promoted, asked, watched; and who that is."""
    product.change(
        base=str(tiny / "model"),
        sources=[{"kind": "files", "path": "rows.csv", "id": "id", "group": "who"}],
        method={"kind": "lora", "rank": 2},
        train=TRAIN,
        prepare={"near_duplicates": None},
        exports=[{"kind": "onnx", "precisions": ["int8"]}],
        evaluate={"resamples": 100, "perturbed_rows": 5, "examples": 20},
        gates=[{"kind": "threshold", "minimum": 0.01, "min_rows": 5}],
        watch={"min_rows": 30, "detectors": [{"kind": "text_drift"}, {"kind": "value_drift", "column": "label"}]},
    )
    who = next(name for n in itertools.count(77000) if product.side("", name := f"C-{n}") == "test")
    _write(product.path.parent / "rows.csv", _rows(who))
    pipeline.run(product.path, "one", ("data", "finetune"))
    asked = tmp_path / "asked.csv"
    with asked.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"q{n}", f"{text} asked", who) for n, text, _, who in _rows(who)[:120]]
        csv.writer(file).writerows([("request_id", "text", "group"), *rows])
    scoring.score(product.recipe, product.shelf, product.settings, asked)
    pipeline.run(product.path, "look", ("monitor",))
    return product, who


def _holding(product: Product) -> list[str]:
    """Every file of the store, of FTCORE_HOME and of the recipe's artefacts in MLflow that holds a planted word."""
    artefacts = {
        Path(urlsplit(product.tracking.client.get_run(one.run).info.artifact_uri).path)
        for one in product.tracking.versions()
    }
    found = []
    for root in (product.settings.home.resolve(), *artefacts):
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        found += [path.relative_to(root).as_posix() for path in files if PLANTED in _read(path)]
    return found


def _read(path: Path) -> str:
    """All that a file says, decoded."""
    if path.suffix == ".parquet":
        return json.dumps(store.read_table(path).to_pylist(), default=str)
    if path.suffix == ".arrow":
        import pyarrow as pa

        with pa.ipc.open_stream(path) as stream:
            return json.dumps(stream.read_all().to_pylist(), default=str)
    if path.suffix in (".db", ".sqlite"):
        with sqlite3.connect(path) as database:
            return "\n".join(database.iterdump())
    return path.read_bytes().decode("utf-8", "replace")


def test_what_is_left_is_named_and_after_the_steps_there_is_nothing(turned_for: tuple[Product, str]) -> None:
    turned, who = turned_for
    before = _holding(turned)
    kinds = {"/".join(part for part in path.split("/") if part in KINDS) for path in before}
    assert {"data_docs", "store/data_docs", "store/predictions", "store/runs/evaluate", "evaluation"} <= kinds, before
    identity = snapshot.current(turned.shelf)
    tried = forget.forget(turned.recipe, turned.shelf, turned.settings, ErasureRequest(who, dry_run=True))
    assert _holding(turned) == before, "a look changes nothing"
    report = forget.forget(turned.recipe, turned.shelf, turned.settings, ErasureRequest(who))
    assert set(tried["erased"]) <= set(report["erased"])
    left = _holding(turned)
    store_of = f"store/{turned.name}"
    named = [f"{store_of}/snapshots/{identity}/", *(f"{store_of}/{place}/" for place in report["left"])]
    assert [path for path in left if not path.startswith(tuple(named))] == []
    assert left, "snapshots are never changed"
    words = "\n".join(report["next"])
    for said in (str(identity), "snapshots prune", "runs prune", "backups", "evidence anew"):
        assert said in words
    docs = "".join(path.read_text("utf-8") for path in turned.settings.home.glob("data_docs/**/*.html"))
    assert ERASED in docs
    # The source still has her; what the next steps make has not.
    pipeline.run(turned.path, "two", ("data",))
    assert [path for path in _holding(turned) if not path.startswith(tuple(named))] == []
    assert integrity.check(turned.shelf, turned.tracking) == [], "what was erased is explained"
    version = served.champion(turned.shelf, turned.tracking)
    assert version is not None, "erasing took nothing from what serves"
    for artefact in ("onnx-int8", "evaluation"):
        assert served.folder(turned.tracking, version, artefact).is_dir()
    assert version.snapshot == identity, "it was judged on them"


KINDS = ("store", "data_docs", "snapshots", "predictions", "runs", "evaluate", "evaluation", "watch", "validate")


def test_traces_tell_values_and_not_what_a_report_is_built_of() -> None:
    traces = Traces()
    row: dict[str, Any] = {
        "row_id": "0f" * 10,
        "group": "files:C-77731",
        "text": "A long text that she wrote",
        "label": "ok",
    }
    traces.add([row, {"text": "Anna K."}], ["text"])
    traces.name(["C-77731", "7"])
    for value in ("a  LONG text that she wrote", "of 3: A long text that she wrote …", "C-77731", "0f" * 10, "anna k."):
        assert traces.tells(value), value
    for value in ("7", "ok", "a long text", "C-777", "text"):
        assert not traces.tells(value), value
    report = {"anna k.": 1, "text": "Anna K.", "unit": "Anna K.", "rows": ["x", "Anna K."], "C-77731": 2, "n": 7}
    made, taken = traces.out_of_json(report)
    assert made == {"anna k.": 1, "text": ERASED, "unit": "Anna K.", "rows": ["x", ERASED], "n": 7}
    assert taken == 3
    page = (
        '<p title="Anna K.">Anna K.</p><p>Annabel</p><script>var x = {"text": "A long text that she wr\\u006fte"};'
        "if (1 < 2) y('A');</script><td>A long text that she wrote &amp; more</td>"
    )
    made, taken = traces.out_of_page(page)
    assert taken == 4
    assert made == (
        f'<p title="{ERASED}">{ERASED}</p><p>Annabel</p><script>var x = {{"text": "{ERASED}"}};'
        f"if (1 < 2) y('A');</script><td>{ERASED}</td>"
    )

"""A product with two versions, as the steps leave them: registry, evaluation, verdict, predictions, records, ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.store import store
from ftcore.store.records import Record, now
from ftcore.tracking.client import CHAMPION

if TYPE_CHECKING:
    from tests.conftest import Product

TEXTS = ["<script>alert(1)</script> was dull", "a bright story", "the end was great", "awful plot"]


def estimate(value: float, rows: int = 400, room: float = 0.02) -> dict[str, Any]:
    return {"value": value, "low": value - room, "high": value + room, "rows": rows}


def evaluation(candidate: int, champion: int | None = None) -> dict[str, Any]:
    forms = {"onnx-int8": 0.86, "torch": 0.87}
    metrics = {
        "candidate": {
            form: {"test": {"accuracy": estimate(v)}, "tweets": {"accuracy": estimate(v - 0.1)}}
            for form, v in forms.items()
        }
    }
    if champion:
        metrics["champion"] = {
            "onnx-int8": {"test": {"accuracy": estimate(0.80)}, "tweets": {"accuracy": estimate(0.9)}}
        }
    latency = {form: {"p50_ms": 1.5, "p95_ms": 2.5, "rows_per_s": 600.0} for form in forms}
    return {"candidate": candidate, "champion": champion, "rows": {"test": 400}, "latency": latency, "metrics": metrics}


def everything(candidate: int, champion: int) -> dict[str, Any]:
    """An evaluation with every section that the page of a version has."""
    served = "onnx-int8"
    better, worse = ({"accuracy": estimate(value, 200, 0.01)} for value in (0.04, -0.03))
    bins = [{"confidence": 0.6, "accuracy": 0.55, "rows": 90}, {"confidence": 0.9, "accuracy": 0.88, "rows": 310}]
    language = {"loss": estimate(3.6, 1500), "perplexity": estimate(36.6, 1500, 1.2)}
    changes = {"loss": estimate(0.4, 1500, 0.1), "perplexity": estimate(9.0, 1500, 2.0)}
    found = evaluation(candidate, champion)
    simple = {"majority": 0.5, "linear": 0.72}
    found["metrics"]["baseline"] = {name: {"test": {"accuracy": estimate(value)}} for name, value in simple.items()}
    return found | {
        "served": served,
        "differences": {served: {"test": better, "tweets": worse}},
        "mcnemar": {served: {"test": {"only_candidate_right": 30, "only_champion_right": 11, "p_value": 0.004}}},
        "slices": {
            f"length={name}": {"rows": 200, "candidate": {"accuracy": estimate(0.85, 200)}}
            | {"champion": {"accuracy": estimate(0.82, 200)}, "difference": change}
            for name, change in (("1-50", better), ("51-150", worse))
        },
        "fairness": {
            "source": {
                "groups": {"test": 200, "tweets": 200},
                "metrics": {
                    "accuracy": {"difference": estimate(0.1), "ratio": 0.9, "by_group": {"test": 0.9, "tweets": 0.8}}
                },
            }
        },
        "calibration": {role: {served: {"ece": estimate(0.03), "bins": bins}} for role in ("candidate", "champion")},
        "robustness": {name: {"accuracy": estimate(-0.02, 200)} for name in ("typos", "case", "punctuation")},
        "size_bytes": {served: 23_000_000},
        "cost_per_1000": {served: 0.0004},
        "judge": {"host": "judge.example", "model": "a <b>judge", "rows": 200, "wins": 90, "ties": 60, "losses": 48}
        | {"undecided": 2, "win_rate": estimate(0.61, 198, 0.06), "agreement": estimate(0.8, 198, 0.05)},
        "general_text": {
            "rows": 1500,
            "metrics": {"base": language, "champion": language, "candidate": language},
            "differences": {"base": changes, "champion": {name: estimate(0.0, 1500) for name in changes}},
        },
    }


RULE = {"gate": "threshold", "passed": True, "reason": "accuracy 0.860 reaches 0.8", "measured": 0.86, "bound": 0.8}
UNDECIDED = {"gate": "parity", "passed": None, "reason": "undecided: 20 rows are too few", "bound": 0.01, "rows": 20}
VERDICT = {"passed": True, "rules": [RULE | {"low": 0.84, "high": 0.88, "rows": 400}, UNDECIDED]}
VERDICT |= {"asks": True, "undecided": ["parity"], "decided_by": "on_undecided", "on_undecided": "ask"}


def fill(product: Product, judge: Callable[[int, int], dict[str, Any]] | None = None) -> list[str]:
    """Two evaluated versions, the first of which is champion; returns their run ids.

    Args:
        product: what the versions are of.
        judge: makes the second one's evaluation.
    """
    runs = ["finetune-one", "finetune-two"]
    for number, run_id in enumerate(runs, 1):
        version = product.register(run_id)
        for step in range(3):
            product.tracking.log(version.run, metrics={"loss": 1 - step / 5, "eval_loss": 1.1 - step / 5}, step=step)
        product.tracking.tag(version, {"verdict": "passed", "verdict.reason": "accuracy 0.860 reaches 0.8"})
        if number == 1:
            product.tracking.set_alias(CHAMPION, version)
        found = judge(number, number - 1) if judge and number > 1 else evaluation(number, number - 1 or None)
        _write(product, run_id, "evaluate", "evaluation.json", found)
        _write(product, run_id, "gate", "verdict.json", VERDICT | {"candidate": number, "champion": number - 1 or None})
        record(product, run_id, "export", figures={"size_bytes": {"onnx-int8": 23_000_000}})
        record(product, run_id, "train", figures={"version": number, "rows": 4000})
        record(product, run_id, "evaluate")
        digest = store.hash_file(product.shelf.folder(run_id, "gate") / "verdict.json")
        seals = {"candidate": number, "verdict_sha256": digest}
        product.shelf.add_to_ledger("gate", run_id, "passed", "accuracy 0.860 reaches 0.8", **seals)
        product.tracking.tag(version, {"verdict.sha256": digest})
    product.shelf.add_to_ledger("promote", runs[0], "promoted", "version 1 is champion", version=1)
    predictions(product, runs[1])
    return runs


def _write(product: Product, run_id: str, step: str, name: str, value: object) -> None:
    store.write_json(product.shelf.folder(run_id, step) / name, value)


def record(product: Product, run_id: str, step: str, **more: Any) -> None:
    product.shelf.write_record(
        Record(
            step=step,
            recipe=product.name,
            run_id=run_id,
            fingerprint="f",
            started_at=now(),
            reason=f"{step} is done",
            **more,
        )
    )


def predictions(product: Product, run_id: str) -> None:
    import pyarrow as pa

    wrong, right = [0.1, 0.9], [0.8, 0.2]  # all rows are negative
    table = pa.table(
        {
            "row_id": [str(number) for number in range(4)],
            "text": TEXTS,
            "label": ["negative"] * 4,
            "source": ["test"] * 4,
            "dataset": ["test", "test", "tweets", "tweets"],
            "candidate.onnx-int8": [wrong, right, right, wrong],
            "champion.onnx-int8": [right, wrong, right, wrong],
        }
    )
    store.write_table(product.shelf.folder(run_id, "evaluate") / "predictions.parquet", table)


def report(product: Product, run_id: str, html: str = "<p>drift of a report</p>") -> Path:
    """A drift report as ``watch`` leaves it."""
    path = product.shelf.folder(run_id, "watch") / "drift.html"
    store.write_bytes(path, html.encode())
    record(
        product, run_id, "watch", paths={"html": product.shelf.relative(path)}, figures={"alarms": 1, "findings": [{}]}
    )
    return Path(str(path))


def looks(product: Product, count: int = 3) -> None:
    """What monitoring leaves: records of ``watch`` and lines of ``decide``."""
    for number in range(count):
        run_id = f"monitor-{number}"
        findings = [
            {"name": "text_drift", "score": 0.5 + number / 10, "threshold": 0.55, "alarm": number > 0},
            {"name": "value_drift_score", "score": None, "threshold": None, "alarm": False},
        ]
        performance = {"rows": 50, "accuracy": 0.9 - number / 10} if number else None
        figures = {"rows": 500, "champion": 1, "findings": findings, "alarms": 1, "performance": performance}
        record(product, run_id, "watch", figures=figures)
        product.shelf.add_to_ledger("decide", run_id, "wait", "1 alarm, drift takes 2", until=now().isoformat())

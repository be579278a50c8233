"""What came of the demo, read back from MLflow, the store and the times that Airflow reported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.pipeline import RING
from ftcore.recipe import reading as recipes
from ftcore.registry.verdict import TORCH
from ftcore.serving.model import flavours
from ftcore.store import store
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    from rich.console import Console

    from ftcore.demo.ring import Ring
    from ftcore.settings import Settings
    from ftcore.store.store import RecipeStore

PARTS = {
    "movie": "source=vader:movie",
    "tweets": "source=vader:tweets",
    "amazon": "source=vader:amazon",
    "feedback": "source=feedback",
}
"""Slices that the versions are compared on: the test split's movie rows and feedback, and the holdouts."""


def read(settings: Settings, name: str, ring: Ring) -> dict[str, Any]:
    """Everything the table shows, as JSON values."""
    recipe = recipes.read(settings.recipes / f"{name}.yaml")
    shelf = store.shelf(settings, name)
    records = _records(shelf, ring)
    finetune = {turn: records[f"finetune-{turn}"] for turn in (1, 2)}
    served = flavours(recipe)[0]
    slices = store.read_json(shelf.root / finetune[2]["evaluate"]["paths"]["evaluation"])["slices"]
    watch = _watch(shelf)
    tracking = Tracking(settings, name)
    aliases = {alias: version.number for alias in ("champion", "previous") if (version := tracking.alias(alias))}
    return {
        "recipe": name,
        "served": served,
        "aliases": aliases,
        "snapshots": [_snapshot(records[f"data-{turn}"]["validate"]["figures"]) for turn in (1, 2)],
        "accuracy": _accuracy(slices),
        "gain_on_the_same_rows": {
            part: slices[name]["difference"]["accuracy"] for part, name in PARTS.items() if name in slices
        },
        "exports": _exports(finetune[2], served),
        "versions": {f"v{v.number}": {"run": v.run, "tags": v.tags} for v in tracking.versions()},
        "train": {f"v{turn}": finetune[turn]["train"]["figures"] for turn in (1, 2)},
        "verdicts": {f"v{turn}": finetune[turn]["gate"]["figures"] for turn in (1, 2)},
        "drift": watch["figures"],
        "decisions": shelf.ledger(),
        "time": _time(records, ring),
        "peak_bytes": ring.peak_bytes,
        "paths": _paths(settings, shelf, records, watch),
    }


def _records(shelf: RecipeStore, ring: Ring) -> dict[str, dict[str, dict[str, Any]]]:
    """Every record of every part of the ring."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for part, (dag_id, run_id) in ring.runs.items():
        verb = dag_id.partition("__")[0]
        known = {name: shelf.record(store.run_name(verb, run_id), name) for name in RING[verb]}
        found[part] = {name: record.model_dump(mode="json") for name, record in known.items() if record}
    return found


def _watch(shelf: RecipeStore) -> dict[str, Any]:
    """Record of the look that asked for retraining: the demo's own, or a scheduled one that came before it."""
    asked = [line["run_id"] for line in shelf.ledger("decide") if line["decision"] == "retrain"]
    record = shelf.record(asked[-1], "watch") if asked else None
    if record is None:
        raise FtcoreError("monitoring did not ask for retraining", hint=f"ftcore ledger {shelf.name} says why")
    return record.model_dump(mode="json")


def _snapshot(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figures[key] for key in ("snapshot", "rows", "quarantined", "splits")}


def _accuracy(slices: dict[str, Any]) -> dict[str, Any]:
    """Accuracy with its interval: both versions as the second evaluation saw them, on the same rows."""
    there = {part: slices[name] for part, name in PARTS.items() if name in slices}
    roles = {"v1": "champion", "v2": "candidate"}
    return {version: {part: one[role]["accuracy"] for part, one in there.items()} for version, role in roles.items()}


def _exports(finetune: dict[str, Any], served: str) -> dict[str, Any]:
    sizes = finetune["export"]["figures"]["size_bytes"]
    evaluated = finetune["evaluate"]["figures"]
    accuracy = {name: parts["test"]["accuracy"]["value"] for name, parts in evaluated["metrics"]["candidate"].items()}
    speed = {name: measured["rows_per_s"] for name, measured in evaluated["latency"].items()}
    return {
        "size_bytes": sizes,
        "size_share": sizes[served] / sizes.get("onnx-fp32", sizes[TORCH]),
        "rows_per_s": speed,
        "speed_up": speed[served] / speed[TORCH],
        "accuracy_difference": accuracy[served] - accuracy[TORCH],
    }


def _time(records: dict[str, Any], ring: Ring) -> dict[str, Any]:
    """Where the ring's wall time went; outside the steps' own work are scheduling, process starts and imports."""
    # monitor-1 looks while nothing has come in yet; the ring does not wait for it, so it counts neither way.
    parts = {part: steps for part, steps in records.items() if part != "monitor-1"}
    flat = [(part, name, record) for part, steps in parts.items() for name, record in steps.items()]
    wall_s = sum(ring.spans_s)
    work_s = sum(record["work_s"] for _, _, record in flat)
    import_s = sum(record["import_s"] for _, _, record in flat)
    return {
        "steps": [{"part": p, "step": n, "work_s": r["work_s"], "import_s": r["import_s"]} for p, n, r in flat],
        "ring_wall_s": round(wall_s, 1),
        "work_s": round(work_s, 1),
        "import_s": round(import_s, 1),
        "outside_share": round(1 - work_s / wall_s, 4),
        "services_up_s": round(ring.up_s, 1),
        "total_s": round(ring.total_s, 1),
    }


def _paths(settings: Settings, shelf: RecipeStore, records: dict[str, Any], watch: dict[str, Any]) -> dict[str, str]:
    docs = shelf.root / records["data-2"]["validate"]["paths"]["data_docs"]
    return {
        "data_docs": str(docs),
        "drift_report": str(shelf.root / watch["paths"]["html"]),
        "evidence": str(shelf.root / "runs"),
        "prediction_log": str(shelf.root / "predictions"),
        "summary": str(settings.home.resolve() / "demo" / "summary.json"),
    }


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the summary as tables."""
    from rich.table import Table

    def table(title: str, *columns: str) -> Table:
        return Table(*columns, title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)

    data = table("Snapshots", "id", "rows", "quarantined", "train / validation / test")
    for s in summary["snapshots"]:
        data.add_row(
            s["snapshot"], f"{s['rows']:,}", str(s["quarantined"]), " / ".join(f"{n:,}" for n in s["splits"].values())
        )
    accuracy = table(
        f"Accuracy of {summary['served']} on the same rows, with 95 % intervals", "rows of", "rows", "v1", "v2", "gain"
    )
    for part, v2 in summary["accuracy"]["v2"].items():
        v1 = summary["accuracy"]["v1"][part]
        shown = [f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for e in (v1, v2)]
        accuracy.add_row(part, f"{v2['rows']:,}", *shown, f"{100 * (v2['value'] - v1['value']):+.1f} points")
    exports = table("Exports of v2", "form", "MB", "rows/s")
    for name, size in summary["exports"]["size_bytes"].items():
        exports.add_row(name, f"{size / 1e6:.1f}", f"{summary['exports']['rows_per_s'][name]:.0f}")
    drift = table("Drift", "detector", "score", "threshold", "alarm")
    for found in summary["drift"]["findings"]:
        shown = ["–" if found[key] is None else f"{found[key]:.3f}" for key in ("score", "threshold")]
        drift.add_row(found["name"], *shown, "yes" if found["alarm"] else "no")
    decisions = table("Decisions", "step", "", "because")
    for line in summary["decisions"]:
        decisions.add_row(line["kind"], line["decision"], line["reason"])
    for shown_table in (data, accuracy, exports, drift, decisions):
        console.print(shown_table)
        console.print()
    _show_time(summary, console, table("Where the time went", "step", "work s", "imports s"))
    for name, path in summary["paths"].items():
        console.print(f"{name.replace('_', ' '):<15} {os.path.relpath(path)}", soft_wrap=True)


def _show_time(summary: dict[str, Any], console: Console, table: Any) -> None:
    time = summary["time"]
    for step in time["steps"]:
        table.add_row(f"{step['part']} {step['step']}", f"{step['work_s']:.1f}", f"{step['import_s']:.1f}")
    console.print(table)
    exports, aliases = summary["exports"], summary["aliases"]
    console.print(
        f"\nring {time['ring_wall_s']:.0f} s, of which {time['outside_share']:.0%} outside the steps' own work; "
        f"services up in {time['services_up_s']:.0f} s; all in all {time['total_s']:.0f} s, "
        f"{summary['peak_bytes'] / 2**30:.1f} GiB at most\n"
        f"{summary['served']}: {exports['size_share']:.0%} of the size of fp32, {exports['speed_up']:.1f} × the speed "
        f"of torch, accuracy {100 * exports['accuracy_difference']:+.1f} points\n"
        f"champion: version {aliases.get('champion')}, previous: version {aliases.get('previous')}\n"
    )

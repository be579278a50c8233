"""Run all benchmarks, or those named, and print them as one table."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ftcore import settings
from ftcore.store.store import write_json
from tests.bench._measure import Skipped


def main(only: list[str]) -> None:
    """Measure, write one JSON file a benchmark, print the table."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    known = [m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if not m.name.startswith("_")]
    if unknown := [name for name in only if name not in known]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; known: {', '.join(known)}")
    table = Table("benchmark", "ours", "baseline", "ratio", "unit", "rows", "peak MiB", box=None, pad_edge=False)
    notes = []
    for name in only or known:
        print(f"… {name}", file=sys.stderr)
        try:
            result = importlib.import_module(f"tests.bench.{name}").run()
        except Skipped as reason:
            table.add_row(name, *["–"] * 6)
            notes.append(f"{name} was left out: {reason}")
            continue
        write_json(settings.load().home.resolve() / "bench" / f"{name}.json", asdict(result))
        numbers = [f"{value:.3g}" for value in (result.ours, result.baseline, result.ratio)]
        peak = f"{result.peak_bytes / 2**20:,.0f}" if result.peak_bytes else "–"
        table.add_row(result.name, *numbers, result.unit, f"{result.rows:,}", peak)
        notes.append(f"{result.name}: the baseline is {result.note}")
    Console(width=110).print(table)
    print("\n".join(["", *notes]))


if __name__ == "__main__":
    main(sys.argv[1:])

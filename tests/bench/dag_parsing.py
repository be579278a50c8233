"""How long Airflow takes to parse a recipe's three files, beside three files with a DAG of one task."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ftcore import settings
from tests.bench._measure import Result, machine

TIMES = 5
SMALL = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
with DAG("small_{number}"):
    EmptyOperator(task_id="nothing")
"""
PARSE = """
import json, sys, time
from pathlib import Path
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
folder = Path(sys.argv[1])
clock = time.perf_counter()
bags = [DagBag(file, bundle_path=folder, bundle_name="bench") for file in sorted(folder.glob("*.py"))]
print(json.dumps([time.perf_counter() - clock, sum(len(bag.dags) for bag in bags)]))
"""


def run() -> Result:
    """Median of several fresh processes of each, in turn; Airflow itself is imported before."""
    from ftcore_airflow.bundle import RecipeBundle

    with tempfile.TemporaryDirectory() as scratch:
        recipes, small = Path(scratch) / "recipes", Path(scratch) / "small"
        for folder in (recipes, small):
            folder.mkdir()
        shipped = settings.REPOSITORY / "dags" / "recipes" / "sentiment.yaml"
        (recipes / shipped.name).write_bytes(shipped.read_bytes())
        for number in range(3):
            (small / f"small_{number}.py").write_text(SMALL.format(number=number), encoding="utf-8")
        bundle = RecipeBundle(name="bench", recipes=str(recipes))
        bundle.initialize()
        taken: dict[Path, list[float]] = {bundle.path: [], small: []}
        for number in range(TIMES + 1):
            for folder, seconds in taken.items():
                done = subprocess.run([sys.executable, "-c", PARSE, str(folder)], check=True, capture_output=True)
                spent, dags = json.loads(done.stdout.splitlines()[-1])
                assert dags == 3, done.stderr
                if number:  # the first one reads from disk
                    seconds.append(spent)
    ours, baseline = (statistics.median(seconds) for seconds in taken.values())
    note = "three files with a DAG of one task each; the aim is 0.5 s a file, 1.5 s for the three of a recipe"
    return Result("dag_parsing", "s, less is better", ours, baseline, ours / baseline, 3, 0, machine(), note)

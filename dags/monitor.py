"""monitor__R: watch ▸ decide, ends in a request to retrain or a reason why not.

Each recipe R gets a copy of this file with one more line, ``monitor("…/R.yaml")``: see ``ftcore_airflow.bundle``.
"""

from __future__ import annotations

from airflow.sdk import DAG

from ftcore_airflow.assets import cron_or_asset
from ftcore_airflow.operator import StepOperator
from ftcore_airflow.product import Product

STORY = """\
**cron, or the asset champion** ▸ watch ▸ decide ▸ **the asset retrain**

Looks at the traffic since the last look, and asks for retraining if it drifted.
A skipped task is a decision: its log says why.
"""


def monitor(recipe_file: str) -> DAG:
    """The DAG that watches the champion of one recipe."""
    product = Product.read(recipe_file)
    with DAG(
        **product.common("monitor", STORY),
        schedule=cron_or_asset(product.recipe.schedule.monitor, product.assets.champion),
    ) as dag:
        watch = StepOperator(task_id="watch", doc_md="Compare new traffic with the champion's reference.")
        decide = StepOperator(
            task_id="decide",
            doc_md="Ask for retraining, or write down why not.",
            tells_starters=True,
            outlets=[product.assets.retrain],
        )
        watch >> decide
    return dag

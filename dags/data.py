"""data__R: ingest ▸ prepare ▸ validate, ends in a published snapshot.

Each recipe R gets a copy of this file with one more line, ``data("…/R.yaml")``: see ``ftcore_airflow.bundle``.
"""

from __future__ import annotations

from airflow.sdk import DAG

from ftcore_airflow.assets import cron_or_asset
from ftcore_airflow.operator import StepOperator
from ftcore_airflow.product import Product

STORY = """\
**cron, or the asset retrain** ▸ ingest ▸ prepare ▸ validate ▸ **the asset snapshot**

Fetches rows, makes an immutable snapshot of them, and publishes it if it is fit to be trained on.
"""


def data(recipe_file: str) -> DAG:
    """The DAG that makes snapshots for one recipe."""
    product = Product.read(recipe_file)
    with DAG(
        **product.common("data", STORY),
        schedule=cron_or_asset(product.recipe.schedule.data, product.assets.retrain),
    ) as dag:
        ingest = StepOperator(task_id="ingest", doc_md="Fetch the rows of every source.")
        prepare = StepOperator(task_id="prepare", doc_md="Mend the text, drop duplicates, draw the splits.")
        validate = StepOperator(
            task_id="validate",
            doc_md="Quarantine what breaks an expectation and publish the snapshot; unfit data fails here.",
            outlets=[product.assets.snapshot],
        )
        ingest >> prepare >> validate
    return dag

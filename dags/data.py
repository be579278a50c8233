"""data__R: shard ▸ ingest × n ▸ collect ▸ prepare ▸ validate, ends in a published snapshot.

Each recipe R gets a copy of this file with one more line, ``data("…/R.yaml")``: see ``ftcore_airflow.bundle``.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from ftcore_airflow.assets import cron_or_asset
from ftcore_airflow.backfill import PERIOD
from ftcore_airflow.operator import StepOperator
from ftcore_airflow.product import Product

STORY = """\
**cron, or the asset retrain** ▸ shard ▸ ingest, once a shard ▸ collect ▸ prepare ▸ validate ▸ **the asset snapshot**

Fetches rows, makes an immutable snapshot of them, and publishes it if it is fit to be trained on.

A backfill run reads the rows observed since the tick before its own, and publishes them as a snapshot that does not
become current: validate is skipped then, its log names the snapshot, and nothing is trained unless a person asks.
"""

WHEN = {"type": ["null", "string"], "format": "date-time"}
FORM = {
    "since": Param(None, **WHEN, description="Only rows observed from this time on; empty reads all there is."),
    "until": Param(None, **WHEN, description="Only rows observed before this time; empty reads all there is."),
}


def data(recipe_file: str) -> DAG:
    """The DAG that makes snapshots for one recipe."""
    product = Product.read(recipe_file)
    with DAG(
        **product.common("data", STORY),
        schedule=cron_or_asset(product.recipe.schedule.data, product.assets.retrain),
        params=FORM,
    ) as dag:
        shard = StepOperator(
            task_id="shard", doc_md="List what there is to read, for many to share.", ask=PERIOD, mapped_output="shards"
        )
        ingest = StepOperator.partial(
            task_id="ingest",
            doc_md="Fetch the rows of one source, or of some of its files.",
            ask=PERIOD,
            map_index_template="{{ task.shard }}",
        ).expand(shard=shard.output)
        collect = StepOperator(
            task_id="collect", doc_md="Join what was fetched to one record.", ask=PERIOD, step="ingest"
        )
        prepare = StepOperator(task_id="prepare", doc_md="Clean the text, drop duplicates, draw the splits.")
        validate = StepOperator(
            task_id="validate",
            doc_md="Quarantine what breaks an expectation and publish the snapshot; unfit data fails here.",
            outlets=[product.assets.snapshot],
        )
        shard >> ingest >> collect >> prepare >> validate
    return dag

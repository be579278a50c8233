"""finetune__R: plan ▸ tune ▸ train ▸ export ▸ evaluate ▸ gate ▸ approve ▸ promote, ends in a champion or a reason.

Each recipe R gets a copy of this file with one more line, ``finetune("…/R.yaml")``: see ``ftcore_airflow.bundle``.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param, chain

from ftcore_airflow.approval import approvals
from ftcore_airflow.operator import StepOperator
from ftcore_airflow.product import Product
from ftcore_airflow.tuning import tuning

STORY = """\
**the asset snapshot** ▸ plan ▸ tune ▸ train ▸ export ▸ evaluate ▸ gate ▸ approve ▸ promote ▸ **the asset champion**

Decides whether to train, tries settings where the recipe asks for it, trains, and promotes what proved itself.
A skipped task is a decision: its log says why.
"""

FORM = {
    "train": Param(
        "auto", enum=["auto", "always"], description="auto: only if the plan finds a reason to; always: in any case."
    ),
    "budget": Param(
        "ask", enum=["ask", "approved"], description="approved: train even where it is expected to exceed the budget."
    ),
    "snapshot": Param(None, type=["null", "string"], description="Id of a snapshot; empty means the newest."),
}


def finetune(recipe_file: str) -> DAG:
    """The DAG that trains and promotes models for one recipe."""
    product = Product.read(recipe_file)
    with DAG(**product.common("finetune", STORY), schedule=product.assets.snapshot, params=FORM) as dag:
        plan = StepOperator(
            task_id="plan",
            doc_md="Decide whether to train, and write the decision down.",
            tells_starters=True,
            ask={
                "train": "{{ 'always' if params.train == 'always' else '' }}",
                "budget": "{{ 'approved' if params.budget == 'approved' else '' }}",
                "snapshot": "{{ params.snapshot or newest(triggering_asset_events, 'snapshot') }}",
            },
        )
        train = StepOperator(
            task_id="train",
            doc_md="Fine-tune the base model on the snapshot.",
            pool=product.settings.gpu_pool,
            queue=product.settings.gpu_queue,
        )
        export = StepOperator(task_id="export", doc_md="Export the model to the formats that serve.")
        evaluate = StepOperator(task_id="evaluate", doc_md="Measure candidate and champion on the same unseen rows.")
        gate = StepOperator(task_id="gate", doc_md="Judge the candidate by every gate of the recipe.")
        promote = StepOperator(
            task_id="promote",
            doc_md="Make the candidate the champion.",
            outlets=[product.assets.champion],
        )
        chain(plan, *tuning(product), train, export, evaluate, gate, *approvals(product), promote)
    return dag

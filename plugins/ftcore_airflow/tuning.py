"""The tasks that settle how to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftcore_airflow.operator import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from ftcore_airflow.product import Product


def tuning(product: Product) -> list[BaseOperator | MappedOperator]:
    """The task ``tune``; before it, where the recipe's search has several workers, ``search`` once for each.

    They take the accelerator where there is something to train, and share the trials through the run's file.
    """
    asked, folds = product.recipe.search, product.recipe.train.folds
    place: dict[str, Any] = {}
    if asked or folds:
        place = {"pool": product.settings.gpu_pool, "queue": product.settings.gpu_queue}
    tune = StepOperator(
        task_id="tune",
        doc_md="Try settings and cross-validate, where the recipe asks for it; choose the best.",
        **place,
    )
    if asked is None or asked.workers == 1:
        return [tune]
    search = StepOperator.partial(
        task_id="search",
        doc_md="Run trials in parallel with the other workers, until none is left.",
        step="tune",
        map_index_template="{{ task.shard }}",
        **place,
    ).expand(shard=[str(number) for number in range(1, asked.workers + 1)])
    return [search, tune]

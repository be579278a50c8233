"""The one task that waits for a person."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, ExceptionRetryPolicy, RetryAction, RetryRule

from ftcore_airflow.product import Product

ANSWER = {
    "approved_by": "{% set answer = ti.xcom_pull(task_ids='approve') %}"
    "{{ answer.responded_by_user.name if answer else '' }}",
    "approved_at": "{% set answer = ti.xcom_pull(task_ids='approve') %}"
    "{{ answer.responded_at.isoformat() if answer else '' }}",
}
"""What ``promote`` is told of the answer; empty where nobody was asked."""

BODY = """\
{% set verdict = ti.xcom_pull(task_ids='gate') %}**Gate:** {{ verdict.reason }}

{% for name, value in verdict.figures.items() if value is not mapping %}- {{ name }}: {{ value }}
{% endfor %}
Run `{{ verdict.run_id }}`. Rejecting leaves the present champion in place.
"""


def approval(product: Product) -> BaseOperator:
    """Nothing to do where the recipe lets the loop promote by itself, else a question that silence never approves."""
    doc = "A person agrees to the promotion, where the recipe asks for one."
    asked = product.recipe.approval
    if asked.required == 0:
        return EmptyOperator(task_id="approve", doc_md=doc)
    return ApprovalOperator(
        task_id="approve",
        doc_md=doc,
        subject=f"Promote the candidate of {product.recipe.name} to champion?",
        body=BODY,
        assigned_users=[{"id": name, "name": name} for name in asked.assigned] or None,
        response_timeout=timedelta(hours=asked.timeout_h),
        # Without a rule for it the time-out would be a failure like any other, and ask again.
        retry_policy=ExceptionRetryPolicy([RetryRule(exception=HITLTimeoutError, action=RetryAction.FAIL)]),
    )

"""The tasks that wait for people."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import BaseOperator, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowSkipException

from ftcore_airflow.operator import StepOperator, StepProcess, small
from ftcore_airflow.product import Product
from ftcore_airflow.retry import RETRIES, StepFailed
from ftcore_airflow.starters import sealed, starters

if TYPE_CHECKING:
    from airflow.sdk import Context

STEP = "approve"
SHOWN = "verdict"
"""Where the task's state keeps the hash of the verdict that the question shows."""
DOC = "A person agrees to the promotion, where the recipe asks for one."
FORM = {
    # Airflow's form takes an empty string for a missing answer, and would let nobody approve without a reason.
    "reason": Param(
        None,
        type=["null", "string"],
        title="Reason",
        description="Why; a rejection needs one.",
        maxLength=2000,
        source="task",
    )
}


class PersonOperator(StepProcess, ApprovalOperator):
    """Asks a person, and has the answer kept on the model's version, where clearing this task does not forget it.

    Where the version has enough approvals already nobody is asked, and under a hold on promotions neither: the task is
    skipped, to be cleared after the release. An answer that may not count, such as one of the person who started the
    run, leaves the question open. A rejection skips the promotion; silence fails the task.

    Args:
        recipe_file: path of the recipe.
        place: which of the approvals this task waits for, from 1.
    """

    def __init__(self, *, recipe_file: str, place: int, **kwargs: Any) -> None:
        """Keep what the step is started with."""
        super().__init__(**kwargs)
        self.recipe_file = recipe_file
        self.place = place

    def execute(self, context: Context) -> Any:
        """Look whether the version is approved; ask where it is not."""
        record = self.run_step(context, STEP, self.recipe_file, _asked(context, starters(context["dag_run"])))
        if self._is_over(record):
            return small(record)
        if self._state is not None:
            self._state.set(SHOWN, record["figures"]["verdict"])
        self.body = record["figures"]["request"]  # not rendered: what people wrote stands in it
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Have the answer kept, and go on, stop, or ask again.

        Raises:
            AirflowSkipException: the person rejected the candidate, or promotions are held.
            StepFailed: the recipe asks others by now, and Airflow cannot put this question to them.
            HITLTimeoutError: nobody answered in time.
        """
        if event.get("error_type") == "timeout":
            hours = self.response_timeout.total_seconds() / 3600 if self.response_timeout else 0
            self.run_step(context, STEP, self.recipe_file, {"unanswered_h": f"{hours:g}"})
        answer = HITLOperator.execute_complete(self, context, event)
        started = starters(context["dag_run"])
        ask = {"answer": sealed(context, _recorded(context, answer, started)), **_asked(context, started)}
        record = self.run_step(context, STEP, self.recipe_file, ask)
        if self._is_over(record):
            return small(record)
        why = record["figures"]["refused"] or record["reason"]
        assigned = {user["id"] for user in self.assigned_users or ()}
        if assigned and (answer["responded_by_user"] or {}).get("id") not in assigned:
            # Airflow keeps whom a question was put to: neither another try nor clearing the task puts it to others.
            version = f"{self.dag_id.partition('__')[2]} {record['figures']['version']}"
            raise StepFailed(f"{why}; it is for them to run ftcore models promote {version}, after ftcore login")
        self.log.warning("%s; the question stays open", why)
        if self._state is not None:
            self._state.set(SHOWN, record["figures"]["verdict"])
        self.body = _again(record["figures"])
        return HITLOperator.execute.__wrapped__(self, context)  # type: ignore[attr-defined]

    def _is_over(self, record: dict[str, Any]) -> bool:
        if record["figures"]["rejected"] or record["figures"]["held"]:
            raise AirflowSkipException(record["reason"])
        return bool(record["figures"]["approvals"] >= self.place)


def _again(figures: dict[str, Any]) -> str:
    """The question once more, which says first why the answer before did not count."""
    said = f"**The last answer was not counted: {figures['refused']}.**\n\n" if figures["refused"] else ""
    return f"{said}{figures['request']}"


def _asked(context: Context, started: list[str]) -> dict[str, str]:
    """Who started the run, sealed, and below which path Airflow shows our pages."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    told = {"asked": sealed(context, {"started_by": started})}
    return told | {"pages": f"{base}/plugin/models/ftcore"}


def _recorded(context: Context, answer: Any, started: list[str]) -> dict[str, Any]:
    """Airflow's record of an answer, and of which task it is."""
    task = context["task_instance"]
    user = answer["responded_by_user"] or {}
    return {
        "task_id": task.task_id,
        "map_index": task.map_index,
        "try_number": task.try_number,
        "task_instance": str(task.id),
        "responded_at": answer["responded_at"].isoformat(),
        "responded_by_user": {"id": str(user.get("id", "")), "name": str(user.get("name", ""))} if user else None,
        "chosen_options": list(answer["chosen_options"]),
        "params_input": dict(answer["params_input"]),
        "started_by": started,
        "verdict": str(shown.get(SHOWN) or "") if (shown := context.get("task_state_store")) is not None else "",
    }


def approvals(product: Product) -> list[BaseOperator]:
    """One question after the other, as many as the recipe asks for approvals; nothing to do where it asks for none."""
    wanted = product.recipe.approval
    if wanted.required == 0:
        return [StepOperator(task_id=STEP, doc_md="Record that the recipe requires no approval.")]
    policy = RETRIES["retry_policy"]
    return [
        PersonOperator(
            task_id=STEP if place == 1 else f"{STEP}_second",
            doc_md=DOC,
            recipe_file=str(product.file),
            place=place,
            subject=f"Promote the candidate of {product.recipe.name} to champion?"
            + (f" ({place} of {wanted.required})" if wanted.required > 1 else ""),
            params=FORM,
            assigned_users=[{"id": name, "name": name} for name in wanted.assigned] or None,
            response_timeout=timedelta(hours=wanted.timeout_h),
            # Without a rule for it the time-out would be a failure like any other, and ask again.
            retry_policy=ExceptionRetryPolicy(
                [RetryRule(exception=HITLTimeoutError, action=RetryAction.FAIL), *policy.rules]
            ),
        )
        for place in range(1, wanted.required + 1)
    ]

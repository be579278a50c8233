"""Tells people that a task has failed for good: what the step said, in which run, and where its log is."""

from __future__ import annotations

import html
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseNotifier

from ftcore.data.credentials import scrub
from ftcore_airflow.settings import AirflowSettings

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

TIMEOUT_S = 20.0
"""Longest that a server may take to accept a message."""
_QUOTED = re.compile(r"'[^'\n]{25,}'")
"""Quotations so long may be of the data, which belongs in no message."""


class FailureNotifier(BaseNotifier):
    """Sends the failure to each Airflow connection that ``FTCORE_NOTIFY`` names; without any it is a line of the log.

    A connection of the type ``smtp`` gets an e-mail, to whom its extra says under ``to``. Every other is a webhook: its
    address gets ``{"text": …}``, as Slack, Mattermost and Teams take it, with the connection's password as bearer token
    where it has one. A server that does not answer never hides the failure itself: that is logged first.
    """

    def notify(self, context: Context) -> None:
        """Send the message; what cannot be sent is logged, without the address."""
        subject, text = message(context)
        self.log.error("%s\n%s", subject, text)
        for name in AirflowSettings().notified:
            try:
                connection = BaseHook.get_connection(name)
                (_mail if connection.conn_type == "smtp" else _post)(connection, subject, text)
            except Exception as error:  # whatever a server, a driver or a missing connection says
                self.log.warning("could not notify %s: %s", name, type(error).__name__)


def message(context: Any) -> tuple[str, str]:
    """Subject and text: the step's own error with its hint, run, attempt and log; no secret, and no row."""
    ti = context["ti"]
    shard = f" {shown}" if (shown := getattr(ti, "rendered_map_index", None)) else ""
    said = _QUOTED.sub("'…'", scrub(context.get("exception") or "no reason was given"))
    where = f"run {ti.run_id}, attempt {ti.try_number}\nlog {scrub(ti.log_url)}"
    return f"{ti.dag_id}: {ti.task_id}{shard} failed", f"{said}\n{where}"


def _post(connection: Connection, subject: str, text: str) -> None:
    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and a webhook's is its secret
    token = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    answer = httpx.post(_url(connection), json={"text": f"{subject}\n{text}"}, headers=token, timeout=TIMEOUT_S)
    answer.raise_for_status()


def _url(connection: Connection) -> str:
    host = connection.host or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    port = f":{connection.port}" if connection.port else ""
    return f"{base}{port}{connection.extra_dejson.get('endpoint', '')}"


def _mail(connection: Connection, subject: str, text: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=connection.conn_id) as hook:
        to = connection.extra_dejson["to"]
        hook.send_email_smtp(to=to, subject=subject, html_content=f"<pre>{html.escape(text)}</pre>")

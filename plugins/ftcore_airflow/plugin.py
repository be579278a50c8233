"""What Airflow loads by the entry point ``airflow.plugins``."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/ftcore"


def _view(name: str, route: str, destination: str, path: str) -> dict[str, Any]:
    base = conf.get("api", "base_url", fallback="").partition("://")[2].partition("/")[2].rstrip("/")
    root = f"/{base}{PREFIX}" if base else PREFIX
    icon = f"{root}/static/icon.svg"
    view = {"name": name, "url_route": route, "destination": destination, "href": f"{root}{path}", "icon": icon}
    return view | ({"nav_top_level": True} if destination == "nav" else {})


class FtcorePlugin(AirflowPlugin):
    """The pages about models: in the navigation, and as a tab of each DAG and each DAG run."""

    name = "ftcore"
    external_views = [  # noqa: RUF012 - Airflow declares it so
        _view("Models", "models", "nav", "/"),
        _view("Model", "model", "dag", "/dags/{DAG_ID}"),
        _view("Model", "model-of-run", "dag_run", "/dags/{DAG_ID}/runs/{RUN_ID}"),
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Made when it is asked for, which the API server does: workers and the scheduler load plugins too."""
        from ftcore_airflow.pages.app import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "ftcore"}]

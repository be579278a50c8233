"""Airflow's simple auth manager with one more rule: the user ``stranger`` may read no DAG of the recipes it lists."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HIDDEN: set[str] = set()


class Guarded(SimpleAuthManager):
    """Used by the tests of the pages."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        hidden = details is not None and user.get_name() == "stranger" and details.id in HIDDEN
        return not hidden and super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )

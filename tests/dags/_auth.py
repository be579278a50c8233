"""Airflow's simple auth manager with two more rules: see ``HIDDEN`` and ``NO_AUDIT``."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HIDDEN: set[str] = set()
"""DAGs that the user ``stranger`` may not read."""
NO_AUDIT: set[str] = set()
"""Users who may not read audit logs."""


class Guarded(SimpleAuthManager):
    """Used by the tests of the pages."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        if access_entity == DagAccessEntity.AUDIT_LOG and user.get_name() in NO_AUDIT:
            return False
        hidden = details is not None and user.get_name() == "stranger" and details.id in HIDDEN
        return not hidden and super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )

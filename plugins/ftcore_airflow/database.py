"""How the local Airflow connects to its SQLite file."""

from __future__ import annotations

from typing import Any

CONNECT: dict[str, Any] = {"timeout": 900.0, "check_same_thread": False}
"""A file that another process holds is waited for, in seconds: after SQLite's own 5 the scheduler would end."""

"""What Airflow loads by the entry point ``airflow.plugins``."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class FtcorePlugin(AirflowPlugin):
    """Makes ftcore known to Airflow; pages and links hang here."""

    name = "ftcore"

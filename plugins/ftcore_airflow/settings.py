"""Settings that only Airflow's side needs."""

from __future__ import annotations

import shlex
import sys

from ftcore.settings import Settings


class AirflowSettings(Settings):
    """Settings, each from the environment variable ``FTCORE_<NAME>``."""

    step_command: str = ""
    """Command that runs ftcore, as a shell would read it; empty means this interpreter with ``-m ftcore``."""
    gpu_pool: str = "gpu"
    """Pool that training takes its slot from; it must exist, or training waits for ever."""
    gpu_queue: str = "gpu"
    """Queue of the workers that have an accelerator; LocalExecutor pays no attention to it."""

    notify: str = ""
    """Airflow connections that are told of a task that failed for good, comma-separated: ``smtp`` or a webhook."""

    @property
    def notified(self) -> list[str]:
        """Names of those connections."""
        return [name.strip() for name in self.notify.split(",") if name.strip()]

    @property
    def command(self) -> list[str]:
        """Words of the command that runs ftcore."""
        return shlex.split(self.step_command) or [sys.executable, "-m", "ftcore"]

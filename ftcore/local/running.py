"""What runs on this machine, as ``HOME/services.json`` keeps it for whoever comes next."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.errors import FtcoreError
from ftcore.local import airflow_config, processes

if TYPE_CHECKING:
    from ftcore.local.airflow_api import AirflowApi
    from ftcore.settings import Settings


@dataclass(frozen=True)
class Running:
    """Services that were started."""

    mark: str
    """Told apart from any other ``up`` by this."""
    airflow_url: str
    mlflow_url: str
    pids: dict[str, int] = field(default_factory=dict)
    """Process ids by the service's name."""
    user: str = airflow_config.USER

    def api(self, settings: Settings) -> AirflowApi:
        """Client of the running Airflow, logged in."""
        from ftcore.local.airflow_api import AirflowApi

        return AirflowApi(self.airflow_url, self.user, airflow_config.password(settings))

    def living(self) -> dict[str, int]:
        """Process ids of the services that live, by name."""
        return {name: pid for name, pid in self.pids.items() if processes.is_alive(pid, self.mark)}


def load(settings: Settings) -> Running | None:
    """What was started last; None where everything was stopped again.

    Raises:
        FtcoreError: the file is there and cannot be read, so that nobody knows what runs.
    """
    try:
        values: dict[str, Any] = json.loads(_file(settings).read_text(encoding="utf-8"))
        found = Running(**values)
        texts = (found.mark, found.airflow_url, found.mlflow_url, found.user)
        if all(isinstance(one, str) for one in texts) and all(type(pid) is int for pid in found.pids.values()):
            return found
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    hint = "end the processes of Airflow and MLflow that still run from there, then delete the file"
    raise FtcoreError(f"{_file(settings)} does not list which services were started", hint=hint)


def save(settings: Settings, state: Running) -> None:
    """Keep what was started."""
    draft = _file(settings).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(_file(settings))


def forget(settings: Settings) -> None:
    """Nothing runs any more."""
    _file(settings).unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    return settings.home.resolve() / "services.json"

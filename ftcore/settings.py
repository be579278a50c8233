"""Where things are and which servers to use: read from the environment, once a process."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_ABOVE = Path(__file__).resolve().parent.parent
REPOSITORY = _ABOVE if (_ABOVE / "dags" / "data.py").is_file() else Path.cwd()
"""The checkout that this package runs from; where it was installed without one, the current folder."""


class Settings(BaseSettings):
    """Settings, each from the environment variable ``FTCORE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="FTCORE_", frozen=True, use_attribute_docstrings=True, extra="ignore")

    home: Path = REPOSITORY / ".ftcore"
    """Folder that holds everything the program writes on this machine."""
    store: str = ""
    """Root of the store: a folder or an fsspec URL such as ``s3://bucket/prefix``; empty means ``HOME/store``."""
    tracking_uri: str = ""
    """MLflow server, or ``sqlite:///…``; empty means a SQLite file under ``HOME/mlflow``."""
    artifacts: str = ""
    """Root of MLflow's artefacts, such as ``s3://bucket/mlflow``; empty leaves it to the server, or means
    ``HOME/mlflow/artifacts``."""
    recipes: Path = REPOSITORY / "dags" / "recipes"
    """Folder of the recipes, so that a command may name one by its name alone."""
    expectations: Path = REPOSITORY / "expectations"
    """Folder of Great Expectations suites, beside those that are shipped."""
    lock_timeout_s: float = 600.0
    """How long a step waits for another process that works on the same thing, in seconds."""
    shard_bytes: int = 64_000_000
    """Size that the files of one shard have on average, as stored, in bytes: a source of files is read by as many
    Airflow tasks as it has such shards, 100 at most."""
    patience_s: Annotated[float, Field(ge=0)] = 900.0
    """How long a step waits for a service that does not answer (MLflow, the store, a source), in seconds."""
    stop_grace_s: Annotated[float, Field(ge=0)] = 60.0
    """How long ``ftcore down`` waits for running steps to write a checkpoint, in seconds."""
    airflow_port: Annotated[int, Field(ge=0, lt=65536)] = 0
    """Port of the local Airflow; 0 means a free one, which is kept."""
    mlflow_port: Annotated[int, Field(ge=0, lt=65536)] = 0
    """Port of the local MLflow; 0 means a free one, which is kept."""
    threads: int = 0
    """Threads for torch and ONNX Runtime; 0 means as many as there are cores."""
    signing_key: Path | None = None
    """File of the Ed25519 private key, PEM, that signs ledger and evidence; none means the platform's own, which is
    made on first use in ``HOME/keys``."""
    cost_per_hour: Annotated[float, Field(ge=0)] = 0.0
    """What an hour of a machine like this one costs, in any currency; 0 means that nobody knows."""
    workers: Path | None = None
    """YAML file of the machines that train, with their memory, price and power; none means this machine."""
    worker: str = ""
    """Which of them this process runs on."""
    airflow_url: str = ""
    """Where Airflow is, for logins; empty means the one that ``ftcore up`` started."""
    airflow_token: SecretStr | None = None
    """Token of Airflow's API, for scripts that decide in somebody's name; ``ftcore login`` keeps one for people."""
    airflow_password: SecretStr | None = None
    """Password of Airflow's ``admin``; without it ``ftcore up`` makes one and keeps it under ``HOME/airflow``."""
    airflow_users: Annotated[str, Field(pattern=r"^( *[\w.@+-]+:(viewer|user|op|admin) *(,|$))*$")] = ""
    """Further people of the local Airflow with their roles, such as ``mira:op, jon:viewer``; ``ftcore up`` makes a
    password for each and keeps it under ``HOME/airflow``."""

    @cached_property
    def store_root(self) -> str:
        """Root of the store, with the default filled in."""
        return self.store or str(self.home.resolve() / "store")

    @cached_property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI, with the default filled in."""
        return self.tracking_uri or sqlite_url(self.home.resolve() / "mlflow" / "mlflow.db")

    def suite(self, name: str) -> Path:
        """File of a Great Expectations suite; a shipped one where the folder has none of this name."""
        own, shipped = self.expectations / f"{name}.json", REPOSITORY / "expectations" / f"{name}.json"
        return own if own.is_file() or not shipped.is_file() else shipped

    @property
    def cache(self) -> Path:
        """Folder for what can be made or fetched again."""
        return self.home / "cache"


def sqlite_url(file: Path) -> str:
    """URL of a SQLite file, whatever its folders are called: SQLAlchemy decodes ``%20`` and ends the path at ``?``."""
    # Only where it must be: MLflow makes a folder of the name as it is written here.
    return "sqlite:///" + re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(file)).replace("?", "%3F")


def load() -> Settings:
    """Read the settings from the environment."""
    return Settings()

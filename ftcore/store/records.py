"""What a step leaves behind: its record, and the hashes that tie it to what it read."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ftcore.recipe.canonical import canonical, sha256
from ftcore.store import layout

PACKAGES = (
    "ftcore",
    "torch",
    "transformers",
    "peft",
    "mlflow",
    "great-expectations",
    "evidently",
    "onnxruntime",
    "apache-airflow-core",
)
"""Packages whose versions every record names."""


LOCK = "environment.lock"
"""In the folder of ``train``: see ``environment_lock``."""
EARLIER = "the state of "
"""Start of a fingerprint's part that is an earlier step."""
LINK = "record:"
"""Start of the name under which a record's ``inputs`` keep the hash of an earlier record's file."""


class Record(BaseModel):
    """The evidence of one step: what it read, what it found, where it wrote, and with which code."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    step: str
    """Name of the step, a file in ``ftcore/steps/``."""
    recipe: str
    """Name of the recipe."""
    run_id: str
    """Run that the step belongs to."""
    fingerprint: str
    """Hash of the recipe, the parameters and the earlier records: the same fingerprint means that nothing has to be
    done again."""
    decided_by: dict[str, str] = Field(default_factory=dict)
    """What the fingerprint was made of, each with its hash: sections of the recipe, parameters, earlier steps. Empty in
    records of earlier versions."""
    proceed: bool = True
    """False where the steps after this one must not run: the task shows as skipped."""
    reason: str = ""
    """One sentence for people: what was decided or found."""
    params: dict[str, str] = Field(default_factory=dict)
    """What was asked of this run, such as ``snapshot`` or ``train``."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each thing read, by name."""
    figures: dict[str, Any] = Field(default_factory=dict)
    """Numbers and small tables."""
    paths: dict[str, str] = Field(default_factory=dict)
    """Files and folders written, relative to the recipe's folder in the store."""
    started_at: datetime
    """UTC."""
    import_s: float = 0.0
    """Seconds spent importing the step's libraries."""
    work_s: float = 0.0
    """Seconds of the step's own work."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the packages that matter."""
    git_commit: str = ""
    """Commit of the checkout; empty outside of one; ``+dirty`` where files had changed."""

    @field_validator("figures", mode="after")
    @classmethod
    def _by_todays_names(cls, figures: dict[str, Any]) -> dict[str, Any]:
        return layout.renamed(figures)


def now() -> datetime:
    """The current time in UTC, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def fingerprint(recipe: Mapping[str, Any], params: Mapping[str, str], earlier: Mapping[str, str]) -> str:
    """Hash of everything that decides a step's result: its recipe, parameters and the records before it."""
    return sha256(canonical({"recipe": recipe, "params": dict(params), "earlier": dict(earlier)}))


def parts(recipe: Mapping[str, Any], params: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
    """What a fingerprint is made of, by a name for people, each with the first digits of its hash."""
    named: dict[str, object] = {f"{name} of the recipe": value for name, value in recipe.items()}
    named |= {f"the parameter {name}": value for name, value in params.items()}
    named |= {f"{EARLIER}{name}": value for name, value in earlier.items()}
    return {name: sha256(canonical(value))[:16] for name, value in named.items()}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Which parts of a fingerprint differ; earlier steps only where nothing else does, which is why they differ."""
    differing = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [name for name in differing if not name.startswith(EARLIER)] or differing


@cache
def versions() -> dict[str, str]:
    """Installed versions of ``PACKAGES``, without importing them."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def environment_lock() -> bytes:
    """Every installed package with its version, a line each, below the Python and the platform."""
    head = [f"# python {platform.python_version()}", f"# platform {platform.platform()}"]
    found = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in metadata.distributions()}
    return "\n".join([*head, *(f"{name}=={found[name]}" for name in sorted(found) if name), ""]).encode()


@cache
def git_commit(folder: str) -> str:
    """Commit checked out in ``folder``, with ``+dirty`` where tracked files had changed; empty where there is none."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return commit + "+dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.TimeoutExpired):
        return ""

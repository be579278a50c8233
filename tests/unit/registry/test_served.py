"""served: only the bytes that the ledger promised are used, and the ledger says who is champion."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ftcore.data import erasures
from ftcore.errors import ChangedArtefactError, FtcoreError, TransientError
from ftcore.registry import artefacts, doctor, intents, served, versions
from ftcore.registry.promotion import ModelRegistry
from ftcore.store import keys
from ftcore.store.records import now
from ftcore.store.store import hash_file, write_json
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION, HASH_TAG, PREVIOUS, Version

if TYPE_CHECKING:
    from conftest import Product


@pytest.fixture
def champion(product: Product, tmp_path: Path) -> Version:
    """A champion with two files in what serves, and an evaluation."""
    for name in ("onnx-int8", "evaluation"):
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        (folder / "model.onnx").write_text("the graph")
        (folder / "inner" / "vocab.txt").write_text("words")
    return product.crown("r1", folders=[tmp_path / "onnx-int8", tmp_path / "evaluation"])


def stored(product: Product, version: Version, artefact: str = "onnx-int8") -> Path:
    """Where MLflow keeps an artefact."""
    return Path(urlsplit(product.tracking.client.get_run(version.run).info.artifact_uri).path) / artefact


def registrar(product: Product) -> ModelRegistry:
    return ModelRegistry(product.recipe, product.shelf, product.tracking)


def _flip(place: Path) -> None:
    """Another byte, the same size, the same time of change."""
    file = place / "model.onnx"
    was = file.stat()
    file.write_text("the grapH")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def _swap(place: Path) -> None:
    """Another file under the same name."""
    (place / "beside").write_text("the grapH")
    (place / "beside").rename(place / "model.onnx")


def _link(place: Path) -> None:
    """A symbolic link to a file with the very same bytes: what it points to may change later."""
    (place.parent / "elsewhere").write_text("the graph")
    (place / "model.onnx").unlink()
    (place / "model.onnx").symlink_to(place.parent / "elsewhere")


def _link_of_folders(place: Path) -> None:
    (place.parent / "more").mkdir(exist_ok=True)
    (place / "more").symlink_to(place.parent / "more", target_is_directory=True)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": _flip,
    "a swapped file": _swap,
    "a file more": lambda place: (place / "inner" / "more.py").write_text("import os"),
    "a file less": lambda place: (place / "inner" / "vocab.txt").unlink(),
    "another name": lambda place: (place / "model.onnx").rename(place / "model2.onnx"),
    "a link": _link,
    "a link to a folder": _link_of_folders,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_cache_is_fetched_anew_and_a_changed_artefact_is_refused(
    product: Product, champion: Version, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = served.folder(product.tracking, champion, "onnx-int8")
    CHANGES[change](place)
    again = served.folder(product.tracking, champion, "onnx-int8")
    assert (again / "model.onnx").read_text() == "the graph"
    assert "is not used" in caplog.text
    assert sorted(file.name for file in again.rglob("*")) == ["inner", "model.onnx", "vocab.txt"]
    assert [path.name for path in again.parent.iterdir() if path.is_dir()] in (["onnx-int8"], ["onnx-int8", "more"])
    CHANGES[change](again)
    if "link" not in change:  # a link's bytes are the same, and a copy of it is a plain file
        CHANGES[change](stored(product, champion))
        with pytest.raises(ChangedArtefactError) as error:
            served.folder(product.tracking, champion, "onnx-int8")
        promised = served.promises(product.shelf)[-1]
        assert promised is not None
        assert promised.artefacts is not None
        for words in ("artefact 'onnx-int8' of version 1", promised.artefacts["onnx-int8"], "SHA-256", "restore it"):
            assert words in str(error.value)
        assert not again.exists() or (again / "model.onnx").read_text() == "the graph"


def test_tags_of_mlflow_are_not_believed(product: Product, champion: Version) -> None:
    """Whoever replaces a file can set the tags to its hash."""
    place = stored(product, champion)
    (place / "model.onnx").write_text("evil")
    run = champion.run
    product.tracking.client.set_tag(run, f"{HASH_TAG}onnx-int8", artefacts.hash_folder(place))
    product.tracking.tag(champion, {"artefacts": f'{{"onnx-int8": "{artefacts.hash_folder(place)}"}}'})
    with pytest.raises(ChangedArtefactError):
        served.folder(product.tracking, product.tracking.version(1), "onnx-int8")
    (fault, *_) = artefacts.check(product.tracking, product.tracking.version(1), ["onnx-int8"], product.shelf).serving
    assert "onnx-int8" in fault


@pytest.mark.parametrize("size", ["x", "/", "3/", "/7", "-1/5", "1/7/7", "9" * 30 + "/1"])
def test_a_size_that_somebody_else_wrote_is_a_fault(product: Product, champion: Version, size: str) -> None:
    product.tracking.client.set_tag(champion.run, f"{artefacts.SIZE_TAG}onnx-int8", size)
    (fault,) = artefacts.check(product.tracking, product.tracking.version(1), ["onnx-int8"], product.shelf).serving
    assert fault.startswith("has another size of its artefact 'onnx-int8'")


def test_an_erasure_explains_a_changed_evaluation_and_nothing_else(product: Product, champion: Version) -> None:
    for name in ("evaluation", "onnx-int8"):
        place = stored(product, champion, name)
        before = artefacts.hash_folder(place)
        (place / "model.onnx").write_text("less")
        made = {
            "place": erasures.in_mlflow(champion.run, name),
            "before": before,
            "rows": 1,
            "subject": "s",
            "at": now(),
        }
        after = artefacts.hash_folder(place)
        erasures.add(product.shelf, erasures.Erasure.model_validate(made | {"after": after}))
        with pytest.raises(ChangedArtefactError):  # anybody can leave such a file
            served.folder(product.tracking, champion, name)
        where = erasures.in_mlflow(champion.run, name)
        figures = {"places": [where], "hashes": {where: after}}
        product.shelf.add_to_ledger("forget", "s", "erased", "1 row", key=name, **figures)
    assert (served.folder(product.tracking, champion, "evaluation") / "model.onnx").read_text() == "less"
    with pytest.raises(ChangedArtefactError):
        served.folder(product.tracking, champion, "onnx-int8")


def test_a_file_is_hashed_once_and_looked_at_each_time(
    product: Product, champion: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = served.folder(product.tracking, champion, "onnx-int8")
    hashed: list[Path] = []

    def counted(folder: Path) -> str:
        hashed.append(folder)
        return artefacts.hash_folder(folder)

    monkeypatch.setattr(served, "hash_folder", counted)
    served.folder(product.tracking, champion, "onnx-int8")
    assert hashed == [place], "what was changed a moment ago may be changed again within the clock's step"
    late = time.time() + 10
    monkeypatch.setattr(time, "time", lambda: late)
    for _ in range(3):
        served.folder(product.tracking, champion, "onnx-int8")
    assert hashed == [place, place]
    _flip(place)
    served.folder(product.tracking, champion, "onnx-int8")
    assert len(hashed) > 2


def test_what_is_changed_while_it_is_read_is_not_used(product: Product, champion: Version) -> None:
    with (
        pytest.raises(ChangedArtefactError, match="while it was read"),
        served.opened(product.tracking, champion, "onnx-int8") as place,
    ):
        _swap(place)


def test_an_alias_moved_by_hand_does_not_serve(product: Product, champion: Version) -> None:
    other = product.register("r2")
    product.tracking.set_alias(CHAMPION, other)
    with pytest.raises(
        FtcoreError, match=r"version 2 of .* by the ledger the champion is version 1, since 2.* by test"
    ):
        served.champion(product.shelf, product.tracking)
    with pytest.raises(FtcoreError, match="version 2 must not serve"):
        registrar(product).promote(2, "mira", "now", override=True)
    doctor.mend(registrar(product))
    found = served.champion(product.shelf, product.tracking)
    assert found is not None
    assert found.number == champion.number


def test_a_previous_that_was_moved_by_hand_is_not_rolled_back_to(product: Product, champion: Version) -> None:
    product.crown("r2")
    product.tracking.set_alias(PREVIOUS, product.register("evil"))
    with pytest.raises(FtcoreError, match="version 3 has the alias previous, and no ledger line ever promoted it"):
        registrar(product).rollback("mira", "complaints")
    found = [one.what for one in doctor.examine(registrar(product))]
    assert "version 3 is previous, and no ledger line ever promoted it" in found
    assert doctor.mend(registrar(product))[1] == []


def test_what_was_changed_between_verdict_and_promotion_is_not_promoted(product: Product, tmp_path: Path) -> None:
    """With its tags: the gate's line of the ledger has the hashes."""
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_text("graph")
    version = product.register("r1", folders=[folder])
    figures = {
        "candidate": 1,
        "artefacts": registered.hashes(registered.run_tags(product.tracking, version.run)),
    }
    figures |= {"champion": None, "verdict_sha256": ""}
    product.shelf.add_to_ledger("gate", "r1", "passed", "good", **figures)
    place = stored(product, version)
    (place / "model.onnx").write_text("grapH")
    product.tracking.client.set_tag(version.run, f"{HASH_TAG}onnx-int8", artefacts.hash_folder(place))
    product.tracking.tag(version, {"artefacts": f'{{"onnx-int8": "{artefacts.hash_folder(place)}"}}'})
    with pytest.raises(FtcoreError, match="another artefact 'onnx-int8' than the one that was judged"):
        registrar(product).promote(1, "mira", "now", ["onnx-int8"], override=True)
    product.tracking.client.delete_tag(version.run, f"{HASH_TAG}onnx-int8")
    product.tracking.client.delete_model_version_tag(product.name, "1", "ftcore.artefacts")
    with pytest.raises(FtcoreError, match="its hash differs"):
        registrar(product).promote(1, "mira", "now", ["onnx-int8"], override=True)
    line = registrar(product).promote(1, "mira", "now", override=True)  # what it needs is not named: the line is honest
    assert line["artefacts"] == figures["artefacts"]
    with pytest.raises(ChangedArtefactError):
        served.folder(product.tracking, product.tracking.version(1), "onnx-int8")


def test_an_alias_without_any_line_does_not_serve(product: Product) -> None:
    product.tracking.set_alias(CHAMPION, product.register("r1"))
    with pytest.raises(FtcoreError, match="no ledger line promoted it"):
        served.champion(product.shelf, product.tracking)
    registrar(product).promote(1, "mira", "known to be good", override=True)
    assert served.champion(product.shelf, product.tracking) is not None


def test_during_a_promotion_the_ledgers_champion_goes_on(product: Product, champion: Version) -> None:
    """Killed between the alias and the line: what served serves, until somebody finishes it."""
    product.register("r2")
    intent = registrar(product).crowning(product.tracking.version(2), 1, "jon", "jon")
    intent = intent.model_copy(update={"run_id": "hand"})
    intents.begin(product.shelf, intent)
    product.tracking.set_alias(CHAMPION, product.tracking.version(2))
    found = served.champion(product.shelf, product.tracking)
    assert found is not None
    assert found.number == champion.number
    with registrar(product).at_work():
        pass
    found = served.champion(product.shelf, product.tracking)
    assert found is not None
    assert found.number == 2


@pytest.mark.parametrize("how", ["unsigned", "changed", "another name", "another key"])
def test_an_intent_that_somebody_else_left_is_not_carried_out(
    product: Product, champion: Version, how: str, tmp_path: Path
) -> None:
    from dataclasses import replace

    product.register("evil")
    intent = registrar(product).crowning(product.tracking.version(2), 1, "mallory", "mira")
    intent = intent.model_copy(update={"run_id": "hand"})
    shelf = product.shelf
    if how == "another key":
        shelf = replace(product.shelf, locks=tmp_path / "theirs" / "locks")
        shelf.chain.ring.private.parent.mkdir(parents=True)
        keys.create(shelf.chain.ring.private)
    path = intents.begin(shelf, intent.model_copy(update={"version": 1} if how == "changed" else {}))
    if how == "unsigned":
        write_json(path, intent.model_dump(mode="json"))
    elif how == "changed":
        path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    elif how == "another name":
        path.rename(path.with_name("promote--later.json"))
    assert len(doctor.examine(registrar(product))) == 1
    done, left = doctor.mend(registrar(product))
    assert (len(done), left) == (1, [])
    found = served.champion(product.shelf, product.tracking)
    assert found is not None
    assert found.number == champion.number
    assert not any(line["version"] == 2 for line in product.shelf.ledger("promote"))


def test_the_lines_say_what_serves(product: Product, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number) / "onnx-int8"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_text(f"graph {number}")
        version = product.register(f"r{number}", folders=[folder])
        product.tracking.tag(version, {"verdict.sha256": f"v{number}", "recipe_sha256": f"c{number}"})
        line = registrar(product).promote(number, "mira", "first", override=True)
        assert (line["version"], list(line["artefacts"])) == (number, ["onnx-int8"])
        assert (line["verdict_sha256"], line["recipe_sha256"]) == (f"v{number}", f"c{number}")
    promoted = product.shelf.ledger("promote")[0]
    product.tracking.tag(product.tracking.version(1), {"artefacts": '{"onnx-int8": "f00"}'})
    line = registrar(product).rollback("mira", "complaints", ["onnx-int8"])
    assert (line["version"], line["artefacts"]) == (1, promoted["artefacts"]), "by the first line, whatever tags say"
    assert line["verdict_sha256"] == "v1"


def test_a_line_of_an_earlier_ftcore_is_taken_over_after_a_check(product: Product, tmp_path: Path) -> None:
    folder = tmp_path / "onnx-int8"
    folder.mkdir()
    (folder / "model.onnx").write_text("graph")
    version = product.register("r1", folders=[folder])
    product.tracking.set_alias(CHAMPION, version)
    product.shelf.add_to_ledger(
        "promote", "hand", "promoted", "version 1 is champion", version=1, previous=None, by="mira"
    )
    with pytest.raises(FtcoreError, match=r"names no artefacts\n.*doctor .* --fix"):
        served.folder(product.tracking, version, "onnx-int8")
    good = stored(product, version) / "model.onnx"
    good.write_text("grapH")
    findings = doctor.examine(registrar(product))
    assert findings, "it is changed"
    assert not any(one.mend for one in findings), "nothing is taken over that was changed"
    good.write_text("graph")
    done, left = doctor.mend(registrar(product))
    assert (len(done), left) == (1, [])
    line = product.shelf.ledger("registry")[-1]
    assert (line["decision"], line["version"], list(line["artefacts"])) == ("taken over", 1, ["onnx-int8"])
    assert hash_file(served.folder(product.tracking, version, "onnx-int8") / "model.onnx") == hash_file(good)
    good.write_text("grapH")
    served._discard(product.tracking.cached(version.run, "onnx-int8"))
    with pytest.raises(ChangedArtefactError):
        served.folder(product.tracking, version, "onnx-int8")


@pytest.mark.parametrize("what", ["alias", "tag"])
def test_a_promotion_that_does_not_stand_is_no_promotion(
    product: Product, champion: Version, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Another machine changes alias or tag between our writes and the line: no line, and the intent stays."""
    product.register("r2")
    product.register("r3")
    set_alias = type(product.tracking).set_alias

    def raced(tracking: object, alias: str, version: Version) -> None:
        set_alias(product.tracking, alias, version)
        if alias == CHAMPION and what == "alias":
            set_alias(product.tracking, alias, product.tracking.version(3))
        elif alias == CHAMPION:
            product.tracking.tag(product.tracking.version(2), {"promoted_by": "mallory"})

    with monkeypatch.context() as patch:
        patch.setattr(type(product.tracking), "set_alias", raced)
        with pytest.raises(TransientError, match=r"promote of run hand-.* is not done: the (alias|tag)"):
            registrar(product).promote(2, "mira", "now", override=True)
    assert versions.crowned(product.shelf) == 1
    assert len(list(intents.pending(product.shelf))) == 1
    doctor.mend(registrar(product))
    assert list(intents.pending(product.shelf)) == []
    assert versions.crowned(product.shelf) == (1 if what == "alias" else 2)
    assert doctor.examine(registrar(product)) == []


def test_what_changes_while_artefacts_are_read_is_seen(
    product: Product, champion: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold, a rejection or another champion that comes while gigabytes are hashed counts."""
    product.register("r2")
    check = artefacts.check

    def slow(*args: object, **named: object) -> object:
        found = check(*args, **named)  # type: ignore[arg-type]
        product.promise(product.tracking.version(2), "other")
        product.tracking.set_alias(CHAMPION, product.tracking.version(2))
        return found

    product.register("r3")
    monkeypatch.setattr(artefacts, "check", slow)
    line = registrar(product).promote(3, "mira", "now", override=True)
    assert line["previous"] == 2, "the champion that came meanwhile is kept within reach"
    assert registered.model(product.tracking).aliases[PREVIOUS] == 2


def test_two_machines_that_promote_at_once_agree_in_the_end(
    product: Product, champion: Version, tmp_path: Path
) -> None:
    """No lock of one machine is the other's: each has a folder of locks of its own."""
    from dataclasses import replace

    numbers = [product.register(f"r{n}").number for n in (2, 3)]
    said: list[str] = []

    def promote(number: int) -> None:
        own = replace(
            registrar(product), shelf=replace(product.shelf, locks=product.shelf.locks.with_name(f"locks-{number}"))
        )
        try:
            own.promote(number, f"person {number}", "now", override=True)
            said.append("promoted")
        except FtcoreError as error:
            said.append(str(error))

    threads = [threading.Thread(target=promote, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    doctor.mend(registrar(product))
    holder, known = product.tracking.alias(CHAMPION), versions.crowned(product.shelf)
    assert holder is not None
    assert holder.number == known, said
    assert served.champion(product.shelf, product.tracking) is not None
    assert list(intents.pending(product.shelf)) == []

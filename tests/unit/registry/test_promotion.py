"""What people do to the registry: each by name, with a reason, and with a line in the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ftcore.errors import BusyError, FtcoreError
from ftcore.registry import artefacts, intents, versions
from ftcore.registry.intents import Intent
from ftcore.registry.login import Person
from ftcore.registry.promotion import NOBODY, ModelRegistry
from ftcore.store.records import now
from ftcore.tracking.client import CANDIDATE, CHAMPION, PREVIOUS
from ftcore.tracking.registered import drop_alias, tag_model

if TYPE_CHECKING:
    from conftest import Product


LOGIN = {"by": "login", "airflow": "http://airflow", "user": {"id": "7", "name": "x"}}
"""What Airflow told of a token."""


def registrar(product: Product) -> ModelRegistry:
    return ModelRegistry(product.recipe, product.shelf, product.tracking)


def judged(product: Product, run_id: str, champion: int | None, *, passed: bool = True) -> int:
    """Register a version with a verdict; returns its number."""
    number = product.register(run_id, "snap").number
    product.judge(number, champion, passed=passed, run_id=run_id)
    return number


def aliases(product: Product) -> dict[str, int]:
    return versions.book(product.tracking).model.aliases


def three(product: Product) -> None:
    """Versions 1, 2 and 3, each champion after the one before."""
    for number in (1, 2, 3):
        judged(product, f"r{number}", number - 1 or None)
        registrar(product).promote(number, "mira")


def test_a_hold_is_a_persons_and_is_released_once(product: Product) -> None:
    judged(product, "r1", None)
    line = registrar(product).hold("mira", "the labels are wrong")
    assert (line["kind"], line["decision"], line["by"]) == ("hold", "held", "mira")
    hold = registrar(product).held()
    assert hold is not None
    assert (hold.by, hold.reason) == ("mira", "the labels are wrong")
    with pytest.raises(FtcoreError, match=r"held since .* by mira"):
        registrar(product).hold("noa", "again")
    registrar(product).release("noa")
    assert registrar(product).held() is None


def test_by_hand_it_takes_a_verdict_that_passed_and_a_name(product: Product) -> None:
    judged(product, "r1", None)
    with pytest.raises(FtcoreError, match="no person is named"):
        registrar(product).promote(1, " ")
    line = registrar(product).promote(1, "mira")
    assert (line["decision"], line["by"], line["approved_by"]) == ("promoted", "mira", NOBODY)
    assert not line["override"]
    assert aliases(product) == {CANDIDATE: 1, CHAMPION: 1}
    with pytest.raises(FtcoreError, match="version 1 is champion already"):
        registrar(product).promote(1, "mira")
    with pytest.raises(FtcoreError, match=r"has no version 9; it has 1"):
        registrar(product).promote(9, "mira")


def test_what_speaks_against_it_is_all_said_at_once_and_kept(product: Product) -> None:
    product.change(approval={"required": 2})
    judged(product, "r1", None, passed=False)
    registrar(product).reject(1, "jon", "worse on short texts")
    with pytest.raises(FtcoreError) as error:
        registrar(product).promote(1, Person("mira", LOGIN))
    for words in ("its verdict is 'failed'", "rejected by jon: worse", "needs 2 approvals, and has 1 (mira)"):
        assert words in str(error.value)
    with pytest.raises(FtcoreError, match="a reason is missing"):
        registrar(product).promote(1, Person("mira", LOGIN), override=True)
    with pytest.raises(FtcoreError, match="to go on without them needs a login"):
        registrar(product).promote(1, "mira", "labels were wrong", override=True)
    assert product.shelf.ledger("promote") == []
    line = registrar(product).promote(1, Person("mira", LOGIN), "labels were wrong", override=True)
    assert line["override"]
    assert "its verdict is 'failed'" in line["reason"]
    assert line["reason"].endswith("labels were wrong")
    assert versions.entry(product.tracking.version(1), versions.book(product.tracking).model)["rejected"] is None


def test_what_was_taken_out_of_mlflow_still_speaks_against_it(product: Product) -> None:
    """A rejection, a hold and a verdict are the ledger's: whoever clears a tag changes nothing."""
    number = judged(product, "r1", None)
    registrar(product).hold("mira", "wait")
    registrar(product).reject(number, "jon", "worse on short texts")
    product.tracking.tag(product.tracking.version(number), {"rejected": "", "verdict.reason": "fine"})
    tag_model(product.tracking, {versions.HOLD: None})
    with pytest.raises(FtcoreError) as error:
        registrar(product).promote(number, "ada")
    for words in (
        "is rejected by jon, and MLflow's tag names",
        "promotion is held by mira, and MLflow's tag names no person",
        "has another reason in MLflow",
    ):
        assert words in str(error.value)
    assert aliases(product) == {}


def test_a_verdict_against_another_champion_speaks_against_it(product: Product) -> None:
    judged(product, "r1", None)
    judged(product, "r2", None)
    registrar(product).promote(1, "mira")
    with pytest.raises(FtcoreError, match="it was judged against no champion, and version 1 is champion"):
        registrar(product).promote(2, "mira")


def test_who_started_the_run_cannot_be_its_approval_by_hand_either(product: Product) -> None:
    product.change(approval={"required": 1})
    number = judged(product, "r1", None)
    told = {"version": number, "started_by": ["mira"]}
    product.shelf.add_to_ledger("approve", "r1", "asked", "started by mira", key="asked", **told)
    with pytest.raises(FtcoreError, match="needs 1 approval, and has none"):
        registrar(product).promote(number, Person("Mira ", LOGIN))
    refused = product.shelf.ledger("approve")[-1]
    assert (refused["decision"], refused["reason"][:21]) == ("refused", "Mira  started this ru")
    assert registrar(product).promote(number, Person("jon", LOGIN))["approved_by"] == "jon"
    assert product.shelf.ledger("approve")[-1]["witness"] == LOGIN


def test_a_typed_name_approves_nothing(product: Product) -> None:
    product.change(approval={"required": 1})
    number = judged(product, "r1", None)
    for name in ("mira", "os:root"):
        with pytest.raises(FtcoreError, match="needs 1 approval, and has none"):
            registrar(product).promote(number, name)
    product.approve(number, "ada")
    line = registrar(product).promote(number, "os:root")
    assert (line["by"], line["approved_by"]) == ("os:root", "ada"), "who carries it out need not be an approver"


def test_rollback_brings_previous_back_and_holds_the_loop(product: Product) -> None:
    three(product)
    line = registrar(product).rollback("mira", "complaints")
    assert (line["decision"], line["version"], line["instead_of"], line["by"]) == ("rolled back", 2, 3, "mira")
    assert aliases(product) == {CANDIDATE: 3, CHAMPION: 2, PREVIOUS: 1}
    hold = registrar(product).held()
    assert hold is not None
    assert (hold.by, hold.reason) == ("mira", "complaints")
    found = versions.book(product.tracking).to_json()["versions"][0]
    assert (found["state"], found["rolled_back"]["by"]) == ("rolled back", "mira")
    assert registrar(product).rollback("mira", "still")["version"] == 1
    with pytest.raises(FtcoreError, match="has no previous version to go back to"):
        registrar(product).rollback("mira", "again")
    assert versions.crowned(product.shelf) == 1


def test_rollback_needs_what_serves(product: Product, tmp_path: Path) -> None:
    (tmp_path / "onnx-int8").mkdir()
    (tmp_path / "onnx-int8" / "model.onnx").write_text("graph")
    product.register("r1", folders=[tmp_path / "onnx-int8"])
    registrar(product).promote(1, "mira", "first", override=True)
    product.register("r2")
    registrar(product).promote(2, "mira", "second", override=True)
    with pytest.raises(FtcoreError, match="version 1 has lost its artefact 'onnx-fp32'"):
        registrar(product).rollback("mira", "complaints", ["onnx-fp32"])
    assert aliases(product)[CHAMPION] == 2
    assert registrar(product).held() is None
    assert registrar(product).rollback("mira", "complaints", ["onnx-int8"])["version"] == 1


@pytest.fixture
def stored(product: Product, tmp_path: Path) -> Path:
    """Versions 1 and 2 were judged with an export and an evaluation, and 2 is champion; where the files of 1 lie."""
    for number in (1, 2):
        folders = [tmp_path / f"made{number}" / name for name in ("onnx-int8", "evaluation")]
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / "file").write_text(f"{folder.name} of version {number}")
        version = product.register(f"r{number}", "snap", folders)
        product.judge(version.number, number - 1 or None, run_id=f"r{number}")
        registrar(product).promote(number, "mira", needs=["onnx-int8"])
    run = product.tracking.client.get_run(product.tracking.version(1).run)
    return Path(urlsplit(run.info.artifact_uri).path)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda place: shutil.rmtree(place / "onnx-int8"), "has lost its artefact 'onnx-int8'"),
    "empty": (lambda place: (place / "onnx-int8" / "file").unlink(), "has lost its artefact 'onnx-int8'"),
    "cut": (
        lambda place: (place / "onnx-int8" / "file").write_text("onnx"),
        "has 1 file of 4 bytes in its artefact 'onnx-int8', and 1 file of 22 bytes was recorded",
    ),
    "more": (lambda place: (place / "onnx-int8" / "two").write_text(""), "has 2 files of 22 bytes"),
    "forged": (
        lambda place: flip(place / "onnx-int8" / "file"),
        "has an artefact 'onnx-int8' that was changed: its hash differs",
    ),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_nothing_is_put_in_place_that_serves_other_bytes(product: Product, stored: Path, spoil: str) -> None:
    change, said = SPOILT[spoil]
    change(stored)
    before = versions.book(product.tracking)
    with pytest.raises(FtcoreError, match=f"version 1 {said}.*could not serve"):
        registrar(product).rollback("mira", "complaints", ["onnx-int8"])
    with pytest.raises(FtcoreError, match=said):
        registrar(product).promote(1, "mira", "it must be", ["onnx-int8"], override=True)
    assert versions.book(product.tracking) == before
    assert not list(intents.pending(product.shelf))
    assert not [line for line in product.shelf.ledger() if line["kind"] == "rollback"]


def test_an_artefact_that_was_logged_again_after_the_verdict_is_another(
    product: Product, stored: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made1" / "onnx-int8"
    flip(made / "file")
    product.tracking.log_folder(product.tracking.version(1).run, made, "onnx-int8")
    with pytest.raises(FtcoreError, match="another artefact 'onnx-int8' than the one that was judged"):
        registrar(product).rollback("mira", "complaints", ["onnx-int8"])


def test_what_does_not_serve_speaks_against_a_promotion_and_is_told_at_a_rollback(
    product: Product, stored: Path
) -> None:
    shutil.rmtree(stored / "evaluation")
    with pytest.raises(FtcoreError, match=r"version 1 is not promoted: .*it has lost its artefact 'evaluation'"):
        registrar(product).promote(1, "mira", needs=["onnx-int8"])
    line = registrar(product).rollback("mira", "complaints", ["onnx-int8"])
    assert (line["version"], line["read"]) == (1, ["onnx-int8"])
    assert line["reason"].endswith("complaints; it has lost its artefact 'evaluation'")


def test_a_large_artefact_is_told_by_its_size(product: Product, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "READ_BYTES", 21)
    flip(stored / "onnx-int8" / "file")
    assert registrar(product).rollback("mira", "complaints", ["onnx-int8"])["read"] == [], "the line says so"


def test_release_ends_a_hold_once(product: Product) -> None:
    three(product)
    registrar(product).rollback("mira", "complaints")
    line = registrar(product).release("jon", "mended")
    assert line["reason"].startswith("the loop may promote again: mended; promotion is held since")
    assert registrar(product).held() is None
    with pytest.raises(FtcoreError, match="is not held"):
        registrar(product).release("jon")


def test_reject_takes_the_candidate_out_and_spares_the_champion(product: Product) -> None:
    three(product)
    judged(product, "r4", 3)
    registrar(product).reject(4, "jon", "worse")
    assert CANDIDATE not in aliases(product)
    with pytest.raises(FtcoreError, match="version 3 is champion; put another in its place"):
        registrar(product).reject(3, "jon", "worse")
    assert [line["decision"] for line in product.shelf.ledger("reject")] == ["rejected"]


def test_two_at_once_wait_for_one_another(product: Product) -> None:
    judged(product, "r1", None)
    with registrar(product).at_work(), pytest.raises(BusyError):
        registrar(product).promote(1, "mira")


def intent(product: Product, number: int, was: int | None) -> Intent:
    made = registrar(product).crowning(product.tracking.version(number), was, "mira", "mira")
    return made.model_copy(update={"run_id": "r9"})


def test_whoever_comes_next_finishes_what_a_crash_left(product: Product) -> None:
    three(product)
    judged(product, "r4", 3)
    path = intents.begin(product.shelf, intent(product, 4, 3))
    judged(product, "r5", 4)
    registrar(product).promote(5, "jon")
    assert aliases(product) == {CANDIDATE: 5, CHAMPION: 5, PREVIOUS: 4}
    assert [line["version"] for line in product.shelf.ledger("promote")][-2:] == [4, 5]
    assert not path.exists()


def test_what_was_overtaken_is_given_up_with_a_line(product: Product) -> None:
    three(product)
    judged(product, "r4", 3)
    intents.begin(product.shelf, intent(product, 4, 2))
    with registrar(product).at_work():
        assert aliases(product)[CHAMPION] == 3
    line = product.shelf.line("promote", "r9")
    assert line is not None
    assert (line["decision"], line["reason"]) == (
        "abandoned",
        "left half done and given up: version 3 became champion meanwhile",
    )
    assert versions.crowned(product.shelf) == 3


def test_a_server_that_goes_away_loses_nothing(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftcore.errors import TransientError
    from ftcore.tracking.client import Tracking

    three(product)

    def away(*_: object) -> None:
        raise TransientError("MLflow does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "set_alias", away)
        with pytest.raises(TransientError):
            registrar(product).rollback("mira", "complaints")
    assert len(list(intents.pending(product.shelf))) == 1
    with registrar(product).at_work() as model:
        assert model.aliases[CHAMPION] == 2
    assert product.shelf.ledger("rollback")[0]["by"] == "mira"


def test_the_whole_registry_in_one_request(product: Product) -> None:
    three(product)
    drop_alias(product.tracking, CANDIDATE)
    (mine,) = [model for model in versions.models(product.settings) if model.name == product.name]
    assert versions.summary(mine) == {
        "recipe": product.name,
        "aliases": {CHAMPION: 3, PREVIOUS: 2},
        "newest": 3,
        "hold": None,
    }


def test_what_a_version_tells(product: Product) -> None:
    three(product)
    found = versions.book(product.tracking).to_json()["versions"][0]
    assert (found["version"], found["state"], found["snapshot"], found["run_id"]) == (3, CHAMPION, "snap", "r3")
    digest = product.shelf.ledger("gate")[-1]["verdict_sha256"]
    assert (found["verdict"], found["judged_against"], found["verdict_sha256"]) == ("passed", 2, digest)
    assert found["promoted_by"] == "mira"
    differing = versions.diff(product.tracking, 2, 3)
    assert differing["facts"]["judged_against"] == [1, 2]
    assert "snapshot" not in differing["facts"]


def test_a_hold_that_cannot_be_read_holds(product: Product) -> None:
    from ftcore.tracking.registered import tag_model

    three(product)
    tag_model(product.tracking, {versions.HOLD: "{"})
    hold = registrar(product).held()
    assert hold is not None
    assert "cannot be read" in str(hold)
    assert now() > hold.at

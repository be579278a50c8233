"""Whatever state a recipe is in, the command that a hint names works there, and helps."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest

from ftcore.errors import FtcoreError
from ftcore.registry import doctor, served
from ftcore.store.slots import number
from ftcore.store.store import local
from ftcore.tracking import registered
from ftcore.tracking.client import CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Done, Product

COMMAND = re.compile(
    r"ftcore (?:doctor \w+ --fix|models rollback \w+ --reason '…'|models promote \w+ \d+(?: --override --reason '…')?"
    r"|ledger \w+ --acknowledge --reason '…')"
)


def register(product: Product, run_id: str) -> None:
    """A version with an artefact that serves."""
    folder = product.path.parent / run_id / "onnx-int8"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text(f"graph of {run_id}")
    product.register(run_id, folders=[folder])


@pytest.fixture
def made(product: Product) -> Callable[[int], Product]:
    """Versions with an artefact that serves, each judged and promoted after the one before."""

    def make(versions: int) -> Product:
        product.change(exports=[{"kind": "onnx", "precisions": ["int8"]}])
        for one in range(1, versions + 1):
            register(product, f"r{one}")
            product.judge(one, champion=one - 1 or None, run_id=f"r{one}")
            product.registrar.promote(one, "mira")
        return product

    return make


def lose_artefact(product: Product, version: int) -> None:
    run = product.tracking.client.get_run(product.tracking.version(version).run)
    shutil.rmtree(run.info.artifact_uri.removeprefix("file://") + "/onnx-int8")


def lose_version(product: Product, version: int) -> None:
    product.tracking.client.delete_model_version(product.name, str(version))


def lose_line(product: Product, n: int, *, both: bool) -> None:
    folder = local(product.shelf.root / "ledger")
    assert folder
    if both:
        (folder / "chain" / number(n)).unlink()
    next(folder.glob("gate--*.json")).unlink()


def only_candidate(product: Product) -> None:
    register(product, "late")
    registered.drop_alias(product.tracking, PREVIOUS)


def unexplained(product: Product) -> None:
    """A champion by hand in MLflow, where the ledger has none."""
    register(product, "r1")
    product.tracking.set_alias(CHAMPION, product.tracking.version(1))


def usurped(product: Product) -> None:
    """The champion is deleted in MLflow, and its alias given to a version that nobody promoted."""
    register(product, "r9")
    newest = product.tracking.versions()[0]
    product.tracking.set_alias(CHAMPION, newest)
    lose_version(product, 1)


STATES: dict[str, tuple[int, Callable[[Product], object]]] = {
    "the alias was moved": (1, lambda p: (register(p, "r9"), p.tracking.set_alias(CHAMPION, p.tracking.version(2)))),
    "the alias was taken away": (1, lambda p: registered.drop_alias(p.tracking, CHAMPION)),
    "nobody knows why it is champion": (0, unexplained),
    "the champion's artefact is gone": (2, lambda p: lose_artefact(p, 2)),
    "and there is no previous one": (1, lambda p: (only_candidate(p), lose_artefact(p, 1))),
    "the champion's version is gone": (2, lambda p: lose_version(p, 2)),
    "and another has its alias": (1, usurped),
    "a line is gone": (1, lambda p: lose_line(p, 1, both=False)),
    "a line and its number are gone": (1, lambda p: lose_line(p, 1, both=True)),
}


def hints(product: Product) -> list[str]:
    found = [one.hint for one in doctor.examine(product.registrar, ["onnx-int8"]) if one.fault and one.mend is None]
    found += [f"ftcore doctor {product.name} --fix" for one in doctor.examine(product.registrar) if one.mend]
    try:
        served.champion(product.shelf, product.tracking)
    except FtcoreError as error:
        found.append(error.hint)
    return found


@pytest.mark.parametrize("state", STATES)
def test_what_a_hint_names_works(
    state: str, made: Callable[[int], Product], ftcore: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions, change = STATES[state]
    product = made(versions)
    change(product)
    tried = list[str]()
    while commands := [command for hint in hints(product) for command in COMMAND.findall(hint)]:
        words = shlex.split(commands[0].replace("'…'", "'it has to go on'"))[1:]
        done = ftcore(*words)
        assert done.returncode == 0 or words[0] == "doctor", (commands[0], done.stderr)
        tried.append(commands[0])  # one thing hides another
        assert tried.count(commands[0]) < 3, "hints do not go round in a circle"
    assert tried
    assert served.champion(product.shelf, product.tracking)
    assert [hint for hint in hints(product) if "restore it" not in hint] == []


def test_without_another_version_none_is_named(made: Callable[[int], Product]) -> None:
    product = made(1)
    for ask in (lambda: product.registrar.rollback("mira", "why"), lambda: product.registrar.reject(1, "mira", "why")):
        with pytest.raises(FtcoreError) as told:
            ask()
        assert "train=always" in told.value.hint
    lose_artefact(product, 1)
    (hint,) = [one.hint for one in doctor.examine(product.registrar, ["onnx-int8"])]
    assert not COMMAND.findall(hint)
    register(product, "r2")
    with pytest.raises(FtcoreError) as told:
        product.registrar.rollback("mira", "why")
    assert f"models promote {product.name} 2 --override" in told.value.hint


def test_what_is_previous_is_no_reason_to_roll_back(made: Callable[[int], Product]) -> None:
    product = made(2)
    lose_artefact(product, 1)
    (hint,) = [one.hint for one in doctor.examine(product.registrar, ["onnx-int8"])]
    assert "models rollback" not in hint


def test_a_version_that_nobody_promoted_inherits_nothing(made: Callable[[int], Product]) -> None:
    product = made(1)
    usurped(product)
    doctor.mend(product.registrar)
    with pytest.raises(FtcoreError, match="no ledger line promoted it: it must not serve"):
        served.champion(product.shelf, product.tracking)

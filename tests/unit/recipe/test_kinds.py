"""A kind is a file of its name, and nothing else has to be edited."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from ftcore.evaluation.gates.threshold import Threshold
from ftcore.recipe import kinds as find

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
from ftcore.recipe import kinds, reading
read = reading.parse({document})
print(read.gates[0].kind, kinds.find("gates", "sobriety").__file__)
"""


def test_a_file_put_into_a_room_is_a_kind(tmp_path: Path, minimal: dict[str, object]) -> None:
    gates = tmp_path / "ftcore" / "evaluation" / "gates"
    shutil.copytree(find.PACKAGE, tmp_path / "ftcore", ignore=shutil.ignore_patterns("__pycache__"))
    for path in gates.glob("[a-z]*.py"):
        path.unlink()
    template = (gates / "_template.py").read_text(encoding="utf-8")
    (gates / "sobriety.py").write_text(template.replace("NAME", "sobriety"), encoding="utf-8")
    code = CODE.format(document=minimal | {"gates": [{"kind": "sobriety", "minimum": 0.5}]})
    # The folder that a command is given with -c starts in comes before every other.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split() == ["sobriety", str(gates / "sobriety.py")], done.stderr


def test_kinds_are_sorted_and_private_files_are_none() -> None:
    for room in find.ROOMS:
        kinds = find.kinds(room)
        assert list(kinds) == sorted(kinds)
        assert kinds
        assert not [kind for kind in kinds if kind.startswith("_")]


def test_an_unknown_kind_is_told_the_known_ones() -> None:
    with pytest.raises(LookupError) as error:
        find.find("gates", "mood")
    assert str(error.value) == f"gates has no kind 'mood'; known: {', '.join(find.kinds('gates'))}"


@pytest.mark.parametrize("kind", ["_template", "__init__", "../recipe", "threshold.os"])
def test_only_kinds_can_be_found(kind: str) -> None:
    with pytest.raises(LookupError):
        find.find("gates", kind)


def test_a_config_is_frozen_and_strict() -> None:
    config = Threshold(minimum=0.5)
    with pytest.raises(ValidationError, match="frozen"):
        config.minimum = 0.1
    with pytest.raises(ValidationError, match="finite"):
        Threshold(minimum=float("nan"))

"""The drawing of the layers is checked, not remembered: ``[tool.importlinter]`` in ``pyproject.toml``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ftcore import settings


def test_imports_run_one_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=settings.REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout

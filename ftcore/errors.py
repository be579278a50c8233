"""Every error that ftcore raises on purpose.

::

    FtcoreError                         1   a surprise with a name: fail, no retry
    ├ RecipeError(ValueError)           2   lists every fault at once, each with its path in the YAML
    ├ MissingExtraError(ImportError)    2   names the extra or package to install
    ├ NotFoundError(LookupError)        2   a file, a folder, a model or a dataset that is named and is not there
    ├ ConfigurationError(ValueError)    2   a setting of this machine that is missing or cannot be read
    ├ DataRejectedError                 3   at most 10 failures shown, the full report by path
    │ └ EmptyFileError                  3   a file without a row; a warning where it is one of several
    ├ NotEnoughDataError                3   says how many rows there are and how many it takes
    ├ DamagedFileError(ValueError)      1   a file of the store that is not what was written there; with its path
    │ └ ChangedArtefactError            1   a model whose bytes are not those that were promoted; it is not used
    ├ TrainingError · ExportError       1   what a framework could not do, in our words
    │                 └ ParityError     1   an export gives other outputs than the model, or depends on the batch
    └ TransientError                   75   a second try may succeed: Airflow retries
      ├ AwayError                      75   MLflow, a store, a source's server or the hub does not answer
      ├ StoppedError                   75   stopped by a signal; what was done is kept, the next try goes on
      └ BusyError                      75   another run holds what this one needs

The number is the process's exit code; 75 is ``EX_TEMPFAIL`` of sysexits.h. A *verdict* that says no is not an error
but a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

SHOWN_FAILURES = 10
_LOGIN = re.compile(r"(?<=://)[^/\s'\"@]*:[^/\s'\"]*@")


def without_passwords(text: object) -> str:
    """Text fit for a log: ``***`` in place of user and password of any address in it."""
    return _LOGIN.sub("***@", str(text))


class FtcoreError(Exception):
    """Root of the tree. ``hint`` says what to do about it."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the message and the hint apart, so that scripts can show either; no address keeps its password."""
        super().__init__(without_passwords(message))
        self.hint = hint

    def __str__(self) -> str:
        """The message, then what to do on a line of its own."""
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


class RecipeError(FtcoreError, ValueError):
    """A recipe that cannot be used. ``faults`` holds ``(yaml path, message)`` for every fault found."""

    exit_code = 2

    def __init__(
        self, recipe: str, faults: Sequence[tuple[str, str]], hint: str = "", lines: Mapping[str, int] | None = None
    ) -> None:
        """List all faults, one a line, each with its line in the file where ``lines`` has it by its path."""
        self.recipe, self.faults, self.lines = recipe, list(faults), lines or {}
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        shown = [f"  {self._where(path)}{message}" for path, message in self.faults]
        super().__init__("\n".join([f"{recipe}: {count}", *shown]), hint)

    def at(self, lines: Mapping[str, int], recipe: str = "") -> RecipeError:
        """The same faults with their lines, and the file's name where it is given."""
        return RecipeError(recipe or self.recipe, self.faults, self.hint, lines)

    def line(self, path: str) -> int | None:
        """The line of a key, or of the part of the recipe that lacks it; None where nobody knows."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)

    def _where(self, path: str) -> str:
        line = self.line(path)
        return f"{f'line {line}: ' if line else ''}{path}: " if path else ""


class MissingExtraError(FtcoreError, ImportError):
    """A package has to be installed first."""

    exit_code = 2


class NotFoundError(FtcoreError, LookupError):
    """What a recipe or a command names is not there: a file, a folder, a model, a dataset."""

    exit_code = 2


class ConfigurationError(FtcoreError, ValueError):
    """A setting of this machine, such as a connection or a secret, is missing or cannot be read."""

    exit_code = 2


class DataRejectedError(FtcoreError):
    """Data that must not be trained on. Shows a few failures; the whole report lies at ``report``."""

    exit_code = 3

    def __init__(self, message: str, failures: Sequence[str] = (), report: str = "", hint: str = "") -> None:
        """Show at most ten failures and where the rest is."""
        lines = [message, *(f"  - {failure}" for failure in failures[:SHOWN_FAILURES])]
        if len(failures) > SHOWN_FAILURES:
            lines.append(f"  … and {len(failures) - SHOWN_FAILURES} more")
        if report:
            lines.append(f"  report: {report}")
        self.report = report
        super().__init__("\n".join(lines), hint)


class EmptyFileError(DataRejectedError):
    """A file without a row: a warning where it is one of several."""


class NotEnoughDataError(FtcoreError):
    """Too few rows to do what was asked honestly."""

    exit_code = 3


class DamagedFileError(FtcoreError, ValueError):
    """A file that ftcore wrote, or needs, and cannot make sense of: truncated, empty or changed."""


class ChangedArtefactError(DamagedFileError):
    """An artefact whose bytes are not those that were promoted, or recorded when it was logged."""


class TrainingError(FtcoreError):
    """Training cannot go on and would not on a second try."""


class ExportError(FtcoreError):
    """A model could not be exported, or its export could not be loaded."""


class ParityError(ExportError):
    """An export whose outputs are not the model's, or depend on what else is in the batch."""


class TransientError(FtcoreError):
    """A second try may succeed."""

    exit_code = 75
    retryable = True


class AwayError(TransientError):
    """A service does not answer. ``waited`` where the patience of the step was used up on it already."""

    def __init__(self, message: str, hint: str = "", *, waited: bool = False) -> None:
        """As any error of ours."""
        super().__init__(message, hint)
        self.waited = waited


class StoppedError(TransientError):
    """The process was stopped by a signal, and what it had done by then is kept."""


class BusyError(TransientError):
    """Another run holds the lock."""

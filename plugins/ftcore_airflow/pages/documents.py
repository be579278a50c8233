"""What a person takes away of a version: its model card, and its evidence as one file."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from ftcore.compliance import evidence
from ftcore.compliance.evidence import Archive
from ftcore.reports import card
from ftcore.tracking import registered
from ftcore.tracking.client import Tracking
from ftcore_airflow.pages import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

    from ftcore.settings import Settings

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in an archive, so that the same evidence gives the same bytes."""


def place_of(settings: Settings, name: str) -> Archive:
    """Where a recipe's runs and versions are kept, whether or not its file can be read today."""
    return Archive(reading.shelf_of(settings, name), Tracking(settings, name))


def card_of(settings: Settings, name: str, number: int) -> Markup:
    """The model card of a version, as HTML without any that its text holds.

    Raises:
        FtcoreError: no such version.
        TransientError: MLflow does not answer.
    """
    place = place_of(settings, name)
    version = registered.version(place.tracking, number)
    return as_html(card.card(place.shelf, version).split("\n---\n", 1)[-1])


def as_html(markdown: str) -> Markup:
    """Markdown as HTML: markup in the text is shown as text, headings stand below the page's own."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(markdown)
    _demote(tokens)
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704 - made without the text's own markup


def _demote(tokens: Sequence[Token]) -> None:
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    down = 2 - min(levels, default=2)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + down)}"


def evidence_of(settings: Settings, name: str, number: int, folder: Path) -> Path:
    """The evidence of a version as one archive.

    Args:
        settings: of this process.
        name: of the recipe.
        number: the version.
        folder: an empty local folder, which the caller deletes.

    Returns:
        The archive, ``RECIPE-vNUMBER-evidence.zip`` in the folder.

    Raises:
        FtcoreError: no such version.
        TransientError: MLflow does not answer.
    """
    name, place = f"{name}-v{number}-evidence", place_of(settings, name)
    made = folder / name
    evidence.collect(place, number, made, settings.signing_key)
    archive = folder / f"{name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(one for one in made.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(f"{name}/{path.relative_to(made).as_posix()}", EPOCH)
            entry.external_attr = 0o644 << 16
            file.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive


def workspace() -> Path:
    """A folder of this machine for one download."""
    return Path(tempfile.mkdtemp(prefix="ftcore-evidence-"))

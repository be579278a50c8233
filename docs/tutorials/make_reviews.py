"""Write the data of the tutorials: product reviews that people rated, from the archive that ``make setup`` fetches.

``python docs/tutorials/make_reviews.py FOLDER`` writes ``reviews.csv`` (labelled history), ``new.csv`` (reviews that
come in later, without labels) and ``labels.csv`` (what people said of these afterwards).
"""

from __future__ import annotations

import csv
import html
import io
import os
import sys
import tarfile
from pathlib import Path

HOME = Path(os.environ.get("FTCORE_HOME", Path(__file__).resolve().parents[2] / ".ftcore"))
ARCHIVE, INNER = "vaderSentiment-3.3.2.tar.gz", "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
REVIEWS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
NEW = 300


def rows() -> list[tuple[str, str, str, str]]:
    """Id, product, text and label of each review with a clear rating; every 200th gets a way to reach its author."""
    with tarfile.open(HOME / "cache" / "assets" / ARCHIVE) as outer:
        inner = io.BytesIO(outer.extractfile(INNER).read())  # type: ignore[union-attr]
    with tarfile.open(fileobj=inner) as archive:
        text = archive.extractfile(REVIEWS).read().decode("utf-8", "replace")  # type: ignore[union-attr]
    found = []
    for line in text.splitlines():
        key, rating, review = line.split("\t", 2)
        if abs(float(rating)) >= 0.5:
            contact = f" Mail me: customer{len(found)}@example.org." if len(found) % 200 == 0 else ""
            label = "praise" if float(rating) > 0 else "complaint"
            found.append((f"R{key}", f"P{key.partition('_')[0]}", html.unescape(review) + contact, label))
    return found


def write(file: Path, header: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    """Write a CSV file."""
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([header, *lines])
    print(f"{file}: {len(lines):,} rows")


def main(folder: Path) -> None:
    """Write the three files; four reviews have a label that the task does not know, as happens."""
    folder.mkdir(parents=True, exist_ok=True)
    old, new = rows()[:-NEW], rows()[-NEW:]
    old[10:14] = [(key, product, text, "unclear") for key, product, text, _ in old[10:14]]
    write(folder / "reviews.csv", ("review_id", "product", "review", "category"), list(old))
    write(folder / "new.csv", ("request_id", "product", "review"), [row[:3] for row in new])
    write(folder / "labels.csv", ("request_id", "category"), [(row[0], row[3]) for row in new])


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The demo's data: sentences that people rated for sentiment, shipped with the vaderSentiment source distribution.

C.J. Hutto and E. Gilbert (2014), *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text*, ICWSM-14. MIT licence. Four collections: movie reviews, tweets, Amazon reviews, New York Times editorials;
each sentence has the mean of 20 ratings between -4 and 4.
"""

from __future__ import annotations

import html
import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ftcore.data import snapshot
from ftcore.data.sources._base import Source
from ftcore.errors import NotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from ftcore.context import Context

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {
    "movie": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
GROUPED = {"amazon", "nyt"}
"""Collections whose ids are ``item_sentence``: sentences of one item belong together."""


class Vader(Source):
    """One collection, as rows labelled ``positive`` or ``negative``, or as sentences with the one that follows."""

    EXAMPLE: ClassVar[dict[str, Any]] = {"kind": "vader", "domain": "nyt", "max_rows": 50}

    kind: Literal["vader"] = "vader"
    domain: Literal["movie", "tweets", "amazon", "nyt"]
    """Which of the four collections."""
    min_rating: Annotated[float, Field(ge=0, le=4)] = 0.5
    """Sentences whose mean rating is closer to 0 than this are neither positive nor negative, and left out."""
    instruction: str = ""
    """For tasks that write: the text is a sentence, the label the sentence that follows it in the same item, and this
    the context. All sentences take part then, whatever their rating."""

    @model_validator(mode="after")
    def _sentences_follow_one_another(self) -> Vader:
        if self.instruction and self.domain not in GROUPED:
            raise ValueError(f"only sentences of {' and '.join(sorted(GROUPED))} follow one another")
        return self

    def source_name(self) -> str:
        """Name that the rows of this source carry."""
        return f"vader:{self.domain}:continued" if self.instruction else f"vader:{self.domain}"

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """Rows of one collection, in the order of their row ids.

        Raises:
            NotFoundError: the archive is not in the cache.
        """
        import pyarrow as pa

        lines = _lines(_ground_truth(self.domain, context))
        made = self._continued(lines) if self.instruction else self._rated(lines)
        rows = sorted(made, key=lambda row: row["row_id"])
        yield pa.Table.from_pylist(rows, schema=snapshot.schema())

    def _rated(self, lines: Iterable[tuple[str, float, str]]) -> Iterator[dict[str, Any]]:
        source = self.source_name()
        for number, (key, rating, text) in enumerate(lines, 1):
            if abs(rating) < self.min_rating:
                continue
            yield {
                "row_id": snapshot.row_id(source, key),
                "text": text,
                "label": "positive" if rating > 0 else "negative",
                "source": source,
                "group": f"{source}:{key.split('_')[0]}" if self.domain in GROUPED else None,
                **self._origin(key, number),
            }

    def _continued(self, lines: Iterable[tuple[str, float, str]]) -> Iterator[dict[str, Any]]:
        """A sentence and the one after it; a gap in an item's numbers joins nothing."""
        source = self.source_name()
        texts = {tuple(map(int, key.split("_"))): (line, text) for line, (key, _, text) in enumerate(lines, 1)}
        for (item, number), (line, text) in texts.items():
            if (item, number + 1) not in texts:
                continue
            yield {
                "row_id": snapshot.row_id(source, f"{item}_{number}"),
                "text": text,
                "context": self.instruction,
                "label": texts[item, number + 1][1],
                "source": source,
                "group": f"vader:{self.domain}:{item}",
                **self._origin(f"{item}_{number}", line),
            }

    def _origin(self, key: str, line: int) -> dict[str, str]:
        """The collection's own id of a sentence, and where it stands."""
        return {"source_id": key, "origin": f"{FILES[self.domain]}, line {line}"}


def _lines(file: io.BytesIO) -> Iterator[tuple[str, float, str]]:
    """Key, mean rating and text of each sentence, in the order of the file's lines."""
    for line in file:
        # The files are UTF-8 with a few broken bytes; those become U+FFFD, which the suite quarantines.
        key, rating, text = line.decode("utf-8", errors="replace").rstrip("\r\n").split("\t", 2)
        yield key, float(rating), html.unescape(text)


def _ground_truth(domain: str, context: Context) -> io.BytesIO:
    archive = context.settings.cache / "assets" / ARCHIVE
    if not archive.is_file():
        raise NotFoundError(
            f"the demo's data is not at {archive}",
            hint="make setup fetches it; or: pip download --no-deps --no-binary :all: vaderSentiment==3.3.2",
        )
    with tarfile.open(archive) as outer:
        name = next(n for n in outer.getnames() if n.endswith(INNER))
        inner = outer.extractfile(name)
        assert inner is not None, "a regular file of the archive"
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as data:
            name = next(n for n in data.getnames() if n.endswith(FILES[domain]))
            member = data.extractfile(name)
            assert member is not None, "a regular file of the archive"
            return io.BytesIO(member.read())

"""What is mended, and that the quick way gives what ftfy gives."""

from __future__ import annotations

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftcore.data.cleaning.normalise import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafÃ© &amp; bar", "café & bar"),
        ("  a\t b\r\nc ", "a b c"),
        ("a\x00b\x1bc", "abc"),
        (None, ""),
        (" \n ", ""),
    ],
)
def test_text_is_mended(text: str | None, expected: str) -> None:
    assert clean(text) == expected


def test_lines_and_indentation_stay_where_they_mean_something() -> None:
    code = "\n\ndef f():  \r\n    return &quot;caf\u00c3\u00a9&quot;\t\n"
    assert clean(code, lines=True) == "def f():\n    return &quot;café&quot;"


@pytest.mark.parametrize(
    "text", ["print(“x”)", "if (a &lt; b &amp;&amp; c) { s = ‘it’; }", "「全角」，ＡＢＣ！", "ﬁne", "e\u0301"]
)
def test_what_was_written_stays_where_it_is_no_mojibake(text: str) -> None:
    assert clean(text, lines=True) == text


@given(
    st.text(max_size=40) | st.text(alphabet="Ã©â€œ™Â&amp;lt;<>“”\n \t\xa0ab", max_size=30), st.booleans(), st.booleans()
)
def test_what_is_clean_stays(text: str, lines: bool, entities: bool) -> None:
    once = clean(text, lines=lines, entities=entities)
    assert clean(once, lines=lines, entities=entities) == once


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60))
def test_the_quick_way_is_ftfys_way(text: str) -> None:
    config = ftfy.TextFixerConfig(unescape_html="auto", explain=False)
    assert clean(text) == " ".join(ftfy.fix_text(text, config).split())


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60) | st.text(" a&;<\t", max_size=12))
def test_the_quick_way_is_ftfys_way_where_lines_stay(text: str) -> None:
    config = ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        normalization=None,
    )
    lines = [line.rstrip() for line in ftfy.fix_text(text, config).splitlines()]
    assert clean(text, lines=True) == "\n".join(lines).strip("\n")

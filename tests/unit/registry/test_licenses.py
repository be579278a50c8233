"""What a base model's card says of its licence, whatever somebody wrote there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftcore.registry import licenses


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("license: mit\nlanguage: [en, de]", {"license": "mit", "language": ["en", "de"]}),
        ("license: mit\ndate: 2024-13-45", {}),
        ("license: mit\nother: &a [*a]", {"license": "mit"}),
        ("license: &a [*a]", {}),
        ("license: mit\n2024-01-02: x", {"license": "mit"}),
        ("license: mit\nlanguage: {a: b}", {"license": "mit"}),
        ("license: mit\nother: " + "[" * 20_000, {}),
        ("license: mit\n? [a, {b: c}]\n: d", {}),
        ("license: 2024-01-02", {}),
        ("license: !!python/object:os.system x", {}),
        ("license: mit\nlanguage: no", {"license": "mit"}),
        ("- license", {}),
        ("license: [", {}),
        ("", {}),
    ],
)
def test_a_card_of_whatever_shape_says_what_can_be_read(head: str, said: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / licenses.CARD).write_text(f"---\n{head}\n---\n# A model", encoding="utf-8")
    found = licenses.of_base("some-org/some-base", tmp_path)
    assert {name: value for name, value in found.items() if name in ("license", "language") and value} == said
    assert (found["stated_in"] is not None) == ("license" in said)


def test_a_card_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / licenses.CARD).write_text("---\nlicense: mit\ndate: 2024-13-45\n---\n", encoding="utf-8")
    licenses.of_base("some-org/some-base", tmp_path)
    assert "its head cannot be read: ValueError: month must be in 1..12" in caplog.text

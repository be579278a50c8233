"""Markup as a row may hold it, and what a page of it may not have: an element, a handler or a script of the row's."""

from __future__ import annotations

from html.parser import HTMLParser

MARK = "m4rk"
"""Stands in every piece, so that whatever comes of it is told from the page's own."""
PIECES = (
    f"<script>alert('{MARK}')</script>",
    f'<img src="{MARK}" onerror="alert(1)">',
    f"</script></style></title></textarea><b onclick='alert(1)' id={MARK}>",
    f"'\"><svg/onload=alert('{MARK}')>",
    f"[{MARK}](javascript:alert(1)) ![{MARK}](https://{MARK}.example/x.png)",
    f"{{{{7*7}}}} ${{7*7}} {{% raw %}} $value $$PARAMETER <!-- {MARK} -->",
    f"[red]{MARK}[/red] [/] [link=https://{MARK}.example]x[/link]",
    f"<a href='javascript:alert(1)'>{MARK}</a> &lt;i&gt;{MARK} <{MARK}>",
)
ROW = " ".join(PIECES)


class Elements(HTMLParser):
    """Everything of a page that a row must not have made, as a browser reads it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = self.get_starttag_text() or ""
        values = dict(attrs)
        if tag == MARK or MARK in (values.get("id"), values.get("src")):
            self.faults.append(said)
        for name, value in attrs:
            if MARK in name or (name.startswith("on") and "alert" in (value or "")):
                self.faults.append(said)
            if name in ("href", "src", "action") and (value or "").strip().lower().startswith("javascript:alert"):
                self.faults.append(said)
            if name in ("href", "src") and f"//{MARK}." in (value or ""):
                self.faults.append(said)

    def handle_comment(self, data: str) -> None:
        if MARK in data:
            self.faults.append(f"<!--{data[:80]}")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and f"alert('{MARK}')" in data[: len(f"alert('{MARK}')") + 20]:
            self.faults.append(f"<script>{data[:80]}")
        self.text.append(data)
        if self.cdata_elem is None:
            self.outside.append(data)


def faults(page: str) -> list[str]:
    """Elements, handlers, links and scripts that came from a row; what a browser would run or load."""
    read = Elements()
    read.feed(page)
    read.close()
    return read.faults


def text(page: str) -> str:
    """All text of a page, that of scripts included."""
    read = Elements()
    read.feed(page)
    read.close()
    return "".join(read.text)


def outside_scripts(page: str) -> str:
    """Text of a page that stands in no script or style."""
    read = Elements()
    read.feed(page)
    read.close()
    return "".join(read.outside)

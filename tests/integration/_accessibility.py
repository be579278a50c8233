"""What axe-core finds on a page in light and dark, wide and narrow, and a walk through it by keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = {"desk": 1280, "phone": 390}
FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
RULES = {"target-size": {"enabled": True}}
"""What is asked beyond axe-core's own choice."""
MOST_STOPS = 400
MARK = """selector => {
  const seen = [...document.querySelectorAll(selector)].filter(one => one.checkVisibility());
  seen.forEach((one, place) => one.dataset.place = place);
  return seen.map(one => one.outerHTML.slice(0, 120));
}"""
STOP = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one), box = one.getBoundingClientRect();
  const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const inside = box.bottom > 0 && box.top < innerHeight;
  return {place: Number(one.dataset.place ?? -1), shown, inside, html: one.outerHTML.slice(0, 120)};
}"""


def faults(page: Page) -> list[str]:
    """All that axe-core finds wrong, in both colour schemes and at both widths: rule, elements, what to do."""
    from axe_playwright_python.sync_playwright import Axe

    found, size = [], page.viewport_size
    for scheme in ("light", "dark"):
        for name, width in WIDTHS.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            said = Axe().run(page, options={"resultTypes": ["violations"], "rules": RULES}).response["violations"]
            found += [f"{page.url} ({scheme}, {name}): {fault}" for one in said for fault in _told(one)]
            if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                found.append(f"{page.url} ({name}): {wide} pixels wide, {width} are shown")
    if size:
        page.set_viewport_size(size)
    return found


def _told(violation: dict[str, Any]) -> list[str]:
    return [f"{violation['id']}: {node['html'][:160]} {node['failureSummary']}" for node in violation["nodes"]]


def stumbles(page: Page) -> list[str]:
    """What goes wrong on a walk through the page with the tab key: places left out, jumps, focus that nobody sees."""
    page.emulate_media(reduced_motion="reduce")  # else what was jumped to is still on its way
    there = page.evaluate(MARK, FOCUSABLE)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    found, places = [], []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if (stop := page.evaluate(STOP)) is None or stop["place"] in places[:-1]:
            break
        if places[-1:] == [stop["place"]]:  # a date has a place for each of its parts
            continue
        places.append(stop["place"])
        found += [] if stop["shown"] else [f"{page.url}: no ring around {stop['html']}"]
        found += [] if stop["place"] >= 0 else [f"{page.url}: nothing that takes the focus by itself: {stop['html']}"]
        found += [] if stop["inside"] else [f"{page.url}: out of sight: {stop['html']}"]
    if places != sorted(places):
        found.append(f"{page.url}: focus jumps: {places}")
    return found + [f"{page.url}: never reached: {one}" for place, one in enumerate(there) if place not in places]

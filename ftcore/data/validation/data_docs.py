"""Make Data Docs pages readable with no network.

Great Expectations' pages load their style sheets and scripts from public hosts. Inside a closed network the index then
lists nothing, because a script draws it, and reading a report elsewhere would tell those hosts about it. So what is
external goes, and a small style sheet and script, written for these pages, take its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ftcore.data.validation.markup import as_entities

if TYPE_CHECKING:
    from pathlib import Path

EXTERNAL = re.compile(
    r"""<link\b[^>]*\bhref="https?:[^>]*>|<script\b[^>]*\bsrc="https?:[^>]*></script>|<img\b[^>]*\bsrc="https?:[^>]*>"""
    r"""|<footer>.*?</footer>""",
    re.DOTALL,
)
IMAGE = re.compile(r"""url\(["']?https?:[^)]*\)""")
MARK = "<!-- ftcore: needs no network -->"

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 2rem 3rem;color:#222;background:#fff}
a{color:#0b5394;text-decoration:none} a:hover{text-decoration:underline}
nav.navbar{height:auto!important;border-bottom:1px solid #ddd;padding:.6rem 0}
.breadcrumb{display:flex;list-style:none;gap:.6rem;margin:0;padding:0}
.breadcrumb-item+.breadcrumb-item:before{content:"/ "}
body>.container-fluid>.row{display:flex;gap:2rem;align-items:flex-start}
body>.container-fluid>.row>:first-child{flex:0 0 15rem} body>.container-fluid>.row>:nth-child(2){flex:1;min-width:0}
.ge-section{margin-bottom:1rem} .sticky{top:1rem!important}
.card{border:1px solid #ddd;border-radius:6px;margin:0 0 1rem} .card-header{background:#f4f6f8;padding:.4rem .7rem}
.card-body{padding:.5rem .7rem} .nav{list-style:none;padding:0;margin:0} .nav-tabs{display:none}
.alert{background:#f4f6f8;border-left:4px solid #9ab;padding:.5rem .8rem;margin:.8rem 0} h4,h5,h6{margin:.2rem 0}
h5{font-size:1.05rem} h6{font-size:.95rem} table{border-collapse:collapse;margin:.4rem 0}
td,th{border:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top;max-width:40rem;
  overflow-wrap:break-word}
th{background:#f4f6f8;white-space:nowrap} td .table td,td .table th{padding:.15rem .4rem;font-size:.9em}
[hidden]{display:none} .badge{background:#e8eef4;border-radius:4px;padding:0 .3rem;margin:0 .1rem}
.collapse:not(.show){display:none} ul{margin:.2rem 0} .fas:before{font-style:normal;font-weight:bold}
.fa-check-circle:before{content:"\\2713";color:#17703a} .fa-times:before{content:"\\2717";color:#b3261e}
.fa-exclamation-triangle:before{content:"!";color:#a15c00} button{display:none}
label.btn{margin-right:.6rem;cursor:pointer}
"""

SCRIPT = """
class Found {
  constructor(nodes) { this.nodes = nodes.filter(Boolean); }
  ready(run) { run(); return this; }
  on() { return this; }
  tooltip() { return this; }
  parent() { return new Found([...new Set(this.nodes.map(n => n.parentElement))]); }
  each(run) { this.nodes.forEach((n, i) => run(i, n)); return this; }
  fadeIn() { return this.each((i, n) => { n.hidden = false; }); }
  fadeOut() { return this.each((i, n) => { n.hidden = true; }); }
  bootstrapTable(given) {
    const table = this.nodes[0];
    if (!table || typeof given !== "object") return this;
    const key = row => row["_" + given.sortName + "_sort"] ?? row[given.sortName];
    const rows = [...given.data].sort((a, b) => (key(a) > key(b) ? 1 : -1) * (given.sortOrder === "desc" ? -1 : 1));
    const head = table.createTHead().insertRow();
    given.columns.forEach(c => { head.appendChild(document.createElement("th")).textContent = c.title; });
    const body = table.createTBody();
    rows.forEach(row => {
      const line = body.insertRow();
      given.columns.forEach((column, i) => {
        const cell = line.insertCell();
        cell.innerHTML = row[column.field] ?? "";
        if (column.field === "validation_success") cell.append(" " + (row._validation_success_text ?? ""));
        cell.querySelectorAll(".top").forEach(n => n.remove());
        if (row._table_row_link_path && !cell.querySelector("a")) {
          const link = document.createElement("a");
          link.href = row._table_row_link_path;
          link.append(...cell.childNodes);
          cell.append(link);
        }
      });
    });
    return this;
  }
}
window.$ = window.jQuery = what =>
  new Found(typeof what === "string" ? [...document.querySelectorAll(what)] : what === document ? [document] : [what]);
document.addEventListener("click", event => {
  const link = event.target.closest('[data-toggle="collapse"]');
  if (!link) return;
  event.preventDefault();
  document.getElementById((link.getAttribute("href") || link.dataset.target).slice(1))?.classList.toggle("show");
});
"""


def make_offline(page: Path) -> None:
    """Rewrite a page of Data Docs so that it loads nothing from outside, and a row's markup is text; once is enough."""
    text = page.read_text(encoding="utf-8")
    if MARK in text:
        return
    head = f"{MARK}\n<style>{STYLE}</style>\n<script>{SCRIPT}</script>\n"
    # First in the head: the page's own scripts run as they are read and expect `$` to be there.
    text = IMAGE.sub("none", EXTERNAL.sub("", text)).replace("<head>", f"<head>\n{head}", 1)
    page.write_text(as_entities(text), encoding="utf-8")

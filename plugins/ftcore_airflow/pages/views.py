"""The pages that are read: thin routes from a request to a template."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from ftcore import settings
from ftcore.errors import DamagedFileError, FtcoreError
from ftcore.recipe.model import NAME
from ftcore.store import ledger
from ftcore.store.store import RUN_ID, run_name
from ftcore_airflow.pages import (
    access,
    actions,
    decisions,
    diff,
    documents,
    examples,
    exports,
    history,
    overview,
    proofs,
    reading,
    reports,
    runs,
    version,
    versions,
)
from ftcore_airflow.pages.access import Permitted, User
from ftcore_airflow.pages.rendering import page as _page
from ftcore_airflow.pages.rendering import to as _to

if TYPE_CHECKING:
    from ftcore.store.store import RecipeStore

LEDGER_WAIT_S = 0.1
"""How long the page of all ledgers waits for their checks, in seconds: enough for short ones, others show next time."""
STATIC = File(__file__).parent / "static"
FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
RunId = Annotated[str, Path(pattern=RUN_ID.pattern.replace(r"\Z", "$"))]
Number = Annotated[int, Path(ge=1, le=10**9)]
OptionalNumber = Annotated[str, Query(pattern=r"^([1-9][0-9]{0,8})?$")]
PageNumber = Annotated[int, Query(ge=1, le=10**6)]
Word = Annotated[str, Query(max_length=100)]


def show_overview(request: Request, user: User, q: Word = "", page: PageNumber = 1) -> Response:
    """All models and their state."""
    conf, trouble = settings.load(), list[str]()
    found = overview.names(conf, trouble)
    mine = {name: found[name] for name in access.readable(user, found)}
    view = overview.overview(conf, mine, access.questions(mine), query=q, page=page, trouble=trouble)
    return _page(request, "overview.html", view=view, q=q)


def _wanted(
    recipe: Word = "",
    step: Word = "",
    outcome: Word = "",
    person: Word = "",
    version: Annotated[str, Query(pattern=r"^([1-9][0-9]{0,8})?$")] = "",
) -> decisions.Wanted:
    number = int(version) if version else None
    return decisions.Wanted(recipe, step, outcome, person, number)


def _filter(
    wanted: Annotated[decisions.Wanted, Depends(_wanted)],
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
    page: PageNumber = 1,
) -> decisions.Wanted:
    """What the address asks to see of the ledger."""
    return replace(wanted, first=_day(first), last=_day(last), page=page)


Filter = Annotated[decisions.Wanted, Depends(_filter)]


def show_ledger(request: Request, user: User, wanted: Filter) -> Response:
    """The ledger with filters, and whether it holds."""
    conf = settings.load()
    names = access.readable(user, [one.name for one in reading.products(conf)])
    chosen = [name for name in names if wanted.recipe in ("", name)]
    found = _proofs([reading.shelf_of(conf, name) for name in chosen])
    view = decisions.decisions(conf, names, wanted)
    export = bool(access.exportable(user, chosen))
    return _page(request, "ledger.html", view=view, proofs=found, export=export)


def _proofs(shelves: Sequence[RecipeStore]) -> list[proofs.Proof]:
    if len(shelves) == 1:
        return [proofs.of(shelves[0])]
    return list(proofs.of_all(shelves, wait_s=LEDGER_WAIT_S).values())


def export_ledger(user: User, wanted: Filter, form: Annotated[str, Path(pattern="^(csv|json)$")]) -> Response:
    """All lines that the filter takes, as a file."""
    conf = settings.load()
    names = access.readable(user, [one.name for one in reading.products(conf)])
    chosen = access.exportable(user, [name for name in names if wanted.recipe in ("", name)])
    if not chosen:
        raise HTTPException(403, "You may not export the ledger: this needs the permission to read a DAG's audit log.")
    lines = decisions.lines_of(conf, chosen, wanted)
    text, kind = (exports.as_csv(lines), "text/csv") if form == "csv" else (exports.as_json(lines), "application/json")
    headers = {"Content-Disposition": f'attachment; filename="ledger.{form}"'}
    return Response(text, media_type=f"{kind}; charset=utf-8", headers=headers)


def show_model(request: Request, user: User, recipe: Permitted, page: PageNumber = 1) -> Response:
    """One model with its versions."""
    product = _product(recipe)
    view = versions.versions(settings.load(), product, page)
    asked = access.questions([recipe]).get(recipe, [])
    proof = _compared(recipe, view.state, set(view.state.aliases.values()))
    offers = [] if view.trouble else actions.offered(product, view.state, access.rights(user, recipe), [(None, None)])
    return _page(request, "model.html", view=view, questions=asked, offers=offers, proof=proof)


def _compared(recipe: str, state: actions.State, versions: Collection[int]) -> proofs.Proof:
    """Whether the ledger holds, and registry and records agree with it about some versions."""
    conf = settings.load()
    return proofs.of_versions(conf, reading.shelf_of(conf, recipe), state.head, versions)


def show_history(request: Request, recipe: Permitted) -> Response:
    """Quality and drift over time."""
    return _page(request, "history.html", view=history.history(settings.load(), _product(recipe)))


def show_version(request: Request, user: User, recipe: Permitted, number: Number, form: Word = "") -> Response:
    """One version beside the one it was compared with."""
    view = version.version(settings.load(), _product(recipe), number, form)
    open_ones = access.questions([recipe]).get(recipe, [])
    question = next((one for one in open_ones if one.run == view.facts["run_id"]), None)
    run_url = access.run_url(recipe, view.facts["run_id"])
    rights = access.rights(user, recipe)
    about = [(number, question), *([(None, None)] if "champion" in view.facts["aliases"] else [])]
    offers = actions.offered(view.product, view.state, rights, about)
    proof = _compared(recipe, view.state, {number})
    values: dict[str, Any] = {
        "question": question,
        "run_url": run_url,
        "offers": offers,
        "rights": rights,
        "proof": proof,
    }
    return _page(request, "version.html", view=view, **values)


def show_compare(
    request: Request, recipe: Permitted, before: OptionalNumber = "", after: OptionalNumber = ""
) -> Response:
    """Two versions, whichever are chosen."""
    wanted = [int(one) if one else None for one in (before, after)]
    view = diff.difference(settings.load(), _product(recipe), *wanted)
    return _page(request, "compare.html", view=view)


def show_examples(
    request: Request, recipe: Permitted, number: Number, show: Word = "", dataset: Word = "", page: PageNumber = 1
) -> Response:
    """Rows on which the two disagree."""
    product, conf = _product(recipe), settings.load()
    found = version.facts(conf, product, number)
    shelf = reading.shelf_of(conf, recipe)
    view, trouble = None, ""
    try:
        if found["run_id"]:
            view = examples.examples(shelf, product, found["run_id"], kind=show, dataset=dataset, page=page)
    except (FtcoreError, OSError, ValueError) as error:
        trouble = f"The predictions cannot be read: {error}."
    kinds = examples.KINDS
    return _page(request, "examples.html", product=product, number=number, view=view, trouble=trouble, kinds=kinds)


def show_card(request: Request, recipe: Permitted, number: Number) -> Response:
    """The model card."""
    product, conf = _product(recipe), settings.load()
    version.facts(conf, product, number)
    card, trouble = "", ""
    try:
        card = documents.card_of(conf, recipe, number)
    except DamagedFileError as error:
        trouble = str(error)
    return _page(request, "card.html", product=product, number=number, card=card, trouble=trouble)


def download_evidence(recipe: Permitted, user: User, number: Number) -> Response:
    """The evidence of a version, collected now, as one archive."""
    if not access.rights(user, recipe).export:
        needed = f"this needs the permission to read the audit log of {access.dag_of(recipe)}"
        raise HTTPException(403, f"You may read the pages of {recipe}, but not download its evidence: {needed}.")
    product, conf = _product(recipe), settings.load()
    version.facts(conf, product, number)
    folder = documents.workspace()
    clean = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        archive = documents.evidence_of(conf, recipe, number, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(archive, media_type="application/zip", filename=archive.name, background=clean)


def show_run(request: Request, recipe: Permitted, run_id: RunId) -> Response:
    """What the steps of a run said."""
    product, conf = _product(recipe), settings.load()
    view = runs.run(reading.shelf_of(conf, recipe), run_id)
    verb = view.verb if view.verb in ("data", "finetune", "monitor") else "finetune"
    run_url = access.run_url(recipe, run_id, verb)
    return _page(request, "run.html", product=product, view=view, run_url=run_url)


def show_decision(request: Request, recipe: Permitted, run_id: RunId, answered: Word = "") -> Response:
    """What the ledger says of one run, or of one decision of a person."""
    lines = [line for line in ledger.lines(reading.shelf_of(settings.load(), recipe)) if line["run_id"] == run_id]
    shown = [decisions.shaped({**line, "recipe": recipe}) for line in lines]
    if answered:
        shown = [line for line in shown if line["kind"] == "approve"]
    proof = proofs.of(reading.shelf_of(settings.load(), recipe))
    values: dict[str, Any] = {"lines": shown, "run_id": run_id, "answered": bool(answered), "proof": proof}
    return _page(request, "decision.html", product=_product(recipe), **values)


def show_report(request: Request, recipe: Permitted, run_id: RunId, kind: str) -> Response:
    """A report in a frame of its own."""
    return _page(request, "report.html", product=_product(recipe), run_id=run_id, report=_report(recipe, run_id, kind))


def show_report_content(recipe: Permitted, run_id: RunId, kind: str) -> Response:
    """The report itself, which may do nothing but draw."""
    report = _report(recipe, run_id, kind)
    return Response(
        report.path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": reports.POLICY}
    )


def show_dag(request: Request, user: User, dag_id: str) -> Response:
    """The tab of a DAG: its model."""
    return _to(request, f"/models/{_recipe_of(dag_id, user)}")


def show_dag_run(request: Request, user: User, dag_id: str, run_id: str) -> Response:
    """The tab of a DAG run: the version that it made, else what its steps said."""
    recipe, verb = _recipe_of(dag_id, user), dag_id.partition("__")[0]
    name = run_name(verb, run_id)
    found = runs.run(reading.shelf_of(settings.load(), recipe), name)
    evaluated = any(step.name == "evaluate" and step.record for step in found.steps)
    if found.version and evaluated:
        return _to(request, f"/models/{recipe}/versions/{found.version}")
    return _to(request, f"/models/{recipe}/runs/{name}")


def show_file(name: str) -> Response:
    """The style sheet, the script and the icon."""
    if name not in FILES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "private, max-age=600"})


ROUTES: dict[str, Callable[..., Response]] = {
    "/": show_overview,
    "/ledger": show_ledger,
    "/ledger/export.{form}": export_ledger,
    "/models/{recipe}": show_model,
    "/models/{recipe}/compare": show_compare,
    "/models/{recipe}/history": show_history,
    "/models/{recipe}/versions/{number}": show_version,
    "/models/{recipe}/versions/{number}/examples": show_examples,
    "/models/{recipe}/versions/{number}/card": show_card,
    "/models/{recipe}/versions/{number}/evidence.zip": download_evidence,
    "/models/{recipe}/runs/{run_id}": show_run,
    "/models/{recipe}/decisions/{run_id}": show_decision,
    "/models/{recipe}/runs/{run_id}/reports/{kind}": show_report,
    "/models/{recipe}/runs/{run_id}/reports/{kind}/content": show_report_content,
    "/dags/{dag_id}": show_dag,
    "/dags/{dag_id}/runs/{run_id:path}": show_dag_run,
    "/static/{name}": show_file,
}


def _product(recipe: str) -> reading.Product:
    conf = settings.load()
    product = reading.product(conf, recipe)
    there = (conf.recipes / f"{recipe}.yaml").is_file() or reading.shelf_of(conf, recipe).root.exists()
    if not there:
        raise HTTPException(404, f"There is no model called {recipe}.")
    return product


def _recipe_of(dag_id: str, user: Any) -> str:
    verb, _, recipe = dag_id.partition("__")
    if verb not in ("data", "finetune", "monitor") or not NAME.match(recipe):
        raise HTTPException(404, f"{dag_id} is none of ftcore's DAGs, so there is no model to show.")
    return access.permitted(recipe, user)


def _report(recipe: str, run_id: str, kind: str) -> reports.Report:
    if kind not in reports.KINDS:
        raise HTTPException(404, "There is no such report.")
    report = reports.find(reading.shelf_of(settings.load(), recipe), kind, run_id)
    if report is None:
        raise HTTPException(404, f"Run {run_id} has left no {kind} report.")
    return report


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None

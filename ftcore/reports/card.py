"""What people read about a version: its model card, in Hugging Face's format, and the request to approve it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftcore.data import snapshot
from ftcore.errors import DamagedFileError, DataRejectedError
from ftcore.recipe.sections import NAME_RECALL, NAMED, PATTERN_RECALL
from ftcore.registry import approvals, declared, licenses, versions
from ftcore.registry.metric_titles import title
from ftcore.registry.verdict import brief, notes, outcome
from ftcore.reports import card_head
from ftcore.reports.rendering import markdown
from ftcore.statistics.intervals import percent
from ftcore.store.slots import ACKNOWLEDGE
from ftcore.store.store import read_json
from ftcore.store.times import moment
from ftcore.tracking import registered, runs

if TYPE_CHECKING:
    from ftcore.context import Context
    from ftcore.registry.declared import Declared
    from ftcore.store.store import RecipeStore
    from ftcore.tracking.client import Tracking, Version

ARTEFACT = "card"
NONE = "–"
"""Where there is no number."""
MARKS = {True: "✔", False: "✘", None: "?"}
DESCRIPTION_LENGTH = 5000
"""Longest description that MLflow's database takes."""
COSTS = ("co2", "cost", "energy", "emission")


def publish(shelf: RecipeStore, tracking: Tracking, version: Version) -> str:
    """Write the version's card: as artefact ``card/README.md`` of its run and as the version's description.

    What the recipe declares is told as the version's run went by it, whatever became of the recipe since.

    Returns:
        The card, as Markdown with a YAML head.
    """
    text = card(shelf, version)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        tracking.log_folder(version.run, Path(folder), ARTEFACT)
    body = text.split("\n---\n", 1)[-1].lstrip()
    more = "\n\n… the whole card is the run's artefact `card/README.md`"
    short = body if len(body) <= DESCRIPTION_LENGTH else body[: DESCRIPTION_LENGTH - len(more)] + more
    registered.describe(tracking, version.number, short)
    return text


def card(shelf: RecipeStore, version: Version) -> str:
    """A version's model card: a YAML head that Hugging Face's tools read, then Markdown.

    Raises:
        DamagedFileError: a record or file of the version's run is not what its step wrote.
    """
    from huggingface_hub import ModelCard

    try:
        known = facts(shelf, version)
        data, body = card_head.head(shelf.name, known), markdown("card.md.jinja", **known)
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        what = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        run = version.tags.get("ftcore.run", "")
        hint = f"restore the files of run {run} from a backup; ftcore doctor {shelf.name} names what was changed"
        raise DamagedFileError(f"the card of version {version.number} cannot be made: {what}", hint=hint) from error
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def request(context: Context, version: Version) -> str:
    """What a person is shown before they approve, as Markdown."""
    known = facts(context.shelf, version)
    missing = approvals.lacking(known["answers"], context.recipe.approval)
    links = _links(context, version, known)
    return markdown("request.md.jinja", **known, waits=missing, links=links)


def _links(context: Context, version: Version, known: Mapping[str, Any]) -> dict[str, str]:
    """Where to read on: pages where the caller said in the parameter ``pages`` where they are, else paths."""
    name, pages = context.recipe.name, context.params.get("pages", "").rstrip("/")
    validation = known["manifest"].get("run_id", "")
    links = {"Everything about it": f"`ftcore models show {name} {version.number}`"}
    if pages:
        links = {"The model's page": f"{pages}/models/{name}/versions/{version.number}"}
    left = {"Snapshot report": ("snapshot", known["report"]), "Validation report": ("validation", known["docs"])}
    for what, (kind, path) in left.items():
        if path:
            in_store = f"`{path}` in the store"
            links[what] = f"{pages}/models/{name}/runs/{validation}/reports/{kind}" if pages else in_store
    return links | ({"MLflow run": run} if (run := runs.page(context.settings, name, version.run)) else {})


def facts(shelf: RecipeStore, version: Version) -> dict[str, Any]:
    """All that card and request show of a version, from its run's recipe and records and from its tags."""
    recipe = declared.of_version(shelf, version.tags)
    run_id = version.tags.get("ftcore.run", "")
    records = {step: shelf.record(run_id, step) if run_id else None for step in ("train", "evaluate")}
    figures = {step: record.figures if record else {} for step, record in records.items()}
    manifest = _manifest(shelf, version.snapshot)
    validated = shelf.record(manifest["run_id"], "validate") if manifest.get("run_id") else None
    # The record holds what the next steps need; slices, differences and opinions are in the file alone.
    evaluated = figures["evaluate"] | (_left(shelf, run_id, "evaluate", "evaluation.json"))
    verdict = _left(shelf, run_id, "gate", "verdict.json")
    flavour = next(iter(evaluated.get("metrics", {}).get("candidate", {})), "")
    training = records["train"]
    return {
        "name": recipe.name,
        "unknown": recipe.unknown,
        "description": recipe.of("description"),
        "task": recipe.of("task.kind"),
        "method": recipe.of("method.kind"),
        "base": recipe.of("base"),
        "version": version,
        "run_id": run_id,
        "state": _state(version, versions.although(shelf.ledger("promote"), version.number)),
        "labels": recipe.of("task.labels", ()),
        "sources": sorted(manifest.get("sources", {})),
        "manifest": manifest,
        "personal": _personal(manifest),
        "languages": recipe.of("card.languages") or recipe.of("prepare.languages", ()),
        "licenses": licenses.told(recipe, figures["train"].get("base_license")),
        "docs": validated.paths.get("data_docs", "") if validated else "",
        "report": validated.paths.get("report", "") if validated else "",
        "training": figures["train"],
        "commit": version.tags.get("ftcore.git_commit", ""),
        "flavour": flavour,
        "metrics": _named(_metrics(evaluated.get("metrics", {}), flavour), recipe, evaluated),
        "slices": _named(_slices(evaluated.get("slices", {})), recipe, evaluated),
        "differences": _named(_rows(evaluated.get("differences", {}).get(flavour, {})), recipe, evaluated),
        "opinion": _opinion(evaluated.get("judge")),
        "general": _general(evaluated.get("general_text")),
        "verdict": verdict,
        "outcome": outcome(verdict),
        "notes": notes(verdict),
        "rules": [_rule(rule) for rule in verdict.get("rules", ())],
        "limits": _limits(recipe, figures, verdict),
        "costs": _costs(figures, training.work_s if training else None),
        "answers": approvals.given(shelf, version),
        "acknowledged": [f"{line['reason']} ({moment(line['at'])}, {line['by']})" for line in _acknowledged(shelf)],
        "nobody": "The recipe requires no approval."
        if recipe.of("approval.required", 1) == 0
        else "There are no answers yet.",
    }


def _acknowledged(shelf: RecipeStore) -> list[dict[str, Any]]:
    """Lines of the ledger that say what of it, or of what it seals, is lost or was changed."""
    return [line for line in shelf.ledger(ACKNOWLEDGE) if line["decision"] == "acknowledged"]


def _left(shelf: RecipeStore, run_id: str, step: str, name: str) -> dict[str, Any]:
    """A file that a step of the run left; empty where there is none."""
    return (read_json(shelf.folder(run_id, step) / name) if run_id else None) or {}


def _state(version: Version, although: str) -> str:
    if decided := versions.decided_against(version):
        return f"**{decided[0].upper()}{decided[1:]}.**"
    if promoted := version.tags.get("ftcore.promoted_at"):
        by = version.tags.get("ftcore.promoted_by", "the loop")
        told = f", **by override, although: {although}**" if although else ""
        return f"Promoted on {promoted[:16].replace('T', ' ')} UTC by {by}{told}."
    return "Not promoted."


def _manifest(shelf: RecipeStore, identity: str) -> dict[str, Any]:
    try:
        return snapshot.manifest(shelf, identity) if identity else {}
    except DataRejectedError:
        return {}


def _metrics(metrics: Mapping[str, Any], flavour: str) -> list[dict[str, Any]]:
    """One row for each part and metric of the form that serves, with the champion's value beside it."""
    theirs = metrics.get("champion", {}).get(flavour, {})
    rows = _rows(metrics.get("candidate", {}).get(flavour, {}))
    for row in rows:
        row["champion"] = _number((theirs.get(row["part"], {}).get(row["metric"]) or {}).get("value"))
    return rows


def _named(rows: list[dict[str, Any]], recipe: Declared, evaluated: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows whose metrics say which class they are about."""
    task = {**recipe.of("task", {}), **({"labels": labels} if (labels := evaluated.get("labels")) else {})}
    return [{"title": title(row["metric"], task), **row} for row in rows]


def _personal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What personal data was looked for, found and done with, and what share of such data is found."""
    counts, looked = manifest.get("personal_data", {}), manifest.get("removed_entities", ())
    settings = (manifest.get("settings") or {}).get("prepare", {}).get("personal_data", {})
    done = {"mask": "masked", "pseudonym": "given a pseudonym", "drop_row": "its row left out", "keep": "kept"}
    actions = {**dict.fromkeys(looked, "mask"), **settings.get("entities", {})}
    found = [f"{name} {count:,} ({done.get(actions.get(name, 'mask'), 'masked')})" for name, count in counts.items()]
    return {
        "looked": list(looked),
        "found": found,
        "not_found": [name for name in looked if name not in counts],
        "by_pattern": [name for name in looked if name not in NAMED],
        "by_model": [name for name in looked if name in NAMED],
        "model": settings.get("model", ""),
        "recall": {"pattern": f"{PATTERN_RECALL:.2%}", "model": f"{NAME_RECALL:.0%}"},
    }


def _slices(slices: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = _rows({name: found.get("candidate", {}) for name, found in slices.items()})
    for row in rows:
        champion = slices[row["part"]].get("champion", {}).get(row["metric"]) or {}
        row |= {"part": f"slice {row['part']}", "champion": _number(champion.get("value"))}
    return rows


def _opinion(judge: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a judge said of the answers; None where nobody was asked."""
    if not judge:
        return None
    counts = {name: f"{judge[name]:,}" for name in ("rows", "wins", "ties", "losses", "undecided")}
    rates = {name: judge.get(name) or {} for name in ("win_rate", "agreement")}
    shown = {name: {"value": _number(one.get("value")), "interval": _interval(one)} for name, one in rates.items()}
    return {"model": judge["model"], "host": judge["host"], **counts, **shown}


def _general(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One row for each model that the candidate was compared with on general texts, and metric."""
    if not found:
        return []
    metrics, differences = found["metrics"], found["differences"]
    return [
        {
            "role": role,
            "metric": metric,
            "candidate": _number(metrics["candidate"][metric]["value"]),
            "theirs": _number(metrics[role][metric]["value"]),
            "difference": _number(change["value"]),
            "interval": _interval(change),
            "rows": f"{found['rows']:,}",
        }
        for role, changes in differences.items()
        for metric, change in changes.items()
    ]


def _rows(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``{part: {metric: estimate}}`` as rows of a table; what is no estimate is left out."""
    return [
        {
            "part": part,
            "metric": metric,
            "number": None if estimate["value"] is None else round(estimate["value"], 4),
            "value": _number(estimate["value"]),
            "interval": estimate.get("undefined") or _interval(estimate),
            "rows": _rows_and_groups(estimate),
        }
        for part, estimates in parts.items()
        for metric, estimate in estimates.items()
        if isinstance(estimate, Mapping) and (estimate.get("value") is not None or estimate.get("undefined"))
    ]


def _rows_and_groups(found: Mapping[str, Any]) -> str:
    """Rows, and groups where they differ from rows: ``1,120`` or ``1,120 (97 groups)``."""
    rows, groups = found.get("rows") or 0, found.get("groups")
    return f"{rows:,}" + (f" ({groups:,} groups)" if groups is not None and groups != rows else "")


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "mark": MARKS.get(rule.get("passed"), "?"),
        "gate": rule.get("gate", ""),
        "measured": _number(rule.get("measured")),
        "bound": _number(rule.get("bound")),
        "interval": _with_level(rule),
        "rows": _rows_and_groups(rule),
        "reason": rule.get("reason", ""),
        "short": brief(rule.get("reason", "")),
    }


def _limits(recipe: Declared, figures: Mapping[str, Mapping[str, Any]], verdict: Mapping[str, Any]) -> list[str]:
    """What the numbers do not tell, as far as the records know it."""
    said = ["Texts unlike the sources above, other languages among them, were not judged."]
    rows = figures["evaluate"].get("rows", {})
    if isinstance(rows, Mapping) and rows:
        said.append(f"Judged on {', '.join(f'{count:,} rows of {part}' for part, count in rows.items())}.")
    if small := [part for part, count in (rows.items() if isinstance(rows, Mapping) else ()) if count < 100]:
        said.append(f"Fewer than 100 rows of {', '.join(small)}: those numbers say little.")
    if longest := recipe.of("train.max_length_tokens"):
        said.append(f"Texts beyond {longest:,} tokens are cut.")
    undecided = [rule["gate"] for rule in verdict.get("rules", ()) if rule.get("passed") is None]
    return said + ([f"Undecided for want of rows: {', '.join(undecided)}."] if undecided else [])


def _costs(figures: Mapping[str, Mapping[str, Any]], trained_s: float | None) -> dict[str, str]:
    costs = {"training": "unknown" if trained_s is None else f"{trained_s:,.0f} s"}
    if (attempts := figures["train"].get("attempts")) and trained_s is not None:
        seconds = figures["train"]["worked_s"]
        costs["training"] = f"{seconds:,.0f} s in {len(attempts)} attempts; energy, CO2e and cost are those of all"
    for name, size in (figures["evaluate"].get("latency") or {}).items():
        if isinstance(size, Mapping) and "p50_ms" in size:
            costs[f"one text with {name}"] = (
                f"{size['p50_ms']:g} ms, {size.get('p95_ms', math.nan):g} ms at the 95th percentile"
            )
    for step in ("train", "evaluate"):
        costs |= {key.replace("_", " "): f"{value:g}" for key, value in figures[step].items() if _is_cost(key, value)}
    if ratios := figures["train"].get("actual_vs_estimated"):
        said = (f"{name.replace('_', ' ')} {share:.0%}" for name, share in ratios.items())
        costs["actual vs. estimated"] = ", ".join(said)
    return costs


def _is_cost(key: str, value: object) -> bool:
    return isinstance(value, int | float) and any(word in key.lower() for word in COSTS)


def _number(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.4g}"


def _interval(estimate: Mapping[str, Any]) -> str:
    """Both ends of an interval; where there is none, why: one group shows no variation, and neither do equal ones."""
    ends = [estimate.get(end) for end in ("low", "high")]
    if estimate.get("value") is None and ends == [None, None]:  # a rule without an interval, such as one about size
        return NONE
    if all(end is not None and math.isfinite(end) for end in ends):
        return f"{_number(ends[0])} to {_number(ends[1])}"
    groups = estimate.get("groups") if estimate.get("groups") is not None else estimate.get("rows")
    single = "a single row" if (estimate.get("rows") or 0) <= 1 else "a single group"
    return f"{NONE} ({single if groups is not None and groups < 2 else 'nothing varies'})"


def _with_level(rule: Mapping[str, Any]) -> str:
    """A rule's interval with the level that it has, which depends on the gate and on earlier looks."""
    text = _interval(rule)
    if text.startswith(NONE):
        return text
    level = rule.get("level")
    return f"{text} ({percent(level) if level is not None else 'its level was not written down'})"

"""What ties the files of a folder of evidence together: each names the hashes of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftcore.data.erasures import Erasure, between
from ftcore.recipe.canonical import sha256
from ftcore.store.files import as_json
from ftcore.store.ledger import acknowledged, walk
from ftcore.store.records import LINK
from ftcore.store.run_recipe import INPUT
from ftcore.store.slots import ACKNOWLEDGE, Slot, number, read

ERASURES, LEDGER, CHAIN = "erasures.json", "ledger.json", "ledger-chain.jsonl"
MANIFEST = "snapshot/manifest.json"
PAGES = {"data_docs": "validation/rows.html", "data_docs_as_a_whole": "validation/snapshot.html"}
"""Validation pages by the manifest's name of each."""
V1, V2 = "https://ftcore.dev/evidence/v1", "https://ftcore.dev/evidence/v2"
READ: dict[str, dict[tuple[str, str], str]] = {
    V1: {
        ("finetune/plan", "manifest"): MANIFEST,
        ("finetune/evaluate", "evaluation"): "evaluation.json",
        ("finetune/gate", "evaluation"): "evaluation.json",
    }
}
"""Which file of the folder a record's input is, by the format, the record's name and the input's."""
READ[V2] = READ[V1] | {
    ("finetune/plan", "request"): "records/monitor/decide.json",
    ("finetune/train", "environment"): "environment.lock",
    ("monitor/watch", "drift.html"): "drift/drift.html",
    ("monitor/watch", "drift.json"): "drift/drift.json",
}


class Link(NamedTuple):
    """One file that was made from another."""

    file: str
    """Name of the file in the folder."""
    earlier: str
    """What it was made from."""
    digest: str
    """SHA-256 that it then had."""


def recipe_file(chain: str) -> str:
    """Where the recipe lies that a chain's run went by."""
    return f"recipes/{chain}.json"


def faults(folder: Path, predicate: Mapping[str, Any], form: str = V2) -> list[str]:
    """Links that do not hold, a sentence each, in the order of the chain.

    Args:
        folder: of the evidence.
        predicate: of its statement: ``records``, the file of each record by its name, such as ``finetune/train``, and
            ``absent``, the names of files that were not there when it was collected, which are told anyway.
        form: of the evidence; a later one than this version knows is read like the last known.
    """
    try:
        return _faults(folder, predicate, form)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"the links cannot be followed: {type(error).__name__}: {error}"]


def erased(folder: Path) -> list[Erasure]:
    """What was erased on request before the evidence was collected.

    Raises:
        ValueError: the file is no list of erasures.
        TypeError: the same.
    """
    return [Erasure.model_validate(one) for one in _json(folder / ERASURES) or []]


def _faults(folder: Path, predicate: Mapping[str, Any], form: str) -> list[str]:
    hashes = {name: sha256((folder / name).read_bytes()) for name in names(folder)}
    erasures, absent = erased(folder), set(predicate.get("absent", ()))
    found = [f"{name} is no JSON" for name in hashes if name.endswith(".json") and _json(folder / name) is _BROKEN]
    for link in _links(folder, predicate.get("records") or {}, form):
        there = hashes.get(link.earlier)
        if there is None:
            if form != V1 and link.earlier not in absent:
                found.append(f"{link.file} was made from {link.earlier}, which is not here")
        elif not _leads(erasures, link.earlier, link.digest, there):
            found.append(f"{link.file} was made from another {link.earlier} than this one")
    found += _ledger(folder, predicate) if form != V1 else []
    return list(dict.fromkeys(found))


def concerns(line: Mapping[str, Any], about: Collection[Any]) -> bool:
    """Whether a line of the ledger is about one of some versions or runs; what was acknowledged is about all."""
    return line.get("kind") == ACKNOWLEDGE or any(line.get(key) in about for key in ("version", "candidate", "run_id"))


def _ledger(folder: Path, predicate: Mapping[str, Any]) -> list[str]:
    """Where the ledger's chain does not hold, or the lines about the version are not those of the chain."""
    if not (folder / CHAIN).is_file():
        return []
    recipe, keys = str(predicate.get("recipe")), frozenset(map(str, predicate.get("ledger_keys") or ()))
    numbers: dict[str, bytes] = {}
    for data in _objects((folder / CHAIN).read_bytes()):
        slot = read(data, recipe)
        numbers[number(slot.n) if slot else f"entry {len(numbers) + 1}"] = data
    chained: dict[int, Slot] = {}
    breaks = acknowledged(walk(recipe, numbers, keys, chained), chained)
    found = [f"{CHAIN}, {one}" for one in breaks if not (one.acknowledged or _is_lost(one.n, chained))]
    lines, about = _json(folder / LEDGER) or [], predicate.get("about") or []
    older = set(chained[0].line.get("lines", {}).values()) if 0 in chained else set()
    told = {line["n"]: line for line in lines if "n" in line}
    wanted = {n: slot.line for n, slot in chained.items() if n and concerns(slot.line, about)}
    for n in sorted({*told, *wanted}):
        if told.get(n) != wanted.get(n):
            what = "is not in" if n not in told else "is not the one of" if n in wanted else "does not belong in"
            found.append(
                f"{LEDGER}: line {n} of the ledger {what} {LEDGER if n not in wanted or n not in told else CHAIN}"
            )
    strange = [line for line in lines if "n" not in line and sha256(as_json(line)) not in older]
    return found + [f"{LEDGER}: a line of {line.get('at')} is in no chain" for line in strange]


def _is_lost(n: int | None, chained: Mapping[int, Slot]) -> bool:
    """Whether a signed line says that a number is lost: what lay there instead is not part of the evidence."""
    return n is not None and n not in chained and any(slot.goes_on_after(n) for slot in chained.values())


def _objects(data: bytes) -> Iterator[bytes]:
    """JSON objects that were written behind each other, each ending in a line with its closing brace alone."""
    for part in data.split(b"\n}\n"):
        if part.strip():
            yield part + b"\n}\n"


def names(folder: Path) -> list[str]:
    """Files and symbolic links below a folder, by their relative names."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _links(folder: Path, records: Mapping[str, str], form: str) -> Iterator[Link]:
    seal = folder / "snapshot" / "manifest.sha256"
    if seal.is_file():
        yield Link("snapshot/manifest.sha256", MANIFEST, seal.read_text(encoding="utf-8", errors="replace").strip())
    if form != V1:
        files = _texts(_json(folder / MANIFEST), "files")
        own = ((f"snapshot/{name}", digest) for name, digest in files.items() if (folder / "snapshot" / name).is_file())
        yield from (Link(MANIFEST, name, digest) for name, digest in own)
        pages = _texts(_json(folder / MANIFEST), "pages")
        yield from (Link(MANIFEST, PAGES[name], digest) for name, digest in pages.items() if name in PAGES)
    there = set(names(folder))
    for name, file in records.items():
        inputs = _texts(_json(folder / file), "inputs") if file in there else {}
        yield from (Link(file, earlier, inputs[key]) for key, earlier in _read(name, inputs, records, form))
    version = found if isinstance(found := _json(folder / "version.json"), dict) else {}
    wanted = {"verdict.json": version.get("verdict_sha256")}
    wanted |= {recipe_file("finetune"): version.get("recipe_sha256")} if form != V1 else {}
    yield from (Link("version.json", earlier, digest) for earlier, digest in wanted.items() if digest)


def _read(name: str, inputs: Mapping[str, str], records: Mapping[str, str], form: str) -> Iterator[tuple[str, str]]:
    """Which inputs of a record are files of the folder, each with the file's name."""
    chain, known = name.partition("/")[0], READ.get(form, READ[V2])
    for key in inputs:
        if key.startswith(LINK):
            step = f"{chain}/{key.removeprefix(LINK)}"
            if step in records or form != V1:
                yield key, records.get(step, f"records/{step}.json")
        elif (name, key) in known:
            yield key, known[name, key]
        elif key == INPUT and form != V1:
            yield key, recipe_file(chain)


def _leads(erasures: list[Erasure], file: str, then: str, there: str) -> bool:
    """Whether a file is as it was, or as erasures on request have left it."""
    page, name = file in PAGES.values(), Path(file).name
    places = {one.place for one in erasures if page or one.place.rpartition("/")[2] == name}
    return then == there or any(between(erasures, place, then, there) for place in places)


def _texts(document: Any, key: str) -> dict[str, str]:
    """A mapping of texts in a document; an empty one where something else stands there."""
    found = document.get(key) if isinstance(document, dict) else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


class _Broken(dict[str, Any]):
    """Stands for a file that is no JSON: it holds nothing."""


_BROKEN = _Broken()


def _json(path: Path) -> Any:
    """What a JSON file holds; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return _BROKEN

"""``ftcore backup``, ``restore`` and ``relocate``: a store on another disk or machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ftcore.cli._shared import AsJson, say


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, such as ftcore-2026-11-28.tar.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Put the private keys in, too: whoever has the file can sign with them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write store, MLflow's database and artefacts into one archive; a run may be at work meanwhile.

    Caches, logs and Airflow's own database are left out. Without --with-keys the restored ledger can be read and
    checked, but nothing is added to it before the key is there.

    Examples:

        ftcore backup /backups/ftcore-2026-11-28.tar

        ftcore backup /backups/ftcore-2026-11-28.tar --with-keys
    """
    from ftcore import settings
    from ftcore.compliance import backup as backups

    made = backups.make(settings.load(), file, private_keys=with_keys)
    if with_keys:
        say(f"! {file} holds private keys: keep it as you keep them")
    if not made["signed_by"]:
        say("! NOT SIGNED: the platform's private key is not here, and restore asks whose ledgers they are")
    told = f"{made['file']}: {made['files']:,} files, {made['size_bytes']:,} bytes, of {', '.join(made['recipes'])}"
    print(json.dumps(made, indent=2) if as_json else told)
    if made["signed_by"] and not as_json:
        print(f"signed by the key {made['signed_by']}: keep it elsewhere, restore asks for it")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What ftcore backup wrote.")],
    trust: Annotated[
        list[str] | None, typer.Option("--trust", metavar="KEY", help="A public key: its file, PEM, or 64 hex digits.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup back into FTCORE_HOME, which must hold no store yet; every file is checked first.

    It must be signed by the key of FTCORE_SIGNING_KEY or by one that --trust names: ftcore backup says which it is, and
    ftcore keys ls elsewhere. Exit 3 where the restored ledger does not hold: it was broken before the backup was made.

    Example:

        ftcore restore /backups/ftcore-2026-11-28.tar --trust platform.pem.pub   # with FTCORE_HOME=/new/home
    """
    from ftcore import settings
    from ftcore.compliance import restore as restores
    from ftcore.errors import DataRejectedError
    from ftcore.store import keys

    conf = settings.load()
    done = restores.restore(conf, file, frozenset(map(keys.named, trust or ())))
    told = f"{conf.home.resolve()}: {done['files']:,} files, of {', '.join(done['recipes'])}"
    print(json.dumps(done, indent=2) if as_json else told)
    if not done["signed_by"]:
        say("! the backup is not signed: what its ledgers do not say may have been changed by whoever could write it")
    if done["private_key"]:
        say(f"! the private key was not in the backup: until it is here nothing can be written; {done['private_key']}")
    if done["ledger"]:
        raise DataRejectedError("the restored ledger does not hold", done["ledger"])


def relocate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")] = False,
    old: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Root of the artefacts by the database; found by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Update the artefact locations in MLflow's database after FTCORE_HOME was copied or moved, all or none.

    Example:

        ftcore relocate --dry-run      # with FTCORE_HOME=/new/home in the environment
    """
    from dataclasses import replace

    from ftcore import settings
    from ftcore.compliance.backup import database_of
    from ftcore.errors import FtcoreError
    from ftcore.store import store
    from ftcore.tracking import places

    conf = settings.load()
    database = database_of(conf)
    found = places.moves(conf, database)
    if old is not None:
        root = places.artifact_root(conf)
        assert root is not None, "moves has looked"
        found = [replace(found[0], old=old.absolute())] if found else [places.Move(old.absolute(), root)]
    done = []
    for move in found:
        if not move.new.is_dir():
            hint = f"copy {move.old} there first, or set FTCORE_ARTIFACTS to where they are"
            raise FtcoreError(f"there are no artefacts in {move.new}", hint=hint)
        counts = places.relocate(database, move, dry_run=dry_run)
        if move.old_store and not dry_run:
            store.take_over_heads(conf, move.old_store)
        done.append({"from": str(move.old), "to": str(move.new), "locations": counts})
    if as_json:
        print(json.dumps({"moved": done, "dry_run": dry_run}, indent=2))
        return
    for one in done:
        what = ", ".join(f"{count:,} of {table}" for table, count in one["locations"].items()) or "none"  # type: ignore[attr-defined]
        print(f"{one['from']} → {one['to']}: {what} {'would be' if dry_run else 'are'} written anew")
    if not done:
        print("MLflow's database names no other place: nothing to do")

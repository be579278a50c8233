"""How many random changes by somebody else's hand are found, in real rings of a tiny model, their backups and copies.

Rings of ten shapes are turned, each also restored from its backup and copied to another path: nobody has touched
these, so whatever doctor, evidence, verify or promotion say of them is a false alarm. Then each change is made to one
of them, drawn at random, and taken back; what nobody found and what evidence does not claim otherwise is idle.
``FTCORE_TAMPER_CHANGES`` tells how many, ``FTCORE_BENCH_SEED`` which.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import _rings
from tests.bench._measure import Result, machine
from tests.bench._tampering import SURFACES, Ring, outcome, tampered

CHANGES = int(os.environ.get("FTCORE_TAMPER_CHANGES", "200"))
SEED = int(os.environ.get("FTCORE_BENCH_SEED", "20261128"))


@dataclass
class Count:
    """What became of the changes."""

    found: int = 0
    idle: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)


def run() -> Result:
    """Share of the changes of what evidence claims that were found; the baseline is 1, all of them."""
    logging.getLogger("ftcore").setLevel(logging.CRITICAL)
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        homes = _rings.everywhere(_rings.shapes(Path(folder)))
        for name, (home, _) in homes.items():
            count.alarms += [f"{name}: {one}" for one in _rings.alarms(home)]
        rings: dict[str, Ring] = {}
        for one in range(CHANGES):
            _change(homes, rings, one, count)
    claimed = count.found + len(count.missed)
    for what in ("missed", "unnamed", "alarms", "idle"):
        print(*(f"{what}: {one}" for one in getattr(count, what)), sep="\n", file=sys.stderr)
    note = (
        f"all of them; {CHANGES} changes from seed {SEED}, {count.found} found, {len(count.idle)} of nothing that "
        f"evidence claims, {len(count.missed)} missed; {len(count.unnamed)} times the first thing said was about "
        f"something else; {len(count.alarms)} false alarms on {len(homes)} rings that nobody touched, "
        "and after each change was taken back"
    )
    share = count.found / claimed if claimed else 0.0
    return Result("tamper", "share found, more is better", share, 1.0, share, CHANGES, 0, machine(), note)


def _change(homes: dict[str, tuple[_rings.Home, int]], rings: dict[str, Ring], one: int, count: Count) -> None:
    """Make one change to one of the rings, and look whether it is found, and whether all is well after it."""
    draw = random.Random(SEED * 1_000_003 + one)
    surface = SURFACES[one % len(SURFACES)]
    name = draw.choice([name for name in sorted(homes) if surface != "evidence" or homes[name][0].signs])
    home, number = homes[name]
    with home.entered() as registrar:
        if name not in rings:
            bundles = home.folder / "bundles"
            bundles.mkdir()
            older = home.older / "home" if home.older else None
            rings[name] = Ring.of(registrar, number, home.database, bundles, older)
        ring = rings[name]
        with tampered(ring, draw, surface) as change:
            seen, claims, said = outcome(ring, change)
        what = f"{name}: {change.surface}, {change.what}"
        count.found += seen
        if not seen:
            (count.missed if claims else count.idle).append(f"{what}{''.join(f': {one[:200]}' for one in said)}")
        elif not any(word in said[0] for word in change.names):
            count.unnamed.append(f"{what}: {said[0][:200]}")
        count.alarms += [f"{what}, and after it: {alarm}" for alarm in ring.found()]

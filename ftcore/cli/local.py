"""``ftcore up``, ``down`` and ``demo``: Airflow and MLflow on this machine."""

from __future__ import annotations

import json
import signal
import sys

from ftcore.cli._shared import AsJson, say


def up() -> None:
    """Start Airflow and MLflow on this machine, or those of their services that died, and print how to log in.

    Ports stay the same over restarts; FTCORE_AIRFLOW_PORT and FTCORE_MLFLOW_PORT choose them.

    Example:

        ftcore up
    """
    from ftcore import settings
    from ftcore.local import airflow_config, programs, services
    from ftcore.tracking import mlflow_login

    conf = settings.load()
    state = services.up(conf, progress=say)
    print(f"Airflow  {state.airflow_url}   user {state.user}, password {airflow_config.password(conf)}")
    if not programs.elsewhere(conf):
        print(f"MLflow   {state.mlflow_url}   user {mlflow_login.USER}, password in {mlflow_login.file(conf.home)}")
    print(f"logs     {conf.home / 'logs'}; stop all with: ftcore down")


def down() -> None:
    """Stop what `ftcore up` started, to the last process, once running trainings have written a checkpoint.

    Example:

        ftcore down
    """
    from ftcore import settings
    from ftcore.local import services

    print(f"ended {services.down(settings.load(), progress=say)} processes")


def demo(
    as_json: AsJson = False,
) -> None:
    """Turn the whole ring under a real Airflow, until drift has put a better model in production.

    Example:

        ftcore demo
    """
    from rich.console import Console

    from ftcore import settings
    from ftcore.demo import ring, summary
    from ftcore.store.store import write_json

    conf = settings.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the services are stopped then as well
    if aside := ring.make_room(conf):
        say(f"what was there is now in {aside}")
    turned = ring.turn(conf, "sentiment", say)
    found = summary.read(conf, "sentiment", turned)
    write_json(conf.home / "demo" / "summary.json", found)
    if as_json:
        print(json.dumps(found, indent=2, default=str))
    else:
        summary.show(found, Console())

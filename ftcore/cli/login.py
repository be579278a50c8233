"""``ftcore login``, ``logout`` and ``whoami``: who decides at this terminal, by Airflow."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ftcore.cli._shared import AsJson


def login(
    user: Annotated[str, typer.Option("--user", "-u", metavar="NAME", prompt="Airflow user", help="Name in Airflow.")],
    stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Log in with Airflow, so that what you decide at this terminal is yours; approvals need it.

    The password is prompted for and not stored. Airflow's token is, readable by you alone, until it ends.
    FTCORE_AIRFLOW_URL says where Airflow is, unless `ftcore up` started it here.

    Example:

        ftcore login --user mira
    """
    from ftcore import settings
    from ftcore.registry import login as logins

    conf = settings.load()
    logins.address(conf)  # before a password is asked for
    password = sys.stdin.readline().rstrip("\n") if stdin else typer.prompt("Password", hide_input=True, err=True)
    person = logins.log_in(conf, user, password)
    print(json.dumps({"user": person.name}) if as_json else f"logged in as {person.name}")


def logout() -> None:
    """Forget the login; what you decide then is noted under the user of this machine, which is no approval.

    Example:

        ftcore logout
    """
    from ftcore import settings
    from ftcore.registry import login as logins

    print("logged out" if logins.log_out(settings.load()) else "there was no login")


def whoami(as_json: AsJson = False) -> None:
    """Print in whose name this terminal decides, as Airflow says now.

    Example:

        ftcore whoami
    """
    from ftcore import settings
    from ftcore.registry import login as logins

    person = logins.whoever(settings.load())
    if as_json:
        print(json.dumps({"user": person.name, "logged_in": person.logged_in, "witness": person.witness}, indent=2))
        return
    print(person.name if person.logged_in else f"{person.name}: not logged in, so this name approves nothing")

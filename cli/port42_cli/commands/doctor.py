"""`port42 doctor`: what is wrong, what to do about it, and with --fix its repair."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import click

from port42_cli import streams
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, NoDaemon
from port42_protocol import PROTOCOL_VERSION
from port42_protocol.errors import MethodNotFound
from port42_protocol.version import __version__

_LOGS = "`port42 daemon logs` says more"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}", re.ASCII)

Progress = Callable[[int, int], None]


@click.command()
@click.option("--fix", is_flag=True, help="Repair what can be; what it changes is kept in backups first.")
@click.option("--json", "as_json", is_flag=True, help="Every finding as JSON.")
@click.pass_context
def doctor(ctx: click.Context, fix: bool, as_json: bool) -> None:
    """Look for what is wrong, and say what to do about it.

    It looks at the home and who may see it, the lock and the socket, every session, the index,
    config.toml, what answers for the agents, and whether the daemon has this shell's variables. Exit
    code 1 when something is wrong.
    """
    daemon: Daemon = ctx.obj
    try:
        with Client(daemon.connect) as client:
            found, backup = _examined(
                client, str(daemon.home), fix, terminal=streams.on_terminal() and not as_json
            )
    except NoDaemon as why:
        from port42_client import unreached

        found, backup = unreached.look(daemon, why), None
    healthy = not any(one["level"] == "problem" and not one["fixed"] for one in found)
    if as_json:
        streams.as_json({"healthy": healthy, "findings": found, "backup": backup})
    elif streams.on_terminal():
        from port42_cli.views import doctor_terminal
        from port42_cli.views import terminal as render

        render.show(doctor_terminal.findings(found, backup))
    else:
        from port42_cli.views import doctor_text

        streams.lines(doctor_text.findings(found, backup))
    ctx.exit(0 if healthy else 1)


def _examined(
    client: Client, home: str, fix: bool, *, terminal: bool
) -> tuple[list[dict[str, Any]], str | None]:
    """Every finding, and the folder where what was changed is kept."""
    found = _daemon(client, home)
    if not terminal:
        return _check(client, fix, found, lambda _examined, _all: None)
    from port42_cli.views.doctor_terminal import progress

    with progress("Reading sessions") as moved:
        return _check(client, fix, found, moved)


def _check(
    client: Client, fix: bool, found: list[dict[str, Any]], moved: Progress
) -> tuple[list[dict[str, Any]], str | None]:
    names = [name for name, value in os.environ.items() if value and _VARIABLE.fullmatch(name)]
    asked: dict[str, Any] = {"environment": names, "fix": fix}
    backup, examined = None, 0
    while True:
        try:
            said = client.ask("check_home", asked)
        except DaemonError as error:
            if error.code != MethodNotFound.code:
                raise
            what = "the daemon is older than `port42 doctor`, and cannot look at itself"
            return [*found, _said("problem", what, "`port42 daemon restart`")], None
        found += said["findings"]
        examined += said["examined"]
        backup = said["backup"] or backup
        moved(examined, examined + said["remaining"])
        if not said["next_cursor"]:
            if not any(one["about"] == "sessions" for one in found):
                found.append(_said("ok", f"{examined:,} files read whole", about="sessions"))
            return found, backup
        asked["cursor"] = said["next_cursor"]


def _daemon(client: Client, home: str) -> list[dict[str, Any]]:
    """That a daemon answers, and whether it is of our version and keeps our home."""
    try:
        status = client.ask("status")
    except DaemonError as error:
        return [_said("problem", f"it answers and cannot say how it is: {error.message}", _LOGS)]
    found = []
    if status["home"] != home:
        what = f"the daemon that answers keeps {status['home']}, and this shell's home is {home}"
        found.append(_said("notice", what, "let PORT42_HOME and PORT42_SOCKET name the same daemon"))
    if status["version"] != __version__:
        level = "notice" if status["protocol_version"] == PROTOCOL_VERSION else "problem"
        what = f"the daemon is version {status['version']}, and this is {__version__}"
        found.append(_said(level, what, "`port42 daemon restart` starts this one's"))
    here = f"version {status['version']}, pid {status['pid']}, home {status['home']}"
    return found or [_said("ok", here)]


def _said(level: str, what: str, do: str | None = None, about: str = "daemon") -> dict[str, Any]:
    return {"level": level, "about": about, "what": what, "do": do, "mendable": False, "fixed": False}

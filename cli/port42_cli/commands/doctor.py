"""`port42 doctor`: checks everything, says what to do, and repairs with --fix."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, NoDaemon
from port42_client.version import remedy
from port42_protocol import PROTOCOL_VERSION, __version__
from port42_protocol.counting import count
from port42_protocol.errors import MethodNotFound
from port42_protocol.messages.doctor_and_stats import CheckHome, Finding

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}", re.ASCII)


@click.command()
@click.option("--fix", is_flag=True, help="Repair what can be; what it changes is kept in backups first.")
@_shared.as_json("Every finding as JSON.")
@click.pass_context
def doctor(ctx: click.Context, fix: bool, as_json: bool) -> None:
    """Check everything, and say what to do about each problem.

    It checks the home and its permissions, the lock and the socket, every session, the index,
    config.toml, the agents' back ends, and whether the daemon has this shell's variables. Exit code 1
    when there are problems.
    """
    daemon: Daemon = ctx.obj
    try:
        with daemon.client() as client:
            findings = _daemon(client, str(daemon.home), daemon.host)
            shown = streams.on_terminal() and not as_json
            with views.progress("Reading sessions", shown=shown) as moved:
                backup = _check(client, fix, findings, moved)
    except NoDaemon as why:
        findings, backup = _unreached(daemon, why), None
    healthy = not any(finding.level == "problem" and not finding.fixed for finding in findings)
    if as_json:
        from msgspec import to_builtins

        streams.as_json({"healthy": healthy, "findings": to_builtins(findings), "backup": backup})
    else:
        from port42_cli.views import doctor as view

        views.show(view.findings(findings, backup))
    ctx.exit(0 if healthy else 1)


def _check(
    client: Client, fix: bool, findings: list[Finding], moved: Callable[[int, int], None]
) -> str | None:
    """Adds what the daemon finds; gives the folder where what was changed is kept, if so."""
    # The daemon of another machine is not to have this shell's variables.
    environ = os.environ if client.host is None else {}
    names = [name for name, value in environ.items() if value and _VARIABLE.fullmatch(name)]
    backup, examined = None, 0
    try:
        for checkup in client.pages(CheckHome(names, fix)):
            findings += checkup.findings
            examined += checkup.examined
            backup = checkup.backup or backup
            moved(examined, examined + checkup.remaining)
    except DaemonError as error:
        if error.code != MethodNotFound.code:
            raise
        what = "the daemon is older than `port42 doctor`, and cannot look at itself"
        findings.append(Finding("problem", "daemon", what, "`port42 daemon restart`"))
        return None
    if not any(finding.about == "sessions" for finding in findings):
        findings.append(Finding("ok", "sessions", f"{count(examined, 'file')} checked"))
    return backup


def _unreached(daemon: Daemon, why: NoDaemon) -> list[Finding]:
    if daemon.host is not None:
        return [Finding("problem", "daemon", why.message, " ".join(map(str.strip, why.advice)) or None)]
    from port42_client import unreached

    return unreached.look(daemon, why)


def _daemon(client: Client, home: str, host: str | None) -> list[Finding]:
    """That a daemon answers, and whether it is of our version and, on this machine, keeps our home."""
    try:
        # Not decoded: a daemon of another version is what is looked for.
        status = client.ask("status")
    except DaemonError as error:
        what = f"it answers and cannot say how it is: {error.message}"
        return [Finding("problem", "daemon", what, "`port42 daemon logs` says more")]
    findings = []
    theirs, version = status["home"], status["version"]
    if theirs != home and host is None:
        what = f"the daemon that answers keeps {theirs}, and this shell's home is {home}"
        do = "let PORT42_HOME and PORT42_SOCKET name the same daemon"
        findings.append(Finding("notice", "daemon", what, do))
    if version != __version__:
        what = f"the daemon is version {version}, and this is {__version__}"
        speaks = status["protocol_version"] == PROTOCOL_VERSION
        do = "`port42 daemon restart` starts this one's"
        if host is not None:
            do = remedy(version, None, host)
        findings.append(Finding("notice" if speaks else "problem", "daemon", what, do))
    return findings or [Finding("ok", "daemon", f"version {version}, pid {status['pid']}, home {theirs}")]

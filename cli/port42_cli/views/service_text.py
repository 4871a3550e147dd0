"""The service as text: the facts of its report, which a pipe gets a line each and a terminal as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from port42_cli.service.report import Report


def facts(report: Report) -> dict[str, str]:
    """Name and value of everything there is to say, in the order in which it is shown."""
    values = {
        "supervisor": report.supervisor,
        "installed": _yes(report.installed),
        "files": ", ".join(report.files) + ("" if report.current else _OTHERWISE) if report.files else None,
        "at login": "enabled" if report.enabled else "not enabled",
        "state": _state(report),
        "since": report.since if report.running else None,
        "program": report.program,
        "of this installation": _yes(report.this_installation) if report.program else None,
        "version": report.version,
        "watchdog": report.watchdog,
        "without a login": _yes(report.linger) if report.linger is not None else None,
        "socket": report.socket,
    }
    return {name: value for name, value in values.items() if value is not None}


_OTHERWISE = " (port42 service install would write them otherwise)"


def lines(report: Report) -> Iterator[str]:
    """A ``name: value`` line for each."""
    for name, value in facts(report).items():
        yield f"{name}: {value}"


def _state(report: Report) -> str:
    if report.running:
        return f"running (pid {report.pid})"
    return "waiting for the first connection" if report.listening else "not running"


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"

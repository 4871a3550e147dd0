"""The report on the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from port42_cli.plain_text import local_time
from port42_cli.views.parts import Field, Fields, Part

if TYPE_CHECKING:
    from port42_cli.service.report import Report


def report(service: Report) -> list[Part]:
    """The supervisor, whether the service is installed, and its state."""
    files = ", ".join(service.files)
    since = service.since if service.running else None
    outdated = " (port42 service install would write them otherwise)"
    fields = (
        Field("supervisor", service.supervisor),
        Field("installed", _yes(service.installed)),
        Field("files", files + ("" if service.current else outdated) if files else None),
        Field("at login", "enabled" if service.enabled else "not enabled"),
        Field("state", _state(service)),
        Field("since", since, shown=local_time(since, zone=True) if since else None),
        Field("program", service.program),
        Field("of this installation", _yes(service.this_installation) if service.program else None),
        Field("version", service.version),
        Field("watchdog", service.watchdog),
        Field("without a login", None if service.linger is None else _yes(service.linger)),
        Field("socket", service.socket),
    )
    return [Fields(fields)]


def _state(service: Report) -> str:
    if service.running:
        return f"running (pid {service.pid})"
    return "waiting for the first connection" if service.listening else "not running"


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"

"""The daemon's own facts at a terminal: a panel of them, and how long its methods take; once or live."""

from __future__ import annotations

import math
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import count, one_line
from port42_cli.views.status_text import duration, latency, size
from port42_protocol.messages.daemon import DaemonStatus, MethodLatency, Vitals

_BAR = 12
_FROM, _TO = 10, 10_000_000
"""Microseconds at the two ends of a bar, whose scale is logarithmic: two cells for each tenfold."""
_AGENTS = 6
_STARTED = {
    "systemd": "by systemd",
    "launchd": "by launchd",
    "autostart": "by the first command",
    "hand": "by hand",
}
_INDEX = {
    "rebuilding": "being counted: the index is rebuilt",
    "behind": "the index is behind",
    "unusable": "the index cannot be used",
}


def status(daemon: DaemonStatus) -> RenderableType:
    """All of it, in 80 columns."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(daemon).items():
        facts.add_row(Text(name, style="dim"), Text(one_line(value), overflow="fold"))
    for name, value in _troubles(daemon):
        facts.add_row(Text(name, style="red"), Text(one_line(value), overflow="fold"))
    panel = Panel(facts, title=f"port42d {one_line(daemon.version)}", title_align="left", border_style="dim")
    return Group(panel, _latencies(daemon.latencies)) if daemon.latencies else panel


class LiveStatus:
    """The same, drawn again in its place whenever it is known anew."""

    def __init__(self) -> None:
        self._live = Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> LiveStatus:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, daemon: DaemonStatus) -> None:
        """Draw it where the last one was."""
        self._live.update(status(daemon), refresh=True)


def _facts(daemon: DaemonStatus) -> dict[str, str]:
    facts = {"running": f"pid {daemon.pid}, up {duration(daemon.uptime_seconds)}"}
    if daemon.started_at:
        facts["running"] += f", since {daemon.started_at[:16].replace('T', ' ')} UTC"
    if daemon.started_by:
        facts["running"] += f", {_STARTED[daemon.started_by]}"
    if daemon.python:
        facts["python"] = daemon.python
    facts |= {"socket": daemon.socket, "home": daemon.home}
    if (vitals := daemon.vitals) is not None:
        if vitals.disk_free_bytes is not None:
            facts["home"] += f" ({size(vitals.disk_free_bytes)} free)"
        facts["process"] = _process(vitals)
    facts["sessions"] = _sessions(daemon)
    facts["serving"] = f"{count(daemon.connections, 'connection')}, {count(daemon.requests, 'request')}"
    if daemon.subscriptions is not None:
        facts["serving"] += f", {count(daemon.subscriptions, 'subscription')}"
    if daemon.bytes_in is not None and daemon.bytes_out is not None:
        facts["traffic"] = f"{size(daemon.bytes_in)} in, {size(daemon.bytes_out)} out"
    facts["turns"] = _turns(daemon)
    return facts


def _troubles(daemon: DaemonStatus) -> list[tuple[str, str]]:
    troubles = [("errors", f"{one.count:,} × {one.kind} ({one.code})") for one in daemon.errors[:_AGENTS]]
    for one in daemon.internal_errors:
        when = one.at[:19].replace("T", " ")
        troubles.append(("bug", f"{one.error_id} in {one.method or 'no method'}, {when} UTC; see the log"))
    if daemon.config_error:
        troubles.append(("config", daemon.config_error))
    return troubles


def _process(vitals: Vitals) -> str:
    parts = [f"peak {size(vitals.peak_bytes)}", count(vitals.threads, "thread")]
    if vitals.resident_bytes is not None:
        parts.insert(0, size(vitals.resident_bytes))
    if vitals.open_files is not None:
        parts.append(count(vitals.open_files, "open file"))
    return ", ".join(parts)


def _sessions(daemon: DaemonStatus) -> str:
    trouble = _INDEX.get(daemon.index or "")
    if daemon.sessions is None:
        return trouble or "being counted"
    most = sorted((daemon.sessions_by_agent or {}).items(), key=lambda one: (-one[1], one[0]))
    shown = [f"@{agent} {number:,}" for agent, number in most[:_AGENTS]]
    if len(most) > _AGENTS:
        shown.append(count(len(most) - _AGENTS, "agent") + " more")
    of = f" ({', '.join(shown)})" if shown else ""
    return f"{daemon.sessions:,}{of}" + (f"; {trouble}" if trouble else "")


def _turns(daemon: DaemonStatus) -> str:
    of = [f"@{one.agent} {one.running} running, {one.waiting} waiting" for one in daemon.turns_by_agent]
    return f"{daemon.turns:,} under way" + (f" ({'; '.join(of[:_AGENTS])})" if of else "")


def _latencies(methods: tuple[MethodLatency, ...]) -> Table:
    """A row for each method; its bar is solid to the median and thins out to the 99th percentile."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("METHOD", no_wrap=True, overflow="ellipsis")
    for name in ("CALLS", "ERR", "P50", "P90", "P99", "MAX"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("10 µs … 10 s", no_wrap=True)
    for one in methods:
        table.add_row(
            Text(one_line(one.method)),
            Text(f"{one.count:,}"),
            Text(f"{one.errors:,}", style="red" if one.errors else "dim"),
            *(Text(latency(took)) for took in (one.p50_us, one.p90_us, one.p99_us, one.max_us)),
            _bar(one),
        )
    return table


def _bar(one: MethodLatency) -> Text:
    median, most, nearly_all = (_cells(took) for took in (one.p50_us, one.p90_us, one.p99_us))
    return Text.assemble(
        ("█" * median, "green"),
        ("▒" * (most - median), "yellow"),
        ("░" * (nearly_all - most), "dim"),
    )


def _cells(microseconds: int) -> int:
    """How far a bar reaches; at least a cell, so that every method has one."""
    reach = math.log(max(microseconds, _FROM) / _FROM) / math.log(_TO / _FROM)
    return max(1, min(_BAR, round(reach * _BAR)))

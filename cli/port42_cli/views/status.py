"""The daemon's own facts, how long its methods take, and how far its index is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from port42_cli.plain_text import duration, latency, local_time, size
from port42_cli.views.hub import STYLES
from port42_cli.views.parts import Column, Content, Field, Fields, Line, Part, Span, Table, number
from port42_protocol.counting import count
from port42_protocol.messages.daemon import DaemonStatus, MethodLatency
from port42_protocol.messages.hub import HubSummary
from port42_protocol.messages.search import IndexStatus

_BAR = 12  # cells of a latency's bar, two for each tenfold of microseconds
_FROM, _TO = 10, 10_000_000
_MOST = 6  # agents and kinds of error that a terminal shows
_LATEST = 2  # internal errors and stalled threads that a terminal shows
_INDEX = {
    "rebuilding": "being counted: the index is rebuilt",
    "behind": "the index is behind",
    "unusable": "the index cannot be used",
}


def status(daemon: DaemonStatus, *, methods: bool = False) -> list[Part]:
    """All facts, on a terminal of 24 lines and 80 columns; with `methods` a line for each method below them.

    What the daemon does not know is left out. Scripts get all of it, bytes and microseconds as whole numbers.
    Names that may come more than once (``session count``, ``turns of``, ``latency``, ``error``, ``internal
    error``) end in what they are about.
    """
    fields = (*_totals(daemon), *_lists(daemon), *_problems(daemon))
    facts = Fields(fields, f"port42d {daemon.version}")
    return [facts, Table(daemon.latencies, _LATENCY, gap=1)] if methods and daemon.latencies else [facts]


def keys(*, methods: bool) -> Line:
    """What can be typed while it is watched."""
    names = [("q", "bold"), (" leave  ", "dim"), ("m", "bold")]
    return Line([*names, (f" {'without' if methods else 'with'} the latency of each method", "dim")])


def index(status: IndexStatus) -> list[Part]:
    """The state of the index, in the same lines for people and scripts."""
    lines = (
        f"complete: {'yes' if status.complete else 'no'}",
        f"sessions: {status.sessions} ({status.sessions_behind} still to be read)",
        f"messages: {status.messages} ({count(status.records_behind, 'record')} still to be read)",
        f"size: {size(status.bytes)}",
        *([f"note: {status.reason}"] if status.reason else []),
    )
    return [Line(line, piped=line) for line in lines]


def _totals(daemon: DaemonStatus) -> Iterator[Field]:
    uptime = daemon.uptime_seconds
    since = local_time(daemon.started_at or "", zone=True)
    by = "the first command" if daemon.started_by == "autostart" else daemon.started_by
    yield Field("version", daemon.version, "")
    yield Field("pid", daemon.pid, "running", f"pid {daemon.pid}")
    yield Field("socket", daemon.socket)
    yield Field("read socket", daemon.read_socket)
    yield Field("home", daemon.home)
    yield Field("uptime", f"{uptime:.0f} s", "running", f"up {duration(uptime)}")
    yield Field("started at", daemon.started_at, "running", f"since {since}")
    yield Field("started by", daemon.started_by, "running", f"by {by}")
    yield Field("python", daemon.python, "process", f"Python {daemon.python}")
    yield Field("sessions", daemon.sessions, "")
    yield Field("", True, "sessions", _sessions(daemon))
    yield Field("index", daemon.index, "")
    if daemon.hub is not None:
        yield from _hub(daemon.hub)
    yield _counted("connections", daemon.connections, "serving")
    yield _counted("subscriptions", daemon.subscriptions, "serving")
    yield _counted("requests", daemon.requests, "serving")
    yield Field("turns", daemon.turns, shown=_turns(daemon))
    yield _sized("bytes in", daemon.bytes_in, "traffic", "{} in")
    yield _sized("bytes out", daemon.bytes_out, "traffic", "{} out")
    if (vitals := daemon.vitals) is not None:
        yield _sized("memory", vitals.resident_bytes, "process")
        yield _sized("peak memory", vitals.peak_bytes, "process", "peak {}")
        yield _counted("open files", vitals.open_files, "process")
        yield _counted("threads", vitals.threads, "process")
        yield _sized("disk free", vitals.disk_free_bytes, "home", "{} free")


def _hub(hub: HubSummary) -> Iterator[Field]:
    yield Field("hub", hub.state, shown=[(hub.state, STYLES.get(hub.state, ""))])
    yield Field("hub problem", hub.problem, "hub", "port42 hub says why")
    yield _counted_sessions("hub to push", hub.waiting, "to push")
    yield _counted_sessions("hub to pull", hub.to_pull, "to pull")
    if hub.lag_ms is not None:
        yield Field("hub lag", f"{hub.lag_ms} ms", "hub", f"last push took {hub.lag_ms} ms")


def _counted_sessions(name: str, value: int | None, words: str) -> Field:
    """People are told of those that there are."""
    return Field(name, value, "hub" if value else "", f"{count(value or 0, 'session')} {words}")


def _lists(daemon: DaemonStatus) -> Iterator[Field]:
    """For scripts only: terminals show these beside the totals, or as a table."""
    for agent, sessions in (daemon.sessions_by_agent or {}).items():
        yield Field(f"session count {agent}", sessions, "")
    for turns in daemon.turns_by_agent:
        yield Field(f"turns of {turns.agent}", f"{turns.running} running, {turns.waiting} waiting", "")
    for method in daemon.latencies:
        took = f"p50 {method.p50_us}, p90 {method.p90_us}, p99 {method.p99_us}, max {method.max_us} µs"
        yield Field(
            f"latency {method.method}",
            f"{count(method.count, 'call')}, {count(method.errors, 'error')}, {took}",
            "",
        )


def _problems(daemon: DaemonStatus) -> Iterator[Field]:
    for position, error in enumerate(daemon.errors):
        row = "errors" if position < _MOST else ""
        shown: Content = [(f"{error.count:,} × {error.kind} ({error.code})", "red")]
        yield Field(f"error {error.code} {error.kind}", error.count, row, shown)
    for position, failure in enumerate(reversed(daemon.internal_errors)):
        method = failure.method or "no method"
        shown = f"{failure.error_id} in {method}, {local_time(failure.at, zone=True)}; see the log"
        name, row = f"internal error {failure.error_id}", "bug" if position < _LATEST else ""
        yield Field(name, f"{method}, {failure.at}", row, shown, trouble=True)
    for position, thread in enumerate(daemon.stalled_threads):
        state = "ended" if thread.seconds is None else f"busy for {thread.seconds:,.0f} s"
        name, row = f"stalled thread {thread.name}", "threads" if position < _LATEST else ""
        yield Field(name, state, row, f"{thread.name}: {state}", trouble=True)
    yield Field("config error", daemon.config_error or None, "config", trouble=True)


def _counted(name: str, value: int | None, row: str) -> Field:
    return Field(name, value, row, None if value is None else count(value, name.removesuffix("s")))


def _sized(name: str, value: int | None, row: str, words: str = "{}") -> Field:
    return Field(name, value, row, None if value is None else words.format(size(value)))


def _sessions(daemon: DaemonStatus) -> str:
    trouble = _INDEX.get(daemon.index or "")
    if daemon.sessions is None:
        return trouble or "being counted"
    by_agent = sorted((daemon.sessions_by_agent or {}).items(), key=lambda item: (-item[1], item[0]))
    shown = [f"@{agent} {sessions:,}" for agent, sessions in by_agent[:_MOST]]
    if len(by_agent) > _MOST:
        shown.append(count(len(by_agent) - _MOST, "agent") + " more")
    of = f" ({', '.join(shown)})" if shown else ""
    return f"{daemon.sessions:,}{of}" + (f"; {trouble}" if trouble else "")


def _turns(daemon: DaemonStatus) -> str:
    of = [
        f"@{turns.agent} {turns.running} running, {turns.waiting} waiting" for turns in daemon.turns_by_agent
    ]
    return f"{daemon.turns:,} running" + (f" ({'; '.join(of[:_MOST])})" if of else "")


def _bar(method: MethodLatency) -> list[Span]:
    """Solid to the median, thinner to the 90th and thinnest to the 99th percentile."""
    p50, p90, p99 = (_cells(took) for took in (method.p50_us, method.p90_us, method.p99_us))
    return [("█" * p50, "green"), ("▒" * (p90 - p50), "yellow"), ("░" * (p99 - p90), "dim")]


def _cells(microseconds: int) -> int:
    part = math.log(max(microseconds, _FROM) / _FROM) / math.log(_TO / _FROM)
    return max(1, min(_BAR, round(part * _BAR)))


_LATENCY: tuple[Column[MethodLatency], ...] = (
    Column("METHOD", lambda method: method.method),
    number("CALLS", lambda method: method.count),
    Column("ERR", lambda method: [(f"{method.errors:,}", "red" if method.errors else "dim")], right=True),
    Column("P50", lambda method: latency(method.p50_us), right=True),
    Column("P90", lambda method: latency(method.p90_us), right=True),
    Column("P99", lambda method: latency(method.p99_us), right=True),
    Column("MAX", lambda method: latency(method.max_us), right=True),
    Column("10 µs … 10 s", _bar),
)

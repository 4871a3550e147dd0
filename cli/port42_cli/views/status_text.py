"""The daemon's own facts as text: a ``name: value`` line each when piped, and the words terminals share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from port42_protocol.messages.daemon import DaemonStatus, Vitals

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(number: int) -> str:
    """``512 B``, ``36.8 MiB``."""
    if number < 1024:
        return f"{number} B"
    shown, unit = number / 1024, 0
    while shown >= 1024 and unit < len(_UNITS) - 1:
        shown, unit = shown / 1024, unit + 1
    return f"{shown:.1f} {_UNITS[unit]}"


def latency(microseconds: int) -> str:
    """``24 µs``, ``1.2 ms``, ``5.2 s``, ``3 min``."""
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms" if microseconds < 999_500 else "1 s"
    seconds = microseconds / 1_000_000
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def duration(seconds: float) -> str:
    """``4 s``, ``12 min``, ``1 h 2 min``, ``3 d 4 h``."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 60 * 24:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def status(daemon: DaemonStatus) -> Iterator[str]:
    """A ``name: value`` line for each fact; what the daemon does not know is left out.

    Bytes and microseconds are whole numbers. Names that may come more than once (``session count``,
    ``turns of``, ``latency``, ``error``, ``internal error``) are followed by what they are about.
    """
    yield f"version: {daemon.version}"
    yield f"pid: {daemon.pid}"
    yield f"socket: {daemon.socket}"
    yield f"home: {daemon.home}"
    yield f"uptime: {daemon.uptime_seconds:.0f} s"
    facts = {
        "started at": daemon.started_at,
        "started by": daemon.started_by,
        "python": daemon.python,
        "sessions": daemon.sessions,
        "index": daemon.index,
        "connections": daemon.connections,
        "subscriptions": daemon.subscriptions,
        "requests": daemon.requests,
        "turns": daemon.turns,
        "bytes in": daemon.bytes_in,
        "bytes out": daemon.bytes_out,
        **_vitals(daemon.vitals),
    }
    yield from (f"{name}: {value}" for name, value in facts.items() if value is not None)
    yield from _lists(daemon)
    if daemon.config_error:
        yield f"config error: {daemon.config_error}"


def _vitals(vitals: Vitals | None) -> dict[str, int | None]:
    if vitals is None:
        return {}
    return {
        "memory": vitals.resident_bytes,
        "peak memory": vitals.peak_bytes,
        "open files": vitals.open_files,
        "threads": vitals.threads,
        "disk free": vitals.disk_free_bytes,
    }


def _lists(daemon: DaemonStatus) -> Iterator[str]:
    for agent, number in (daemon.sessions_by_agent or {}).items():
        yield f"session count {agent}: {number}"
    for turns in daemon.turns_by_agent:
        yield f"turns of {turns.agent}: {turns.running} running, {turns.waiting} waiting"
    for one in daemon.latencies:
        shown = f"p50 {one.p50_us}, p90 {one.p90_us}, p99 {one.p99_us}, max {one.max_us}"
        yield f"latency {one.method}: {one.count} calls, {one.errors} errors, {shown} µs"
    for error in daemon.errors:
        yield f"error {error.code} {error.kind}: {error.count}"
    for failure in daemon.internal_errors:
        yield f"internal error {failure.error_id}: {failure.method or 'no method'}, {failure.at}"

"""Requests about the daemon itself, its settings and its protocol, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct, field

from port42_protocol.messages.types import IndexState, StartedBy
from port42_protocol.request import Request


class Limits(Struct, frozen=True):
    """What the daemon takes (bytes, items, connections)."""

    request_bytes: int
    page_bytes: int
    nesting: int
    batch: int
    connections: int


class AgentTurns(Struct, frozen=True):
    """An agent's turns that run now, and those that wait for them."""

    agent: str
    running: int
    waiting: int


class MethodLatency(Struct, frozen=True):
    """How often a method was called, and how long it took (microseconds, from the line to its answer).

    A turn counts as a whole, its place in the queue and the back end's time with it.
    """

    method: str
    count: int
    errors: int
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int


class ErrorCount(Struct, frozen=True):
    """How often an error was answered."""

    code: int
    kind: str
    count: int


class InternalFailure(Struct, frozen=True):
    """A bug that showed itself; the log has its traceback beside `error_id`. `method` null: in none."""

    error_id: str
    method: str | None
    at: str


class Vitals(Struct, frozen=True):
    """The process: memory (now and at most) and disk in bytes; null where the system does not tell."""

    resident_bytes: int | None
    peak_bytes: int
    open_files: int | None
    threads: int
    disk_free_bytes: int | None


class StalledThread(Struct, frozen=True):
    """A thread of the daemon that has done the same thing for long (seconds), or ended (null)."""

    name: str
    seconds: float | None


class DaemonStatus(Struct, frozen=True):
    """The daemon itself; `uptime_seconds` since it was ready, `requests` and `turns` under way now.

    `sessions` and `sessions_by_agent` are as last counted, null before that: nobody waits for an index
    that is being rebuilt. All counts and latencies are since `started_at`. The fields with a default
    are those that older daemons do not have.
    """

    version: str
    protocol_version: int
    pid: int
    uptime_seconds: float
    home: str
    socket: str
    sessions: int | None
    connections: int
    requests: int
    turns: int
    limits: Limits
    config_error: str | None
    started_at: str | None = None
    started_by: StartedBy | None = None
    python: str | None = None
    index: IndexState | None = None
    sessions_by_agent: dict[str, int] | None = None
    subscriptions: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    turns_by_agent: tuple[AgentTurns, ...] = ()
    latencies: tuple[MethodLatency, ...] = ()
    errors: tuple[ErrorCount, ...] = ()
    internal_errors: tuple[InternalFailure, ...] = ()
    vitals: Vitals | None = None
    stalled_threads: tuple[StalledThread, ...] = ()


class OpenRpc(Struct, frozen=True):
    """An OpenRPC 1.3 document (spec.open-rpc.org)."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any] = field(default_factory=dict)


class Reloaded(Struct, frozen=True):
    """What is in force now: how many agents and back ends config.toml has."""

    agents: int
    backends: int


@dataclass(frozen=True, slots=True)
class Status(Request[DaemonStatus]):
    """What the daemon is and has."""


@dataclass(frozen=True, slots=True)
class Discover(Request[OpenRpc]):
    """The OpenRPC document of this very table."""


@dataclass(frozen=True, slots=True)
class ReloadConfig(Request[Reloaded]):
    """Read config.toml again now."""

"""Requests and results about the daemon, its settings and its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct, field

from port42_protocol.messages.hub import HubSummary
from port42_protocol.messages.types import (
    Capability,
    ClientName,
    IndexState,
    RequestId,
    StartedBy,
    VersionText,
)
from port42_protocol.request import Request


class Limits(Struct, frozen=True):
    """The daemon's limits (bytes, items, connections)."""

    request_bytes: int
    page_bytes: int
    nesting: int
    batch: int
    connections: int


class AgentTurns(Struct, frozen=True):
    """Numbers of an agent's running and queued turns."""

    agent: str
    running: int
    waiting: int


class MethodLatency(Struct, frozen=True):
    """Number of calls of a method, and their latency (microseconds, from request to response).

    A turn's latency includes its time in the queue and in the back end.
    """

    method: str
    count: int
    errors: int
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int


class ErrorCount(Struct, frozen=True):
    """Number of error responses of a kind."""

    code: int
    kind: str
    count: int


class InternalFailure(Struct, frozen=True):
    """An internal error; the log has the traceback with `error_id`. `method` is null outside of calls."""

    error_id: str
    method: str | None
    at: str


class Vitals(Struct, frozen=True):
    """The process: memory (current and peak) and disk in bytes; null where the system lacks the figure."""

    resident_bytes: int | None
    peak_bytes: int
    open_files: int | None
    threads: int
    disk_free_bytes: int | None


class StalledThread(Struct, frozen=True):
    """A daemon's thread that has been busy with one job for long (seconds), or has ended (null)."""

    name: str
    seconds: float | None


class DaemonStatus(Struct, frozen=True):
    """The daemon's state; `uptime_seconds` since it was ready, `requests` and `turns` in progress.

    `sessions` and `sessions_by_agent` are the latest counts, null before the first: the call does not wait
    for an index that is being rebuilt. All counts and latencies are since `started_at`. `read_socket` is null
    while the daemon cannot listen there, `hub` where none is used. Fields with a default are missing in older
    daemons.
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
    read_socket: str | None = None
    hub: HubSummary | None = None


class OpenRpc(Struct, frozen=True):
    """An OpenRPC 1.3 document (spec.open-rpc.org)."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any] = field(default_factory=dict)


class Reloaded(Struct, frozen=True):
    """The numbers of agents and back ends in config.toml, which is used from now on."""

    agents: int
    backends: int


class Welcome(Struct, frozen=True):
    """What the daemon is and can do. `capabilities` are the methods that it serves on this connection.

    `notifications` says whether this connection gets any. The socket for reading is `read_only`.
    """

    version: str
    protocol_version: int
    capabilities: tuple[str, ...]
    limits: Limits
    read_only: bool
    notifications: bool


class CancelResult(Struct, frozen=True):
    """Whether a request with that id was under way that can be cancelled."""

    cancelled: bool


@dataclass(frozen=True, slots=True)
class Status(Request[DaemonStatus]):
    """Get the daemon's state."""


@dataclass(frozen=True, slots=True)
class Discover(Request[OpenRpc]):
    """Get the OpenRPC document of this protocol."""


@dataclass(frozen=True, slots=True)
class ReloadConfig(Request[Reloaded]):
    """Reload config.toml."""


@dataclass(frozen=True, slots=True)
class Hello(Request[Welcome]):
    """Say who the client is and what it needs, and get what the daemon is and can do.

    It is optional, and may be called at any time. `needs` has methods (``possess``) and parameters
    (``possess.depth``); where one is missing, the error says which, and which side to update. With
    `notifications` false this connection is sent none from now on, and what would cause any is refused.
    """

    client: ClientName | None = None
    version: VersionText | None = None
    needs: list[Capability] | None = None
    notifications: bool | None = None


@dataclass(frozen=True, slots=True)
class CancelRequest(Request[CancelResult]):
    """Cancel a request of this connection that is under way; usually sent as a notification.

    It is answered with the error ``request_cancelled``. A turn that has begun ends as after `cancel_turn`,
    with its result; what writes is completed.
    """

    id: RequestId

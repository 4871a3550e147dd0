"""Every request, result and record as a frozen dataclass: the shapes that travel and are kept.

A request's fields are its JSON-RPC params, by name or, in field order, by position. `Annotated`
types carry what a value must look like; `codec` turns a breach into an error that names the field.
Times are RFC 3339 in UTC with milliseconds (``2026-11-23T03:37:11.042Z``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

# ``$`` alone would let a trailing newline through: Python's ``$`` matches before it.
_END = r"$(?!\n)"

AgentName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}" + _END,
        description="an agent name: a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"
        " (one leading @ is stripped)",
    ),
]
SessionId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}" + _END,
        description="a session id: a letter or digit, then up to 63 letters, digits, '_' or '-'",
    ),
]
ClientName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}" + _END,
        description="a client name: a letter or digit, then up to 31 letters, digits, '_' or '-'",
    ),
]
Folder = Annotated[
    str,
    Meta(
        pattern=r"^/[^\x00\n]{0,4095}" + _END,
        description="an absolute path of at most 4096 characters",
    ),
]
Title = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}" + _END,
        description="one line of 1 to 200 characters",
    ),
]
Key = Annotated[
    str,
    Meta(min_length=1, max_length=128, description="text of 1 to 128 characters"),
]
Ref = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="'last', a session id, a unique prefix of 4 or more characters, or a title",
    ),
]
Content = Annotated[str, Meta(description="text")]
Prompt = Annotated[str, Meta(min_length=1, description="text that is not empty")]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1, description="a whole number from 0")]
SessionLimit = Annotated[int, Meta(ge=1, le=500, description="a whole number from 1 to 500")]
MessageLimit = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Cursor = Annotated[str, Meta(min_length=1, max_length=200, description="a next_cursor from an earlier page")]
Role = Literal["user", "assistant", "system", "error"]
RecordRole = Literal["user", "assistant", "system", "error", "event"]
State = Literal["active", "ended"]


# --- requests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetLastSession:
    """The session that `agent` used last; with `cwd`, of those begun in that folder."""

    agent: AgentName
    cwd: Folder | None = None


@dataclass(frozen=True, slots=True)
class UpdateLastSession:
    """Make `session_id`, which must be `agent`'s own, the one it used last."""

    agent: AgentName
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class CreateSession:
    """Begin a session. Without `session_id` the daemon makes ``<client>-<unix milliseconds>``."""

    agent: AgentName
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    title: Title | None = None
    cwd: Folder | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AppendMessage:
    """Record one message. A repeated `idempotency_key` returns the first result and records nothing."""

    agent: AgentName
    session_id: SessionId
    role: Role
    content: Content
    idempotency_key: Key | None = None


@dataclass(frozen=True, slots=True)
class Possess:
    """Say `message` to `agent`, in `session_id` or, without one, in a new session."""

    agent: AgentName
    message: Prompt
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    cwd: Folder | None = None
    idempotency_key: Key | None = None


@dataclass(frozen=True, slots=True)
class GetSession:
    """A session and a page of its messages after `after_seq`; with `events`, its events too."""

    session_id: SessionId
    agent: AgentName | None = None
    after_seq: Seq = 0
    limit: MessageLimit = 1000
    events: bool = False


@dataclass(frozen=True, slots=True)
class FindSession:
    """The one session that `ref` means: ``last``, an id, a unique prefix, or a title."""

    ref: Ref
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ListSessions:
    """A page of sessions, newest use first."""

    agent: AgentName | None = None
    cwd: Folder | None = None
    state: State | None = None
    limit: SessionLimit = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class EndSession:
    """Mark a session as ended. The next message to it makes it active again."""

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ListAgents:
    """Every agent that is built in, configured, or has a session."""


@dataclass(frozen=True, slots=True)
class AddAgent:
    """Write `agent` into ``config.toml``, with its persona `system`."""

    agent: AgentName
    system: Content | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon is and has."""


@dataclass(frozen=True, slots=True)
class Discover:
    """The OpenRPC document of this very table."""


# --- what is kept, and results ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of a session: a message, or an event (`role` ``event``). Absent fields are left out."""

    seq: int
    role: RecordRole
    content: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    timestamp: str
    key: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list shows of a session. `message_count` counts user and assistant messages."""

    session_id: str
    agent: str
    title: str | None
    state: State
    created_at: str
    last_activity: str
    message_count: int
    cwd: str | None


@dataclass(frozen=True, slots=True)
class ListedSession(Summary):
    """A summary with `short_id`, a prefix that fits no other session."""

    short_id: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of `list_sessions`; `next_cursor` is null on the last."""

    sessions: tuple[ListedSession, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A page of `get_session`; `next_after_seq` asks for the next one and is null on the last."""

    session: Summary
    client: str
    metadata: dict[str, Any]
    messages: tuple[Message, ...]
    next_after_seq: int | None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the message stands. It is on the disk."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Possessed:
    """How a turn went. ``recorded``: the message is on the disk and no back end answers."""

    session_id: str
    seq: int
    status: Literal["recorded"]


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: where it is known from, what answers for it, and its sessions.

    `backend` ``none`` records and never answers.
    """

    agent: str
    source: Literal["built-in", "config", "sessions"]
    system: str | None
    backend: Literal["none"]
    session_count: int
    last_session: str | None


@dataclass(frozen=True, slots=True)
class AgentList:
    """`config_error` says why ``config.toml`` is not in force as it stands, if so."""

    agents: tuple[Agent, ...]
    config_error: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the daemon takes (bytes, items, connections)."""

    request_bytes: int
    page_bytes: int
    nesting: int
    batch: int
    connections: int


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The daemon itself; `uptime_seconds` since it was ready, `requests` under way now."""

    version: str
    protocol_version: int
    pid: int
    uptime_seconds: float
    home: str
    socket: str
    sessions: int
    connections: int
    requests: int
    limits: Limits
    config_error: str | None


@dataclass(frozen=True, slots=True)
class OpenRpc:
    """An OpenRPC 1.3 document (spec.open-rpc.org)."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any] = field(default_factory=dict)

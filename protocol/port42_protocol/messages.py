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
Target = Annotated[
    str,
    Meta(min_length=1, max_length=4096, description="an absolute path, a session's id, a URL, or a name"),
]
Text = Annotated[str, Meta(max_length=262_144, description="text of at most 262144 characters")]
BackendName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}" + _END,
        description="a back end's name: a letter or digit, then up to 63 letters, digits, '.', '_', '-'",
    ),
]
Role = Literal["user", "assistant", "system", "error"]
RecordRole = Literal["user", "assistant", "system", "error", "event"]
State = Literal["active", "ended"]
TurnStatus = Literal["recorded", "answered", "interrupted"]


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
class Reference:
    """Something to read beside a message.

    ``file``: `target` is an absolute path; ``session``: an id, its transcript; ``url``: what it answers to
    a GET; ``text``: `content` is it, and `target` what to call it (``stdin``).
    """

    type: Literal["file", "session", "url", "text"]
    target: Target
    content: Text | None = None


@dataclass(frozen=True, slots=True)
class Possess:
    """Say `message` to `agent`, in `session_id` or, without one, in a new session.

    With `stream` this connection hears `session_event` until the result. `if_busy` says what to do while
    another turn of the session is under way. Without `detach` the turn ends when the connection does.
    """

    agent: AgentName
    message: Prompt
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    cwd: Folder | None = None
    references: list[Reference] | None = None
    stream: bool = False
    if_busy: Literal["wait", "error"] = "wait"
    detach: bool = False
    idempotency_key: Key | None = None


@dataclass(frozen=True, slots=True)
class RetryTurn:
    """Ask the session's last question again, when its turn failed."""

    agent: AgentName
    session_id: SessionId
    stream: bool = False
    detach: bool = False


@dataclass(frozen=True, slots=True)
class CancelTurn:
    """Stop the turn under way; what was answered so far is kept."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class AnswerPermission:
    """Choose one of the options of a ``permission`` event; without one, refuse."""

    session_id: SessionId
    permission_id: Annotated[str, Meta(min_length=1, max_length=64, description="a permission's id")]
    option_id: Annotated[str, Meta(max_length=200, description="an option's id")] | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Hear `session_event` for a session, an agent's sessions, or all.

    With `since_seq` (and a session) its records after that come first, and none is missed in between.
    """

    agent: AgentName | None = None
    session_id: SessionId | None = None
    since_seq: Seq | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Hear no more of what `subscribe` with the same params asked for."""

    agent: AgentName | None = None
    session_id: SessionId | None = None


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
class GetAgent:
    """One agent; its back end is looked at now."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class ConnectAgent:
    """Let `backend` answer for `agent`: one of config.toml's, or a known one, which is written there."""

    agent: AgentName
    backend: BackendName
    model: Annotated[str, Meta(min_length=1, max_length=200, description="a model's name")] | None = None


@dataclass(frozen=True, slots=True)
class RemoveAgent:
    """Take `agent` out of config.toml. Its sessions stay."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Read config.toml again now."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon is and has."""


@dataclass(frozen=True, slots=True)
class Discover:
    """The OpenRPC document of this very table."""


# --- what is kept, and results ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """What answered, recorded with the reply.

    `model` is what the back end said it used, else what it was asked for, which is `asked_model`.
    `persona` is the first 12 hex digits of the SHA-256 of the persona. `first_ms` is the time from the
    question being on the disk to the first text, `total_ms` to the end. `left_out` counts earlier messages
    that did not fit the model's budget.
    """

    backend: str
    model: str | None = None
    asked_model: str | None = None
    persona: str | None = None
    native_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_ms: int | None = None
    total_ms: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of a session: a message, or an event (`role` ``event``).

    Fields that have no value are left out.

    A reply (``assistant``) has its `status`, its `turn` and the seq of its `question`; a failed turn
    (``error``) has the `kind` of the failure and the seq of its `question`: later turns see neither of
    them, nor what was answered of it.
    """

    seq: int
    role: RecordRole
    content: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    timestamp: str
    status: Literal["complete", "interrupted"] | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    question: int | UnsetType = UNSET
    references: tuple[Reference, ...] | UnsetType = UNSET
    turn: TurnRecord | UnsetType = UNSET
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
    """How a turn went: `seq` is the question's, `reply_seq` the reply's. All of it is on the disk.

    ``recorded``: no back end answers for the agent. ``interrupted``: `reply` is what there was until then.
    """

    session_id: str
    seq: int
    status: TurnStatus
    reply: str | None = None
    reply_seq: int | None = None
    turn: TurnRecord | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Whether a turn was under way."""

    cancelled: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether the permission was still being asked for."""

    taken: bool


@dataclass(frozen=True, slots=True)
class Subscribed:
    """How many subscriptions this connection has now."""

    subscriptions: int


@dataclass(frozen=True, slots=True)
class PermissionOption:
    """One answer to a request for permission; `kind` as in ACP (allow_once, reject_once …)."""

    id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """The params of a `session_event` notification. Only the fields of its `kind` are there.

    ``message``: a record that is on the disk. ``waiting``: `position` turns are before this one.
    ``started``: a back end took the turn. ``text``, ``thought``: a piece. ``tool``: a call and its `state`.
    ``usage``: tokens so far. ``notice``: something to know. ``permission``: asks for `answer_permission`.
    ``ended``: the turn is over, its record was sent before. ``overflow``: this subscription was dropped
    because its reader is too slow.
    """

    kind: Literal[
        "message",
        "waiting",
        "started",
        "text",
        "thought",
        "tool",
        "usage",
        "notice",
        "permission",
        "ended",
        "overflow",
    ]
    session_id: str
    agent: str
    message: Message | UnsetType = UNSET
    position: int | UnsetType = UNSET
    backend: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    tool_id: str | UnsetType = UNSET
    state: Literal["running", "done", "failed"] | UnsetType = UNSET
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    permission_id: str | UnsetType = UNSET
    options: tuple[PermissionOption, ...] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: where it is known from, what answers for it, and its sessions.

    `backend` is a name from config.toml, or ``none``, which records and never answers; `health` is one of
    ``ready``, ``missing``, ``needs_auth``, ``unreachable`` and ``none``, and `detail` says why or by what.
    """

    agent: str
    source: Literal["built-in", "config", "sessions"]
    system: str | None
    backend: str
    model: str | None
    health: Literal["ready", "missing", "needs_auth", "unreachable", "none"]
    detail: str
    session_count: int
    last_session: str | None


@dataclass(frozen=True, slots=True)
class AgentList:
    """`available` names back ends that could be connected: found on this machine, never used by themselves.

    `config_error` says why ``config.toml`` is not in force as it stands, if so.
    """

    agents: tuple[Agent, ...]
    available: tuple[str, ...]
    config_error: str | None


@dataclass(frozen=True, slots=True)
class Removed:
    """The agent that config.toml no longer has."""

    agent: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What is in force now: how many agents and back ends config.toml has."""

    agents: int
    backends: int


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
    """The daemon itself; `uptime_seconds` since it was ready, `requests` and `turns` under way now."""

    version: str
    protocol_version: int
    pid: int
    uptime_seconds: float
    home: str
    socket: str
    sessions: int
    connections: int
    requests: int
    turns: int
    limits: Limits
    config_error: str | None


@dataclass(frozen=True, slots=True)
class OpenRpc:
    """An OpenRPC 1.3 document (spec.open-rpc.org)."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any] = field(default_factory=dict)

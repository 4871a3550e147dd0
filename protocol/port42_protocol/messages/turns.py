"""Requests that have an agent answer or listen to it, what they give, and what is heard meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from port42_protocol.messages.records import Message, Reference, TurnRecord
from port42_protocol.messages.types import (
    AgentName,
    ClientName,
    Folder,
    Key,
    Prompt,
    Seq,
    SessionId,
    TurnStatus,
)
from port42_protocol.request import Request


class Possessed(Struct, frozen=True):
    """How a turn went: `seq` is the question's, `reply_seq` the reply's. All of it is on the disk.

    ``recorded``: no back end answers for the agent. ``interrupted``: `reply` is what there was until then.
    """

    session_id: str
    seq: int
    status: TurnStatus
    reply: str | None = None
    reply_seq: int | None = None
    turn: TurnRecord | None = None


class Cancelled(Struct, frozen=True):
    """Whether a turn was under way."""

    cancelled: bool


class Taken(Struct, frozen=True):
    """Whether the permission was still being asked for."""

    taken: bool


class Subscribed(Struct, frozen=True):
    """How many subscriptions this connection has now."""

    subscriptions: int


class PermissionOption(Struct, frozen=True):
    """One answer to a request for permission; `kind` as in ACP (allow_once, reject_once …)."""

    id: str
    name: str
    kind: str


class SessionEvent(Struct, frozen=True, kw_only=True):
    """The params of a `session_event` notification. Only the fields of its `kind` are there.

    ``message``: a record that is on the disk. ``waiting``: `position` turns are before this one.
    ``started``: a back end took the turn. ``text``, ``thought``: a piece. ``tool``: a call and its `state`.
    ``usage``: tokens so far. ``notice``: something to know. ``permission``: asks for `answer_permission`.
    ``ended``: the turn is over, its record was sent before. ``overflow``: this subscription was dropped
    because its reader is too slow. ``deleted``: the session is in the trash. ``restored``: it is back.
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
        "deleted",
        "restored",
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
class Possess(Request[Possessed]):
    """Say `message` to `agent`, in `session_id` or, without one, in a new session.

    With `stream` this connection hears `session_event` until the result. `if_busy` says what to do while
    another turn of the session is under way: ``wait`` for it, answer with the ``error`` SESSION_BUSY, or
    go on in a ``fork`` of what was said before that turn. Without `detach` the turn ends when the
    connection does.
    """

    agent: AgentName
    message: Prompt
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    cwd: Folder | None = None
    references: list[Reference] | None = None
    stream: bool = False
    if_busy: Literal["wait", "error", "fork"] = "wait"
    detach: bool = False
    idempotency_key: Key | None = None


@dataclass(frozen=True, slots=True)
class RetryTurn(Request[Possessed]):
    """Ask the session's last question again, when its turn failed."""

    agent: AgentName
    session_id: SessionId
    stream: bool = False
    detach: bool = False


@dataclass(frozen=True, slots=True)
class CancelTurn(Request[Cancelled]):
    """Stop the turn under way; what was answered so far is kept."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class AnswerPermission(Request[Taken]):
    """Choose one of the options of a ``permission`` event; without one, refuse."""

    session_id: SessionId
    permission_id: Annotated[str, Meta(min_length=1, max_length=64, description="a permission's id")]
    option_id: Annotated[str, Meta(max_length=200, description="an option's id")] | None = None


@dataclass(frozen=True, slots=True)
class Subscribe(Request[Subscribed]):
    """Hear `session_event` for a session, an agent's sessions, or all.

    With `since_seq` (and a session) its records after that come first, and none is missed in between.
    """

    agent: AgentName | None = None
    session_id: SessionId | None = None
    since_seq: Seq | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe(Request[Subscribed]):
    """Hear no more of what `subscribe` with the same params asked for."""

    agent: AgentName | None = None
    session_id: SessionId | None = None

"""Requests that have an agent answer or listen to it, what they give, and what is heard meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from port42_protocol.messages.records import Record, Reference, TurnRecord
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


class _Event(Struct, frozen=True, tag_field="kind"):
    """What every event has."""

    session_id: str
    agent: str


class MessageEvent(_Event, frozen=True, kw_only=True, tag="message"):
    """A record that is on the disk."""

    message: Record


class WaitingEvent(_Event, frozen=True, kw_only=True, tag="waiting"):
    """`position` turns are before this one."""

    position: int


class StartedEvent(_Event, frozen=True, kw_only=True, tag="started"):
    """A back end took the turn."""

    backend: str
    model: str | UnsetType = UNSET


class TextEvent(_Event, frozen=True, kw_only=True, tag="text"):
    """A piece of the reply."""

    text: str


class ThoughtEvent(_Event, frozen=True, kw_only=True, tag="thought"):
    """A piece of what the model thinks before it replies."""

    text: str


class ToolEvent(_Event, frozen=True, kw_only=True, tag="tool"):
    """A tool that the agent uses, described by `text`, or a change of its `state`."""

    text: str
    tool_id: str
    state: Literal["running", "done", "failed"]


class UsageEvent(_Event, frozen=True, kw_only=True, tag="usage"):
    """Tokens of the turn so far."""

    input_tokens: int
    output_tokens: int


class NoticeEvent(_Event, frozen=True, kw_only=True, tag="notice"):
    """Something about the turn that is worth knowing."""

    text: str


class PermissionEvent(_Event, frozen=True, kw_only=True, tag="permission"):
    """The agent asks for leave to do `text`: `answer_permission` chooses one of the options."""

    text: str
    permission_id: str
    options: tuple[PermissionOption, ...]


class EndedEvent(_Event, frozen=True, kw_only=True, tag="ended"):
    """The turn is over; its record was sent before."""


class OverflowEvent(_Event, frozen=True, kw_only=True, tag="overflow"):
    """This subscription was dropped because its reader is too slow."""


class DeletedEvent(_Event, frozen=True, kw_only=True, tag="deleted"):
    """The session is in the trash."""


class RestoredEvent(_Event, frozen=True, kw_only=True, tag="restored"):
    """The session is back from the trash."""


SessionEvent = (
    MessageEvent
    | WaitingEvent
    | StartedEvent
    | TextEvent
    | ThoughtEvent
    | ToolEvent
    | UsageEvent
    | NoticeEvent
    | PermissionEvent
    | EndedEvent
    | OverflowEvent
    | DeletedEvent
    | RestoredEvent
)
"""The params of a `session_event` notification, told apart by `kind`."""


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

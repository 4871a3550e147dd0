"""Requests that have an agent answer or listen to it, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import Reference
from port42_protocol.messages.types import (
    AgentName,
    ClientName,
    Folder,
    Key,
    Prompt,
    Seq,
    SessionId,
)
from port42_protocol.request import Request


class Cancelled(Struct, frozen=True):
    """Whether a turn was under way."""

    cancelled: bool


class Taken(Struct, frozen=True):
    """Whether the permission was still being asked for."""

    taken: bool


class Subscribed(Struct, frozen=True):
    """How many subscriptions this connection has now."""

    subscriptions: int


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

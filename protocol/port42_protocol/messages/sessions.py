"""Requests and results that create, find, read and end sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.records import Record, Summary
from port42_protocol.messages.types import (
    AgentName,
    ClientName,
    Content,
    Cursor,
    Folder,
    Key,
    MessageLimit,
    Ref,
    Role,
    Seq,
    SessionId,
    SessionLimit,
    State,
    Tag,
    Title,
)
from port42_protocol.request import Request


class ListedSession(Summary, frozen=True, kw_only=True):
    """A summary with `short_id`, a unique prefix of the id."""

    short_id: str


class SessionPage(Struct, frozen=True):
    """A page of `list_sessions`; `next_cursor` is null on the last.

    `unreadable` is the number of files in the folder of sessions that are unreadable, or damaged and not
    recovered yet, omitted without any; `check_home` names them.
    """

    sessions: tuple[ListedSession, ...]
    next_cursor: str | None
    unreadable: int | UnsetType = UNSET


class Transcript(Struct, frozen=True):
    """A page of `get_session`; `next_after_seq` requests the next one and is null on the last."""

    session: Summary
    client: str
    metadata: dict[str, Any]
    messages: tuple[Record, ...]
    next_after_seq: int | None


class Appended(Struct, frozen=True):
    """The position of the message, which is on the disk."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class GetLastSession(Request[Summary]):
    """Get the session that `agent` used last; with `cwd`, among those created in that folder."""

    agent: AgentName
    cwd: Folder | None = None


@dataclass(frozen=True, slots=True)
class UpdateLastSession(Request[Summary]):
    """Make `session_id`, which must belong to `agent`, its last session."""

    agent: AgentName
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class CreateSession(Request[Summary]):
    """Create a session. The default of `session_id` is ``<client>-<unix milliseconds>``."""

    agent: AgentName
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    title: Title | None = None
    cwd: Folder | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AppendMessage(Request[Appended]):
    """Record one message. A repeated `idempotency_key` returns the first result and records nothing."""

    agent: AgentName
    session_id: SessionId
    role: Role
    content: Content
    idempotency_key: Key | None = None


@dataclass(frozen=True, slots=True)
class GetSession(Request[Transcript]):
    """Get a session and a page of its messages after `after_seq`.

    With `events`, also its events, tool calls, thoughts, plans and permissions. With `last`, one page of at
    most so many at the session's end instead, or fewer where they are long.
    """

    session_id: SessionId
    agent: AgentName | None = None
    after_seq: Seq = 0
    limit: MessageLimit = 1000
    events: bool = False
    last: MessageLimit | None = None


@dataclass(frozen=True, slots=True)
class FindSession(Request[Summary]):
    """Find the session with the reference `ref`: ``last``, ``@agent``, an id, a unique prefix, or a title.

    ``last`` is the session that `agent` used last, or without one any agent; ``@NAME`` is the agent NAME's.
    """

    ref: Ref
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ListSessions(Request[SessionPage]):
    """Get a page of sessions, the last used first.

    Those of sub-agents are in no list but that of their `parent`.
    """

    agent: AgentName | None = None
    cwd: Folder | None = None
    state: State | None = None
    limit: SessionLimit = 50
    cursor: Cursor | None = None
    tag: Tag | None = None
    pinned: bool | None = None
    parent: SessionId | None = None


@dataclass(frozen=True, slots=True)
class EndSession(Request[Summary]):
    """Mark a session as ended. The next message to it makes it active again."""

    session_id: SessionId
    agent: AgentName | None = None

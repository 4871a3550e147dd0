"""Requests that search sessions, name and mark them, and look after the index; what they give."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from port42_protocol.messages.records import Summary
from port42_protocol.messages.types import AgentName, Cursor, HitLimit, Pattern, SessionId, Tags, Title
from port42_protocol.request import Request


class Mark(Struct, frozen=True):
    """A piece of a snippet that the query asked for: characters from `start` to before `end`."""

    start: int
    end: int


class Hit(Struct, frozen=True):
    """A message that was found, a line of it, and what in that line was asked for.

    A session's own title and tags are found under the role ``title`` and `seq` 0.
    """

    session: Summary
    seq: int
    role: str
    timestamp: str
    snippet: str
    marks: tuple[Mark, ...]


class HitPage(Struct, frozen=True):
    """A page of `search_sessions`, best first.

    `complete` is false while some messages are not indexed; `reason` then says why.
    """

    hits: tuple[Hit, ...]
    next_cursor: str | None
    complete: bool
    reason: str | None = None


class IndexStatus(Struct, frozen=True):
    """What the index has, and what it still has to read. `bytes` is the size of its file.

    `reason` says what keeps it from becoming complete, or its file from being used.
    """

    complete: bool
    sessions: int
    sessions_behind: int
    messages: int
    records_behind: int
    bytes: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SearchSessions(Request[HitPage]):
    """Messages that `query` finds: words, "phrases", begin*, -without, agent:, role:, before:, after:."""

    query: Pattern
    agent: AgentName | None = None
    limit: HitLimit = 20
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class RenameSession(Request[Summary]):
    """Give a session another title."""

    session_id: SessionId
    title: Title
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class TagSession(Request[Summary]):
    """Put tags on a session and take others off; a tag in both is put on."""

    session_id: SessionId
    add: Tags = ()
    remove: Tags = ()
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class PinSession(Request[Summary]):
    """Pin a session, or with `pinned` false let it go."""

    session_id: SessionId
    pinned: bool = True
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class GetIndexStatus(Request[IndexStatus]):
    """How far the index has come."""


@dataclass(frozen=True, slots=True)
class RebuildIndex(Request[IndexStatus]):
    """Make the index anew from the files, while the daemon serves."""

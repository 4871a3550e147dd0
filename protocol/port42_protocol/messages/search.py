"""Requests and results about search, titles, tags, pins and the index."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.records import Summary
from port42_protocol.messages.types import AgentName, Cursor, HitLimit, Pattern, SessionId, Tags, Title
from port42_protocol.request import Request


class Mark(Struct, frozen=True):
    """A match in a snippet: the characters from `start` to before `end`."""

    start: int
    end: int


class Hit(Struct, frozen=True):
    """A matching message, with a line of it and the matches in that line.

    A match in a session's title or tags has the role ``title`` and `seq` 0. `author` is there for what
    another owner at the hub recorded.
    """

    session: Summary
    seq: int
    role: str
    timestamp: str
    snippet: str
    marks: tuple[Mark, ...]
    author: str | UnsetType = UNSET


class HitPage(Struct, frozen=True):
    """A page of `search_sessions`, best first.

    `complete` is false while some messages are not indexed, for the `reason` given. `hints`, where there
    are any, name words of the query that look like a mistyped filter; they were searched for as words.
    """

    hits: tuple[Hit, ...]
    next_cursor: str | None
    complete: bool
    reason: str | None = None
    hints: tuple[str, ...] | UnsetType = UNSET


class IndexStatus(Struct, frozen=True):
    """What is indexed, and what is not yet. `bytes` is the size of the index's file.

    `reason` says why the index cannot become complete, or its file cannot be used.
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
    """Search sessions: words, "phrases", begin*, -without, agent:, role:, tool:, file:, before:, after:.

    Matches in what was said come before those in tool calls, thoughts and plans.
    """

    query: Pattern
    agent: AgentName | None = None
    limit: HitLimit = 20
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class RenameSession(Request[Summary]):
    """Change the title of a session."""

    session_id: SessionId
    title: Title
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class TagSession(Request[Summary]):
    """Add and remove tags of a session; a tag in both lists is added."""

    session_id: SessionId
    add: Tags = ()
    remove: Tags = ()
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class PinSession(Request[Summary]):
    """Pin a session, or unpin it with `pinned` false."""

    session_id: SessionId
    pinned: bool = True
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class GetIndexStatus(Request[IndexStatus]):
    """Get the state of the index."""


@dataclass(frozen=True, slots=True)
class RebuildIndex(Request[IndexStatus]):
    """Rebuild the index from the session files, in the background."""

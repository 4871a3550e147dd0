"""Requests that fork sessions, throw them away and bring them back, and what they give."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from port42_protocol.messages.records import Summary
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import (
    AgentName,
    ClientName,
    Cursor,
    Days,
    Folder,
    RecordSeq,
    SessionId,
    SessionLimit,
    Title,
)
from port42_protocol.request import Request


class SessionNode(Struct, frozen=True):
    """One session of a family, forked from `parent` at its record `at_seq`, both null for the first.

    `session` is null where it is no longer there; `trashed` says whether it can be restored.
    """

    session_id: str
    parent: str | None
    at_seq: int | None
    session: ListedSession | None
    trashed: bool = False


class Family(Struct, frozen=True):
    """Each node stands behind its parent; the first one has none. `complete` is false over 2,000 nodes."""

    nodes: tuple[SessionNode, ...]
    complete: bool


class Deleted(Struct, frozen=True):
    """What was moved, and the session that is its agent's last one now."""

    session: Summary
    last_session: str | None


class TrashedSession(Summary, frozen=True, kw_only=True):
    """A summary with the time of its deletion and the size of its file (bytes)."""

    trashed_at: str
    bytes: int


class TrashPage(Struct, frozen=True):
    """A page of `list_trash`; `next_cursor` is null on the last."""

    sessions: tuple[TrashedSession, ...]
    next_cursor: str | None


class Pruned(Struct, frozen=True):
    """What was done, or would be: `trashed` can be restored, `deleted` cannot.

    At most 500 of each; with `more`, the same call again goes on. `bytes` are those of `deleted`'s files:
    what is in the trash still takes its place.
    """

    dry_run: bool
    trashed: tuple[ListedSession, ...]
    deleted: tuple[TrashedSession, ...]
    bytes: int
    more: bool


@dataclass(frozen=True, slots=True)
class ForkSession(Request[Summary]):
    """Begin a session with the records of another through `at_seq`, or with all of them.

    The original stays as it is. The fork is `to_agent`'s, or its original's agent's, and that agent's last
    session. What `agent` names must own the original.
    """

    session_id: SessionId
    at_seq: RecordSeq | None = None
    to_agent: AgentName | None = None
    title: Title | None = None
    client: ClientName = "rpc"
    cwd: Folder | None = None
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class SessionTree(Request[Family]):
    """The whole family of a session: what it was forked from, and every fork."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class DeleteSession(Request[Deleted]):
    """Move a session, in which nobody is being answered, to the trash."""

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class RestoreSession(Request[Summary]):
    """Bring a session back from the trash.

    It is its agent's last one again where that has none, or none that was used later.
    """

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ListTrash(Request[TrashPage]):
    """A page of the trash, the latest first."""

    agent: AgentName | None = None
    limit: SessionLimit = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class PruneSessions(Request[Pruned]):
    """Move sessions long unused to the trash, and delete what was long in the trash for good.

    `older_than_days` says how long unused, `trash_older_than_days` how long in the trash; one of them is
    needed. `dry_run`, which is the default, only says what would be done. Pinned sessions stay, and those in
    which somebody is being answered.
    """

    older_than_days: Days | None = None
    trash_older_than_days: Days | None = None
    agent: AgentName | None = None
    dry_run: bool = True

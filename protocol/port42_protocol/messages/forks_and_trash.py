"""Requests and results about forks and the trash."""

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
    """One session of a fork tree, forked from `parent` at its record `at_seq`, both null for the root.

    `session` is null for a deleted one; `trashed` says whether it can be restored.
    """

    session_id: str
    parent: str | None
    at_seq: int | None
    session: ListedSession | None
    trashed: bool = False


class Family(Struct, frozen=True):
    """Each node comes after its parent; the root is first. `complete` is false over 2,000 nodes."""

    nodes: tuple[SessionNode, ...]
    complete: bool


class Deleted(Struct, frozen=True):
    """The session that was moved, and the one that is now its agent's last session."""

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
    """What was done, or would be with `dry_run`: `trashed` can be restored, `deleted` cannot.

    At most 500 of each; with `more`, repeat the call. `bytes` is the size of the `deleted` files: the trash
    frees no space. `original_bytes` is that of the originals that capture kept of them, where their tool has
    no file any more. `sub_agents` counts the sessions of sub-agents that go to the trash with those of
    `trashed`.
    """

    dry_run: bool
    trashed: tuple[ListedSession, ...]
    deleted: tuple[TrashedSession, ...]
    bytes: int
    more: bool
    original_bytes: int = 0
    sub_agents: int = 0


@dataclass(frozen=True, slots=True)
class ForkSession(Request[Summary]):
    """Create a session with the records of another through `at_seq`, or with all of them.

    The original is not changed. The fork belongs to `to_agent`, by default to the original's agent, and
    becomes that agent's last session. With `agent`, the original must belong to it.
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
    """Get the whole fork tree that a session belongs to."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class DeleteSession(Request[Deleted]):
    """Move a session without a running turn to the trash, with those of its sub-agents."""

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class RestoreSession(Request[Summary]):
    """Restore a session from the trash.

    It becomes its agent's last session unless another one was used later.
    """

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ListTrash(Request[TrashPage]):
    """Get a page of the trash, the latest deletion first."""

    agent: AgentName | None = None
    limit: SessionLimit = 50
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class PruneSessions(Request[Pruned]):
    """Move long unused sessions to the trash, and delete permanently those that have long been in the trash.

    `older_than_days` counts from the last use, `trash_older_than_days` from the move to the trash; at least
    one is required. `dry_run`, the default, only reports what would be done. Pinned sessions and those with a
    running turn are skipped. Sessions of sub-agents go to the trash with theirs: they are
    counted, not in `trashed`.
    """

    older_than_days: Days | None = None
    trash_older_than_days: Days | None = None
    agent: AgentName | None = None
    dry_run: bool = True

"""Moves sessions to the trash, restores them and, on request only, deletes them permanently."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Protocol

from port42_daemon.rpc import cursors
from port42_daemon.sessions.labels import new_event
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions, require_owner
from port42_daemon.store.interface import RESTORED, TRASHED, SessionFilter
from port42_protocol.errors import (
    InvalidParams,
    SessionBusy,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
    StorageFailed,
)
from port42_protocol.messages.events import DeletedEvent, RestoredEvent
from port42_protocol.messages.forks_and_trash import (
    Deleted,
    DeleteSession,
    ListTrash,
    Pruned,
    PruneSessions,
    RestoreSession,
    TrashedSession,
    TrashPage,
)
from port42_protocol.messages.records import Summary
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.times import milliseconds, now

log = logging.getLogger(__name__)

_MOST_PRUNED = 500  # sessions that one `prune_sessions` deals with
_PAGE = 500
_TOGETHER_MS = 60_000
"""Within which a session and its sub-agents' come to the trash; from another machine, in any order."""


class _Discard(Protocol):
    async def __call__(self, session_ids: Collection[str], *, dry_run: bool) -> int: ...


class _UsedSince(Exception):
    """The session was used or pinned since it was looked at."""


class Trash:
    """`delete_session`, `restore_session`, `list_trash` and `prune_sessions`."""

    def __init__(
        self,
        sessions: Sessions,
        queues: SessionQueues,
        restored: Callable[[str], Awaitable[None]] | None = None,
        discard: _Discard | None = None,
    ) -> None:
        """`restored` is called with each session that is out of the trash.

        `discard` deletes what else is kept of sessions that are deleted for good, and returns its bytes.
        """
        self._sessions = sessions
        self._queues = queues
        self._restored = restored
        self._discard = discard
        self._undiscarded: set[str] = set()
        """Sessions that are deleted for good, and of which something may be kept."""

    async def delete_session(self, request: DeleteSession) -> Deleted:
        """Move a session to the trash, with those of its sub-agents, which only its list has.

        Its agent's last session becomes the one used before it.
        """
        summary, _ = await self._delete(request.session_id, request.agent)
        return Deleted(summary, self._sessions.store.last_sessions.get(summary.agent))

    async def restore_session(self, request: RestoreSession) -> Summary:
        """Restore a session, which becomes its agent's last one if it was used last, and its sub-agents'."""
        sub_agents = await self._sessions.threads.files(self._sub_agents_in_trash, request.session_id)
        async with self._sessions.order(request.session_id):
            summary = await self._sessions.threads.files(self._restore, request)
        self._sessions.events.publish(RestoredEvent(summary.session_id, summary.agent))
        if self._restored is not None:
            await self._restored(summary.session_id)
        for session_id in sub_agents:
            with contextlib.suppress(SessionNotFound, SessionExists, SessionDamaged):
                await self.restore_session(RestoreSession(session_id))
        return summary

    def _sub_agents_in_trash(self, session_id: str) -> list[str]:
        """Those that went there with that session. Reads what came there since, and no more."""
        # Raises what the person is told: or all would be read for one that is not there.
        self._sessions.store.summary(session_id, trashed=True)
        sub_agents: list[str] = []
        before: tuple[str, str] | None = None
        earliest = 0
        while rows := self._sessions.store.trashed(None, before, _PAGE):
            for row in rows:
                trashed_at = milliseconds(row.trashed_at)
                if trashed_at < earliest:
                    return sub_agents
                if row.session_id == session_id:
                    earliest = trashed_at - _TOGETHER_MS
                elif row.parent and row.parent.session_id == session_id:
                    sub_agents.append(row.session_id)
            before = (rows[-1].trashed_at, rows[-1].session_id)
        return sub_agents

    def _restore(self, request: RestoreSession) -> Summary:
        require_owner(self._sessions.store.summary(request.session_id, trashed=True), request.agent)
        summary = self._sessions.store.restore(request.session_id)
        with self._sessions.store.writing(request.session_id) as session:
            session.append((new_event(RESTORED),), use=False)
        self._sessions.catch_up_last(summary.agent, summary.session_id, 0)
        return summary

    async def list_trash(self, request: ListTrash) -> TrashPage:
        """A page of the trash, the latest first."""
        before = None
        if request.cursor is not None:
            trashed_at, session_id = cursors.parse(request.cursor, 2)
            before = (trashed_at, session_id)
        rows = await self._sessions.threads.files(
            self._sessions.store.trashed, request.agent, before, request.limit + 1
        )
        page, more = rows[: request.limit], len(rows) > request.limit
        return TrashPage(
            tuple(page), cursors.cursor(page[-1].trashed_at, page[-1].session_id) if more else None
        )

    async def prune_sessions(self, request: PruneSessions) -> Pruned:
        """Move long unused sessions to the trash, and delete permanently what has been there for long."""
        if request.older_than_days is None and request.trash_older_than_days is None:
            expected = "a number of days, here or as trash_older_than_days"
            raise InvalidParams.expecting("older_than_days", expected)
        old: list[TrashedSession] = []
        unused: list[ListedSession] = []
        if request.trash_older_than_days is not None:
            before = (now(timedelta(days=request.trash_older_than_days)), "")
            old = await self._sessions.threads.files(
                self._sessions.store.trashed, request.agent, before, _MOST_PRUNED + 1
            )
        if request.older_than_days is not None:
            cutoff = now(timedelta(days=request.older_than_days))
            unused = await self._sessions.threads.index(self._unused, request.agent, cutoff)
            unused = [session for session in unused if not self._queues.busy(session.session_id)]
        more = max(len(old), len(unused)) > _MOST_PRUNED
        old, unused = old[:_MOST_PRUNED], unused[:_MOST_PRUNED]
        if not request.dry_run:
            purged = await self._sessions.threads.files(self._sessions.store.purge, old)
            old = [session for session in old if session.session_id in purged]
            for session in old:
                log.info("🗑 %s was deleted for good", session.session_id)
        freed = await self._discard_kept({session.session_id for session in old}, dry_run=request.dry_run)
        if request.dry_run:
            trashed = [
                (session, await self._sessions.threads.index(self._count_unused, session.session_id, cutoff))
                for session in unused
            ]
        else:
            trashed = [
                (session, sub_agents)
                for session in unused
                if (sub_agents := await self._prune(session.session_id, cutoff)) is not None
            ]
        size = sum(session.bytes for session in old)
        sub_agents = sum(number for _, number in trashed)
        pruned = tuple(session for session, _ in trashed)
        return Pruned(request.dry_run, pruned, tuple(old), size, more, freed, sub_agents)

    # --- inside -------------------------------------------------------------------------------------

    async def _discard_kept(self, gone: set[str], *, dry_run: bool) -> int:
        """Delete what else is kept of these sessions; returns its bytes."""
        if self._discard is None:
            return 0
        gone |= await self._sessions.threads.files(self._still_gone) if self._undiscarded else set()
        if dry_run:
            return await self._discard(gone, dry_run=True)
        self._undiscarded = gone  # where it fails, the next pruning tries it again
        freed = await self._discard(gone, dry_run=False)
        self._undiscarded = self._undiscarded - gone
        return freed

    def _still_gone(self) -> set[str]:
        return {each for each in self._undiscarded if self._sessions.store.where(each) is None}

    async def _delete(
        self, session_id: str, agent: str | None, unused_since: str | None = None
    ) -> tuple[Summary, int]:
        """Move a session to the trash, and update its agent's last session.

        Returns also how many sessions of sub-agents went with it.
        The session must be `agent`'s where one is named. With `unused_since`, raises `_UsedSince` where it
        was used since, or is pinned.
        """
        async with self._queues.exclusive(session_id), self._sessions.order(session_id):
            owner = (await self._sessions.owned(session_id, agent)).agent
            # Asked before anything is moved: where the index cannot answer, nothing is.
            recent = await self._sessions.used_last(2, owner)
            following = next((row.session_id for row in recent if row.session_id != session_id), None)
            below = await self._sessions.threads.index(self._sub_agents, session_id)
            summary = await self._sessions.threads.files(self._move, session_id, agent, unused_since)
            self._sessions.events.publish(DeletedEvent(session_id, summary.agent))
            log.info("🗑 %s → trash", session_id)
            # The session is deleted: an error would say that nothing has changed. What a full disk does not
            # take is in memory, and a start finds that the session is gone.
            with contextlib.suppress(StorageFailed):
                await self._sessions.threads.files(
                    self._sessions.store.set_last, summary.agent, following, instead_of=session_id
                )
        sub_agents = 0
        for session in below:
            with contextlib.suppress(_UsedSince, SessionBusy, SessionNotFound, SessionDamaged):
                _, further = await self._delete(session.session_id, None, unused_since)
                sub_agents += 1 + further
        return summary, sub_agents

    def _count_unused(self, session_id: str, cutoff: str) -> int:
        """How many sessions of its sub-agents, and of theirs, would go with it."""
        unused = [
            session
            for session in self._sub_agents(session_id)
            if not (session.pinned or session.last_activity >= cutoff)
        ]
        return sum(1 + self._count_unused(session.session_id, cutoff) for session in unused)

    def _sub_agents(self, session_id: str) -> list[ListedSession]:
        sub_agents: list[ListedSession] = []
        before: tuple[int, str] | None = None
        while True:
            page, before, _ = self._sessions.catalogue.page(SessionFilter(parent=session_id), before, _PAGE)
            sub_agents += page
            if before is None:
                return sub_agents

    def _move(self, session_id: str, agent: str | None, unused_since: str | None) -> Summary:
        with self._sessions.store.writing(session_id) as session:
            summary = session.summary
            require_owner(summary, agent)
            if unused_since is not None and (summary.pinned or summary.last_activity >= unused_since):
                raise _UsedSince
            # A full disk does not take it; a deletion works there all the same.
            with contextlib.suppress(StorageFailed):
                session.append((new_event(TRASHED),), use=False)
            session.trash()
        return summary

    def _unused(self, agent: str | None, cutoff: str) -> list[ListedSession]:
        """Sessions used before `cutoff` and not pinned, one more than are dealt with if there are more."""
        unused: list[ListedSession] = []
        before: tuple[int, str] | None = (milliseconds(cutoff), "")
        while before is not None and len(unused) <= _MOST_PRUNED:
            page, before, _ = self._sessions.catalogue.page(SessionFilter(agent=agent), before, _MOST_PRUNED)
            unused += [session for session in page if not session.pinned]
        return unused

    async def _prune(self, session_id: str, cutoff: str) -> int | None:
        """Move it to the trash; returns how many of sub-agents went with it, None where it stays."""
        try:
            _, sub_agents = await self._delete(session_id, None, cutoff)
        except (_UsedSince, SessionBusy, SessionNotFound, SessionDamaged):
            return None
        return sub_agents

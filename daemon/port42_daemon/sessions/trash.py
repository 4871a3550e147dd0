"""Sessions thrown away, brought back and, only when asked for, deleted for good."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from port42_daemon import cursors
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions, now, require_owner
from port42_daemon.store.interface import Store
from port42_protocol.errors import InvalidParams, SessionBusy, SessionDamaged, SessionNotFound
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

log = logging.getLogger(__name__)

_AT_ONCE = 500
"""Sessions that one `prune_sessions` deals with."""


class _Spared(Exception):
    """The session was used or pinned since it was looked at."""


class Trash:
    """`delete_session`, `restore_session`, `list_trash` and `prune_sessions`."""

    def __init__(
        self, store: Store, threads: Threads, sessions: Sessions, queues: SessionQueues, hub: Events
    ) -> None:
        self._store = store
        self._threads = threads
        self._sessions = sessions
        self._queues = queues
        self._events = hub

    async def delete_session(self, request: DeleteSession) -> Deleted:
        """Move a session to the trash; its agent goes on with the one it used before."""
        summary = await self._throw_away(request.session_id, lambda one: _owned(one, request.agent))
        return Deleted(summary, self._store.last(summary.agent))

    async def restore_session(self, request: RestoreSession) -> Summary:
        """Bring a session back; it is the last one again where it was used last."""

        def restore() -> Summary:
            summary = self._store.restore(request.session_id, lambda one: _owned(one, request.agent))
            self._sessions.mend_last(summary.agent, summary.session_id, 0)
            return summary

        async with self._sessions.order(request.session_id):
            summary = await self._threads.files(restore)
        self._tell(RestoredEvent, summary)
        return summary

    async def list_trash(self, request: ListTrash) -> TrashPage:
        """A page of the trash, the latest first."""
        before = None if request.cursor is None else cursors.parse(request.cursor)
        found = await self._threads.files(self._store.trashed, request.agent, before, request.limit + 1)
        page, more = found[: request.limit], len(found) > request.limit
        return TrashPage(
            tuple(page), cursors.cursor(page[-1].trashed_at, page[-1].session_id) if more else None
        )

    async def prune_sessions(self, request: PruneSessions) -> Pruned:
        """What was not used for long goes to the trash, what was there for long is deleted for good."""
        if request.older_than_days is None and request.trash_older_than_days is None:
            expected = "a number of days, here or as trash_older_than_days"
            raise InvalidParams.expecting("older_than_days", expected)
        old: list[TrashedSession] = []
        unused: list[ListedSession] = []
        if request.trash_older_than_days is not None:
            before = (_cutoff(request.trash_older_than_days), "")
            old = await self._threads.files(self._store.trashed, request.agent, before, _AT_ONCE + 1)
        if request.older_than_days is not None:
            cutoff = _cutoff(request.older_than_days)
            unused = await self._threads.index(self._unused, request.agent, cutoff)
            unused = [one for one in unused if not self._queues.busy(one.session_id)]
        more = max(len(old), len(unused)) > _AT_ONCE
        old, unused = old[:_AT_ONCE], unused[:_AT_ONCE]
        if not request.dry_run:
            await self._threads.files(self._store.purge, old)
            for one in old:
                log.info("🗑 %s was deleted for good", one.session_id)
            unused = [one for one in unused if await self._prune(one.session_id, cutoff)]
        return Pruned(request.dry_run, tuple(unused), tuple(old), sum(one.bytes for one in old), more)

    # --- inside -------------------------------------------------------------------------------------

    async def _throw_away(self, session_id: str, check: Callable[[Summary], None]) -> Summary:
        """Move it to the trash, unless `check` raises, and have its agent go on with another."""
        async with self._queues.exclusive(session_id), self._sessions.order(session_id):
            found = await self._threads.files(self._store.summary, session_id)
            check(found)
            # Asked for before anything is moved: where the index cannot answer, nothing is.
            recent = await self._threads.index(self._store.page, agent=found.agent, limit=2)
            following = next((one.session_id for one in recent if one.session_id != session_id), None)
            summary = await self._threads.files(self._store.trash, session_id, check)
            self._tell(DeletedEvent, summary)
            log.info("🗑 %s → trash", session_id)
            await self._threads.files(self._store.change_last, summary.agent, session_id, following)
        return summary

    def _unused(self, agent: str | None, cutoff: str) -> list[ListedSession]:
        """Sessions used before `cutoff` and not pinned, one more than are dealt with if there are more."""
        found: list[ListedSession] = []
        before = (cutoff, "")
        while len(found) <= _AT_ONCE:
            page = self._store.page(agent=agent, before=before, limit=_AT_ONCE)
            found += [one for one in page if not one.pinned]
            if len(page) < _AT_ONCE:
                break
            before = (page[-1].last_activity, page[-1].session_id)
        return found

    async def _prune(self, session_id: str, cutoff: str) -> bool:
        def still_unused(one: Summary) -> None:
            if one.pinned or one.last_activity >= cutoff:
                raise _Spared

        try:
            await self._throw_away(session_id, still_unused)
        except (_Spared, SessionBusy, SessionNotFound, SessionDamaged):
            return False
        return True

    def _tell(self, kind: type[DeletedEvent | RestoredEvent], summary: Summary) -> None:
        self._events.publish(kind(summary.session_id, summary.agent))


def _owned(summary: Summary, agent: str | None) -> None:
    if agent is not None:
        require_owner(summary, agent)


def _cutoff(days: int) -> str:
    return now(timedelta(days=days))

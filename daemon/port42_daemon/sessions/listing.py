"""Lists of sessions and searches through them, a page at a time, and the index behind both."""

from __future__ import annotations

from port42_daemon import cursors
from port42_daemon.executors import Threads
from port42_daemon.store.index.query import parse
from port42_daemon.store.interface import Store
from port42_protocol.messages.search import GetIndexStatus, HitPage, IndexStatus, RebuildIndex, SearchSessions
from port42_protocol.messages.sessions import ListSessions, SessionPage


class Finding:
    """The handlers."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads

    async def list_sessions(self, request: ListSessions) -> SessionPage:
        """A page by last use, newest first; the cursor holds its place while sessions change."""
        before = None if request.cursor is None else cursors.parse(request.cursor)
        found = await self._threads.index(
            self._store.page,
            agent=request.agent,
            cwd=request.cwd,
            state=request.state,
            tag=request.tag,
            pinned=request.pinned,
            before=before,
            limit=request.limit + 1,
        )
        page = found[: request.limit]
        more = len(found) > request.limit
        onward = cursors.cursor(page[-1].last_activity, page[-1].session_id) if more else None
        return SessionPage(tuple(page), onward)

    async def search_sessions(self, request: SearchSessions) -> HitPage:
        """A page of hits, best first; what is recorded meanwhile does not change the pages that follow."""
        query = parse(request.query, request.agent)
        upto, offset = (None, 0) if request.cursor is None else cursors.numbers(request.cursor)
        found, upto, more, complete = await self._threads.index(
            self._store.search, query, upto, offset, request.limit
        )
        onward = cursors.cursor(upto, offset + request.limit) if more else None
        return HitPage(tuple(found), onward, complete)

    async def get_index_status(self, _: GetIndexStatus) -> IndexStatus:
        """How far the index is."""
        return await self._threads.index(self._store.index_status)

    async def rebuild_index(self, _: RebuildIndex) -> IndexStatus:
        """Begin it anew; gives how it stands, which is empty."""
        await self._threads.index(self._store.rebuild_index)
        return await self._threads.index(self._store.index_status)

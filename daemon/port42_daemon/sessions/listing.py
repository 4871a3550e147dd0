"""Lists and searches sessions a page at a time, and reports on the index."""

from __future__ import annotations

from msgspec import UNSET

from port42_daemon.executors import Threads
from port42_daemon.rpc import cursors
from port42_daemon.store.interface import Catalogue, Maintenance, SessionFilter
from port42_protocol.messages.search import GetIndexStatus, HitPage, IndexStatus, RebuildIndex, SearchSessions
from port42_protocol.messages.sessions import ListSessions, SessionPage


class Listing:
    """Lists, searches and the requests about the index."""

    def __init__(self, catalogue: Catalogue, maintenance: Maintenance, threads: Threads) -> None:
        self._catalogue = catalogue
        self._maintenance = maintenance
        self._threads = threads

    async def list_sessions(self, request: ListSessions) -> SessionPage:
        """A page by last use, newest first; the cursor holds its position while sessions change."""
        before = None
        if request.cursor is not None:
            use, session_id = cursors.parse(request.cursor, 2)
            before = (cursors.number(use), session_id)
        wanted = SessionFilter(
            agent=request.agent,
            cwd=request.cwd,
            state=request.state,
            tag=request.tag,
            pinned=request.pinned,
            parent=request.parent,
        )
        sessions, onward, unreadable = await self._threads.index(
            self._catalogue.page, wanted, before, request.limit
        )
        cursor = None if onward is None else cursors.cursor(*onward)
        return SessionPage(tuple(sessions), cursor, unreadable or UNSET)

    async def search_sessions(self, request: SearchSessions) -> HitPage:
        """A page of hits, best first; what is recorded meanwhile does not change the pages that follow."""
        upto, offset = None, 0
        if request.cursor is not None:
            upto, offset = cursors.numbers(request.cursor, 2)
            if offset >= 1 << 31:
                raise cursors.refused()
        result = await self._threads.index(
            self._catalogue.search, request.query, request.agent, upto, offset, request.limit
        )
        onward = cursors.cursor(result.upto, offset + request.limit) if result.more else None
        return HitPage(
            tuple(result.hits), onward, result.missing is None, result.missing, result.hints or UNSET
        )

    async def get_index_status(self, _: GetIndexStatus) -> IndexStatus:
        return await self._threads.index(self._catalogue.status)

    async def rebuild_index(self, _: RebuildIndex) -> IndexStatus:
        """Start a rebuild; returns the state, which is empty."""
        await self._threads.index(self._maintenance.rebuild_index)
        return await self._threads.index(self._catalogue.status)

"""Lists of sessions and searches through them, a page at a time, and the index behind both."""

from __future__ import annotations

import base64
import binascii

from port42_daemon.store.contract import Store
from port42_daemon.store.index.query import parse
from port42_daemon.threads import Threads
from port42_protocol import messages as m
from port42_protocol.errors import InvalidParams


class Finding:
    """The handlers."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads

    async def list_sessions(self, asked: m.ListSessions) -> m.SessionPage:
        """A page by last use, newest first; the cursor holds its place while sessions change."""
        before = None if asked.cursor is None else _place(asked.cursor)
        found = await self._threads.index(
            self._store.page,
            agent=asked.agent,
            cwd=asked.cwd,
            state=asked.state,
            tag=asked.tag,
            pinned=asked.pinned,
            before=before,
            limit=asked.limit + 1,
        )
        page = found[: asked.limit]
        onward = f"{page[-1].last_activity} {page[-1].session_id}" if len(found) > asked.limit else None
        return m.SessionPage(tuple(page), _cursor(onward))

    async def search_sessions(self, asked: m.SearchSessions) -> m.HitPage:
        """A page of hits, best first; what is recorded meanwhile does not change the pages that follow."""
        query = parse(asked.query, asked.agent)
        upto, offset = (None, 0) if asked.cursor is None else _numbers(asked.cursor)
        found, upto, more, complete = await self._threads.index(
            self._store.search, query, upto, offset, asked.limit
        )
        onward = f"{upto} {offset + asked.limit}" if more else None
        return m.HitPage(tuple(found), _cursor(onward), complete)

    async def get_index_status(self, _: m.GetIndexStatus) -> m.IndexStatus:
        """How far the index is."""
        return await self._threads.index(self._store.index_status)

    async def rebuild_index(self, _: m.RebuildIndex) -> m.IndexStatus:
        """Begin it anew; gives how it stands, which is empty."""
        await self._threads.index(self._store.rebuild_index)
        return await self._threads.index(self._store.index_status)


def _cursor(place: str | None) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[str, str]:
    first, second = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")
    return first, second


def _place(cursor: str) -> tuple[str, str]:
    try:
        return _parse(cursor)
    except (binascii.Error, ValueError):
        raise _refused() from None


def _numbers(cursor: str) -> tuple[int, int]:
    try:
        first, second = (int(one) for one in _parse(cursor))
    except (binascii.Error, ValueError):
        raise _refused() from None
    # SQLite's integers end there; ours never come near.
    if not (0 <= first < 1 << 63 and 0 <= second < 1 << 31):
        raise _refused()
    return first, second


def _refused() -> InvalidParams:
    expected = "a next_cursor from an earlier page"
    return InvalidParams(f"cursor: expected {expected}", field="cursor", expected=expected)

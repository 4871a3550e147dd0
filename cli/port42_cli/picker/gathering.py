"""Loads the picker's data from the daemon on two threads, so that the screen never waits.

The sessions come page by page, newest use first, on a connection of their own; previews and searches
share the other. Both end with the picker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from port42_cli.picker.matching import Choice, Fit, choice
from port42_client.daemon import Daemon
from port42_protocol.messages.records import Message
from port42_protocol.messages.search import SearchSessions
from port42_protocol.messages.sessions import GetSession, ListSessions

T = TypeVar("T")

FIRST_PAGE, PAGE = 100, 500
"""Sessions a request asks for: a screenful at once, the rest in as few requests as there may be."""

PREVIEWED = 12
"""Messages of a session's end that a preview asks for."""

SEARCHED = 50
"""Hits that a search asks for."""


class Gathering:
    """Asks for choices, previews and hits. `CommandError` leaves every method when the daemon refuses."""

    def __init__(self, daemon: Daemon, agent: str | None) -> None:
        self._agent = agent
        self._listing, self._looking = daemon.client(), daemon.client()
        self._list_thread, self._look_thread = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def page(self, limit: int = FIRST_PAGE, cursor: str | None = None) -> tuple[list[Choice], str | None]:
        """The newest sessions, or those behind `cursor`, and the cursor to go on from; waits for them."""
        page = self._listing.call(ListSessions(self._agent, limit=limit, cursor=cursor))
        return [choice(session) for session in page.sessions], page.next_cursor

    async def rest(self, cursor: str | None) -> AsyncIterator[list[Choice]]:
        while cursor:
            page, cursor = await _on(self._list_thread, partial(self.page, PAGE, cursor))
            yield page

    async def preview(self, picked: Choice) -> list[Message]:
        return await _on(self._look_thread, partial(self._end_of, picked))

    async def hits(self, typed: str) -> list[Fit]:
        """Sessions with a message that fits, each once, the best first."""
        return await _on(self._look_thread, partial(self._search, typed))

    def close(self) -> None:
        """Hang up; what is under way is not waited for."""
        for thread in (self._list_thread, self._look_thread):
            thread.shutdown(wait=False, cancel_futures=True)
        self._listing.close()
        self._looking.close()

    def _end_of(self, picked: Choice) -> list[Message]:
        # Events count in seq and not in message_count, so this begins at the last messages or before.
        after = max(0, picked.message_count - PREVIEWED)
        last: deque[Message] = deque(maxlen=PREVIEWED)
        for page in self._looking.pages(GetSession(picked.session_id, after_seq=after)):
            last.extend(record for record in page.messages if isinstance(record, Message))
        return list(last)

    def _search(self, typed: str) -> list[Fit]:
        hits = self._looking.call(SearchSessions(typed, self._agent, limit=SEARCHED)).hits
        best: dict[str, Fit] = {}
        for rank, hit in enumerate(hits):
            best.setdefault(hit.session.session_id, Fit((rank, 0), choice(hit.session), hit.snippet))
        return list(best.values())


async def _on(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)

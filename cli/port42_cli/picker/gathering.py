"""Loads the picker's data from the daemon on two threads, so that the screen never waits.

The sessions come page by page, newest use first, on a connection of their own; previews and searches share
the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from port42_cli.picker.matching import Choice, Fit, choice
from port42_cli.session_end import last_records
from port42_client.daemon import Daemon
from port42_client.errors import Refused
from port42_protocol.messages.agents import GetAgent
from port42_protocol.messages.records import Record, Summary
from port42_protocol.messages.search import SearchSessions
from port42_protocol.messages.sessions import ListSessions

FIRST_PAGE, PAGE = 100, 500  # sessions per request: a screenful at once, then as many as are allowed
PREVIEWED = 12  # records of a session's end in its preview
SEARCHED = 50  # hits of a search


class Gathering:
    """Sessions, previews and search hits. All methods raise `CommandError`."""

    def __init__(self, daemon: Daemon, agent: str | None) -> None:
        self._agent = agent
        self._listing, self._looking = daemon.client(), daemon.client()
        self._list_thread, self._look_thread = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def page(self, limit: int = FIRST_PAGE, cursor: str | None = None) -> tuple[list[Choice], str | None]:
        """The newest sessions, or those after `cursor`, and the next cursor. Blocks."""
        page = self._listing.call(ListSessions(self._agent, limit=limit, cursor=cursor))
        return [choice(session) for session in page.sessions], page.next_cursor

    def nothing(self) -> Refused:
        """Why there is no session at all. Raises `DaemonError` for an agent that is not known. Blocks."""
        if self._agent is None:
            return Refused('there are no sessions: `port42 possess @AGENT "…"` begins one')
        agent = self._listing.call(GetAgent(self._agent)).agent
        return Refused(f"no previous sessions found for @{agent}")

    async def later_pages(self, cursor: str | None) -> AsyncIterator[list[Choice]]:
        loop = asyncio.get_running_loop()
        while cursor:
            page, cursor = await loop.run_in_executor(self._list_thread, self.page, PAGE, cursor)
            yield page

    async def preview(self, session: Summary) -> list[Record]:
        return await asyncio.get_running_loop().run_in_executor(self._look_thread, self._end_of, session)

    async def hits(self, typed: str) -> list[Fit]:
        """Sessions with a message that fits, each once, the best first."""
        return await asyncio.get_running_loop().run_in_executor(self._look_thread, self._search, typed)

    def close(self) -> None:
        """Requests under way are not waited for."""
        for thread in (self._list_thread, self._look_thread):
            thread.shutdown(wait=False, cancel_futures=True)
        self._listing.close()
        self._looking.close()

    def _end_of(self, session: Summary) -> list[Record]:
        return last_records(self._looking, session.session_id, 2 * PREVIEWED)[-PREVIEWED:]

    def _search(self, typed: str) -> list[Fit]:
        best: dict[str, Fit] = {}
        hits = self._looking.call(SearchSessions(typed, self._agent, limit=SEARCHED)).hits
        for rank, hit in enumerate(hits):
            best.setdefault(hit.session.session_id, Fit((rank, 0), hit.session, hit))
        return list(best.values())

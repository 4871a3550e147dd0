"""Questions across sessions, answered from `index.db`, which is derived from their files.

Rows that appends left behind are written before a question is answered. Where the file fails, it is made
anew, or replaced by one in memory, and the question is asked again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from port42_daemon.store.index import messages, sessions
from port42_daemon.store.index import stats as statistics
from port42_daemon.store.index.indexer import Indexer
from port42_daemon.store.index.query import Query, parse
from port42_daemon.store.index.schema import Database, reason
from port42_daemon.store.index.search import Searches
from port42_daemon.store.index.sessions import SessionUpdate
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.interface import Catalogue, SessionFilter
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.errors import storage
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.doctor_and_stats import Statistics
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState as IndexStateName

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_FLUSHED_BY_A_SEARCH = 300
"""Messages whose text a search writes before it looks, so that what was just said is found."""
_SHORTEST_PREFIX = 4
_ATTEMPTS = 3
"""With the file, with the one made in its place, with an index in memory."""


class SessionIndex(Catalogue):
    """Safe to call from any thread; questions block. Only `StorageFailed` leaves them."""

    def __init__(self, path: Path, session_files: OpenSessions) -> None:
        self._database = Database(path)
        self._state = IndexState()
        self._searches = Searches()
        self._counts: tuple[int, dict[str, int] | None] = -1, None
        self._writer = IndexWriter(self._database, self._state)
        self._indexer = Indexer(self._database, self._writer, self._state, session_files)

    # --- lifetime -----------------------------------------------------------------------------------

    def start(self) -> None:
        self._indexer.start()

    def close(self) -> None:
        """End the thread, write what is pending, close the file."""
        self._indexer.stop()
        self._writer.close()
        with self._database.write_lock, self._database.read_lock:
            self._database.close()

    # --- told by the store --------------------------------------------------------------------------

    def note(self, update: SessionUpdate) -> None:
        self._writer.note(update)

    def forget(self, session_id: str) -> None:
        """Delete what there is of a session that is gone. Where that fails, the next scan does it."""
        try:
            self._writer.forget(session_id)
        except sqlite3.Error as error:
            log.warning("⚠ %s stays in the list for now: %s", session_id, error)
            self._indexer.report(error, self._database.generation)

    def erase_deleted_text(self) -> None:
        self._indexer.erase_deleted_text()

    def rebuild(self, wait: float = 0.0) -> bool:
        """Make the index anew, in the background thread; whether that began within `wait` seconds."""
        return self._indexer.rebuild().wait(wait)

    def differing(self) -> list[str]:
        return self._retrying(self._differing)

    def _differing(self) -> list[str]:
        with storage("look at the sessions"):
            return self._indexer.differing()

    def update(self, session_ids: Sequence[str]) -> None:
        self._retrying(self._indexer.update, session_ids)

    # --- lists --------------------------------------------------------------------------------------

    def page(
        self, wanted: SessionFilter, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[ListedSession], tuple[int, str] | None, int]:
        with storage("ask the index"):
            self._indexer.check_folder()
        rows = self._ask(sessions.page, wanted, before, limit + 1)
        if self._indexer.update_changed(rows):
            rows = self._ask(sessions.page, wanted, before, limit + 1)
        page = [row.session for row in rows[:limit]]
        onward = (rows[limit - 1].use, page[-1].session_id) if len(rows) > limit else None
        return page, onward, self._indexer.unreadable_sessions

    def latest_use(self) -> int:
        """The latest use that the index has. Does not wait until it has every session's."""
        try:
            with self._database.read_lock:
                return sessions.latest_use(self._database.reading)
        except sqlite3.Error:
            return 0

    def matching(self, ref: str, agent: str | None, limit: int) -> list[Summary]:
        rows: list[Summary] = []
        if len(ref) >= _SHORTEST_PREFIX:
            rows = self._ask(sessions.with_prefix, ref, agent, limit)
        return rows or self._ask(sessions.with_title, ref, agent, limit)

    def family(self, session_ids: Sequence[str]) -> list[ListedSession]:
        return self._ask(sessions.family, session_ids)

    def counts(self) -> dict[str, int]:
        changes = self._writer.session_changes
        counts = self._ask(sessions.counts)
        self._counts = changes, counts
        return counts

    def known_counts(self) -> dict[str, int] | None:
        changes, counts = self._counts
        return counts if changes == self._writer.session_changes else None

    def sizes(self) -> dict[str, tuple[int, int]]:
        return self._ask(sessions.sizes)

    def newest(self) -> dict[str, str]:
        return self._ask(sessions.newest)

    # --- messages -----------------------------------------------------------------------------------

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of the message that `agent` recorded under `key`.

        With a session, that one is read at once. Without, this waits until no session is stale: an answer
        that may be wrong is none.
        """
        return self._retrying(self._with_key, agent, key, session_id)

    def _with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        self._writer.flush_rows()
        if session_id is not None:
            self._indexer.read_now(session_id)
        elif not self._state.wait_caught_up():
            raise StorageFailed(f"cannot ask the index: {self._state.reason}")
        self._writer.flush_rows()
        with self._database.read_lock:
            return messages.with_key(self._database.reading, agent, key, session_id)

    def search(
        self, text: str, agent: str | None, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, str | None]:
        query = parse(text, agent)
        with storage("ask the index"):
            self._indexer.check_folder()
        return self._retrying(self._search, query, upto, offset, limit)

    def _search(
        self, query: Query, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, str | None]:
        flushed = self._writer.flush(_FLUSHED_BY_A_SEARCH)
        with self._database.read_lock:
            generation = self._database.generation
            page = self._searches.page(self._database.reading, query, upto, offset, limit, generation)
        return (*page, self._incomplete(flushed=flushed))

    def statistics(self, agent: str | None, days: int | None, now: datetime | None = None) -> Statistics:
        """Statistics, in the time zone of `now`, or in this machine's."""
        return self._retrying(self._statistics, agent, days, now or datetime.now().astimezone())

    def _statistics(self, agent: str | None, days: int | None, now: datetime) -> Statistics:
        complete = self._incomplete(flushed=self._writer.flush(_FLUSHED_BY_A_SEARCH)) is None
        return self._query(statistics.statistics, agent, days, now, complete=complete)

    # --- the index itself ---------------------------------------------------------------------------

    @property
    def state(self) -> IndexStateName:
        phase = self._state.phase
        if self._database.in_memory and phase in {Phase.STALE, Phase.READY}:
            return "unusable"
        return phase.value

    def status(self) -> IndexStatus:
        return self._retrying(self._status)

    def _status(self) -> IndexStatus:
        self._writer.flush()
        stale = self._writer.stale_sessions()
        with self._database.read_lock:
            count, messages_indexed = self._database.reading.execute(
                "SELECT count(*), cast(min(total(message_count), 9e15) AS INTEGER) FROM sessions"
            ).fetchone()
        return IndexStatus(
            complete=self._incomplete() is None,
            sessions=count,
            sessions_behind=len(stale),
            messages=messages_indexed,
            records_behind=sum(records for _, records in stale),
            bytes=self._database.size,
            reason=self._trouble(),
        )

    def problem(self) -> str | None:
        """The problem of the file, as text after its name. Reads every page, which may take seconds."""
        if self._database.in_memory:
            return f"cannot be used: {self._state.reason}"
        return self._database.problem()

    # --- inside -------------------------------------------------------------------------------------

    @property
    def is_reading(self) -> bool:
        return self._indexer.is_alive

    def _incomplete(self, *, flushed: bool = True) -> str | None:
        """Why an answer from messages may lack some; None when it lacks none."""
        if self._state.phase is Phase.READY and flushed:
            return None if self._writer.has_all_text else f"{self._trouble()}; memory holds a part only"
        return self._trouble() or "some messages are still to be read into the index"

    def _trouble(self) -> str | None:
        """Why the index is not what it should be, and does not become so by itself at once."""
        if self._database.in_memory:
            return f"index.db cannot be used: {self._state.reason}"
        if self._state.phase is Phase.UNUSABLE:
            return f"the index is not up to date: {self._state.reason}"
        return None

    def _ask(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._retrying(lambda: self._query(query, *args, **kwargs))

    def _query(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` on the reading connection, with what is pending written."""
        self._writer.flush_rows()
        with self._database.read_lock:
            return query(self._database.reading, *args, **kwargs)

    def _retrying(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `action` once lists are right, and again where the database had to be replaced.

        Raises `StorageFailed`.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            self._state.wait_listed()
            generation = self._database.generation
            try:
                return action(*args, **kwargs)
            except sqlite3.Error as error:
                if not self._indexer.report(error, generation) or attempt == _ATTEMPTS:
                    log.error("cannot ask the index: %s", error)
                    raise StorageFailed(f"cannot ask the index: {reason(error)}") from error
        raise AssertionError

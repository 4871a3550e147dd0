"""Questions across sessions, answered from `index.db`.

Rows that appends left behind are written before a question is answered. Where the file fails, it is made
anew, or replaced by one in memory, and the question is asked again.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from port42_daemon.store.index import messages, search, sessions, stats
from port42_daemon.store.index.indexer import Indexer
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.schema import Database, reason
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.interface import Catalogue, SearchResult, SessionFilter
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.errors import storage
from port42_protocol.counting import count
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.doctor_and_stats import Statistics
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState as IndexStateName

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_READ_BY_A_SEARCH = 1_000
"""Records that a search reads before it looks, so that what was just said is found."""
_SHORTEST_PREFIX = 4
_ATTEMPTS = 3
"""With the file, with the one made in its place, with an index in memory."""


def _retried(
    method: Callable[Concatenate[SessionIndex, P], T],
) -> Callable[Concatenate[SessionIndex, P], T]:
    """Run the method once lists are right, and again where the database had to be replaced."""

    @functools.wraps(method)
    def run(index: SessionIndex, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            index._state.wait_listed()
            generation = index._database.generation
            try:
                return method(index, *args, **kwargs)
            except sqlite3.Error as error:
                if not index._indexer.report(error, generation) or attempt == _ATTEMPTS:
                    log.error("cannot ask the index: %s", error)
                    raise StorageFailed(f"cannot ask the index: {reason(error)}") from error
        raise AssertionError

    return run


class SessionIndex(Catalogue):
    """Safe to call from any thread; questions block. Only `StorageFailed` leaves them."""

    def __init__(
        self, path: Path, session_files: OpenSessions, give_back_memory: Callable[[], None] | None = None
    ) -> None:
        self._database = Database(path)
        self._state = IndexState()
        self._counts: tuple[int, dict[str, int] | None] = -1, None
        self._writer = IndexWriter(self._database, self._state)
        self._indexer = Indexer(self._database, self._writer, self._state, session_files, give_back_memory)
        self.start = self._indexer.start
        self.note = self._writer.note
        self.erase_deleted_text = self._indexer.erase_deleted_text
        self.give_way = self._indexer.give_way

    def close(self) -> None:
        """End the thread, write what is pending, close the file."""
        self._indexer.stop()
        self._writer.close()
        with self._database.write_lock, self._database.read_lock:
            self._database.close()

    def forget(self, session_id: str) -> None:
        """Delete what there is of a session that is gone. Where that fails, the next scan does it."""
        try:
            self._writer.forget(session_id)
        except sqlite3.Error as error:
            log.warning("⚠ %s stays in the list for now: %s", session_id, error)
            self._indexer.report(error, self._database.generation)

    def rebuild(self, wait: float = 0.0) -> bool:
        """Make the index anew, in the background thread; whether that began within `wait` seconds."""
        return self._indexer.rebuild().wait(wait)

    @_retried
    def differing(self) -> list[str]:
        """Sessions whose rows do not say what their files are now."""
        with storage("look at the sessions"):
            return self._indexer.differing()

    @_retried
    def update(self, session_ids: Sequence[str]) -> None:
        """Read the two ends of these sessions into the index; remove those that are gone."""
        self._indexer.update(session_ids)

    @_retried
    def page(
        self, wanted: SessionFilter, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[ListedSession], tuple[int, str] | None, int]:
        with storage("ask the index"):
            self._indexer.check_folder()
        rows = self._query(sessions.page, wanted, before, limit + 1)
        if self._indexer.update_changed(rows):
            rows = self._query(sessions.page, wanted, before, limit + 1)
        page = [row.session for row in rows[:limit]]
        onward = (rows[limit - 1].use, page[-1].session_id) if len(rows) > limit else None
        return page, onward, self._indexer.unreadable_sessions

    def latest_use(self) -> int:
        """The latest use that the index has. Does not wait until it has every session's."""
        try:
            with self._database.read_lock:
                latest = self._database.reading.execute("SELECT coalesce(max(used), 0) FROM sessions")
                return int(latest.fetchone()[0])
        except sqlite3.Error:
            return 0

    @property
    def is_recovered(self) -> bool:
        return self._state.is_recovered

    def wait_recovered(self) -> bool:
        return self._state.wait_recovered()

    @_retried
    def matching(self, ref: str, agent: str | None, limit: int) -> list[Summary]:
        rows: list[Summary] = []
        if len(ref) >= _SHORTEST_PREFIX:
            rows = self._query(sessions.with_prefix, ref, agent, limit)
        return rows or self._query(sessions.with_title, ref, agent, limit)

    @_retried
    def family(self, session_ids: Sequence[str]) -> list[ListedSession]:
        return self._query(sessions.family, session_ids)

    @_retried
    def early_forks(self, originals: Sequence[str]) -> list[tuple[str, str]]:
        return self._query(sessions.early_forks, originals)

    @_retried
    def by_native(self, native_ids: Sequence[str]) -> dict[str, str]:
        return self._query(sessions.by_native, native_ids)

    @_retried
    def counts(self) -> dict[str, int]:
        changes = self._writer.session_changes
        counts = dict(self._rows("SELECT agent, count(*) FROM sessions WHERE parent IS NULL GROUP BY agent"))
        self._counts = changes, counts
        return counts

    @_retried
    def files(self) -> dict[str, tuple[int, int]]:
        self._state.wait_recovered()
        return self._query(sessions.files)

    @property
    def known_counts(self) -> dict[str, int] | None:
        changes, counts = self._counts
        return counts if changes == self._writer.session_changes else None

    @_retried
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Of each agent, how many sessions and their bytes."""
        rows = self._rows("SELECT agent, count(*), sum(size) FROM sessions GROUP BY agent")
        return {agent: (count, size) for agent, count, size in rows}

    @_retried
    def newest(self) -> dict[str, str]:
        """The session that each agent used last, but for those of sub-agents."""
        # SQLite: bare columns beside max() come from the row that has it (lang_select, 2.5).
        rows = self._rows(
            "SELECT agent, session_id, max(printf('%016d', used) || session_id) FROM sessions"
            " WHERE parent IS NULL GROUP BY agent"
        )
        return {agent: session_id for agent, session_id, _ in rows}

    @_retried
    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of the message that `agent` recorded under `key`.

        With a session, that one is read at once, and the forks that a hub made of it. Without, this waits
        until no session is stale: an answer that may be wrong is none.
        """
        self._writer.flush()
        sessions = None if session_id is None else self._query(messages.with_hub_forks, session_id)
        for each in sessions or ():
            self._indexer.read_now(each)
        if sessions is None and not self._state.wait_caught_up():
            raise StorageFailed(f"cannot ask the index: {self._state.reason}")
        return self._query(messages.with_key, agent, key, sessions)

    @_retried
    def search(self, text: str, agent: str | None, upto: int | None, offset: int, limit: int) -> SearchResult:
        query = parse(text, agent)
        with storage("ask the index"):
            self._indexer.check_folder()
        caught_up = self._indexer.catch_up(_READ_BY_A_SEARCH)
        hits, upto, more = self._query(search.page, query, upto, offset, limit)
        return SearchResult(hits, upto, more, self._incomplete(caught_up=caught_up), query.hints)

    @_retried
    def statistics(self, agent: str | None, days: int | None, now: datetime | None = None) -> Statistics:
        """Statistics, in the time zone of `now`, or in this machine's."""
        complete = self._incomplete(caught_up=self._indexer.catch_up(_READ_BY_A_SEARCH)) is None
        now = now or datetime.now().astimezone()
        return self._query(stats.statistics, agent, days, now, complete=complete)

    @property
    def state(self) -> IndexStateName:
        phase = self._state.phase
        if self._database.in_memory and phase is not Phase.SCANNING:
            return "unusable"
        return "behind" if phase is Phase.RECOVERING else phase.value

    @_retried
    def status(self, *, read: bool = True) -> IndexStatus:
        """The state of the index, after reading what was appended: reading repairs what is damaged."""
        caught_up = read and self._indexer.catch_up(_READ_BY_A_SEARCH)
        behind = self._writer.behind()
        with self._database.read_lock:
            count, messages_indexed = self._database.reading.execute(
                "SELECT count(*), cast(min(total(message_count), 9e15) AS INTEGER) FROM sessions"
            ).fetchone()
        return IndexStatus(
            complete=self._incomplete(caught_up=caught_up) is None,
            sessions=count,
            sessions_behind=len(behind),
            messages=messages_indexed,
            records_behind=sum(records for *_, records in behind),
            bytes=self._database.size,
            reason=self._problem(),
        )

    def problem(self) -> str | None:
        """The problem of the file, as text after its name. Reads every page, which may take seconds."""
        if self._database.in_memory:
            return f"cannot be used: {self._state.reason}"
        return self._database.problem()

    @property
    def is_reading(self) -> bool:
        return self._indexer.is_alive

    def _incomplete(self, *, caught_up: bool) -> str | None:
        """Why an answer from messages may lack some; None when it lacks none."""
        if self._state.phase is Phase.READY and caught_up:
            if not self._writer.has_all_text:
                return f"{self._problem()}; memory holds a part only"
            failed = self._indexer.failed_sessions
            return f"{count(failed, 'session')} could not be read, to be tried again soon" if failed else None
        return self._problem() or "some messages are still to be read into the index"

    def _problem(self) -> str | None:
        """Why the index is not what it should be, and does not become so by itself at once."""
        if self._database.in_memory:
            return f"index.db cannot be used: {self._state.reason}"
        if self._state.phase is Phase.UNUSABLE:
            return f"the index is not up to date: {self._state.reason}"
        if self._state.phase is Phase.RECOVERING:
            return f"{count(self._indexer.damaged_sessions, 'damaged session')} still to be recovered"
        return None

    def _query(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `query` on the reading connection, with what is pending written."""
        self._writer.flush()
        with self._database.read_lock:
            return query(self._database.reading, *args, **kwargs)

    def _rows(self, sql: str) -> list[Any]:
        return self._query(lambda database: database.execute(sql).fetchall())

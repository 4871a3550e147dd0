"""The index: told of every change, written behind it, asked across sessions.

An append only leaves a reference here. Rows and keys are written before the next question, which
costs microseconds; text is taken in by the feeder in batches, at most a moment later, or by the next
search. What cannot wait in memory, and what was changed by somebody else, is *behind*: the feeder reads
it from its file. `sqlite3.Error` may leave every method.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from port42_daemon.store.index import messages, sessions
from port42_daemon.store.index import stats as statistics
from port42_daemon.store.index.query import Query
from port42_daemon.store.index.schema import Database, is_damage
from port42_daemon.store.index.search import Searches
from port42_daemon.store.index.sessions import UNREAD, Row, Wanted
from port42_daemon.store.index.write_buffer import MOST, Noted, Unfed
from port42_daemon.store.session_file.document import RENAMED, place
from port42_protocol.messages.doctor_and_stats import Statistics
from port42_protocol.messages.records import Message, Summary
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState

_FED_BY_A_SEARCH = 300
_PAGES = 200
"""Of FTS5's, merged in one step."""


class Index:
    """Questions, and what is noted for them. One thread at a time writes, and one reads."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._searches = Searches()
        self._noted, self._unfed = Noted(), Unfed()
        self._listed, self._settled = threading.Event(), threading.Event()
        self._given_up = False
        self.work = threading.Event()
        """Set when there is something to do behind the questions' back."""
        self.damaged = False
        """Whether somebody met a bad page: only a new file helps."""

    # --- its life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Open or make the file. Raises sqlite3.Error and OSError; questions then fail, too."""
        self._database.open()

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with self._lock, self._reading:
            # What was noted before its session was read is behind either way.
            with contextlib.suppress(sqlite3.Error):
                self._write_rows()
                self.feed()
            self._database.close()

    def mend(self) -> None:
        """Begin anew where the lists are damaged."""
        with self._lock, self._reading:
            if self._database.mend():
                self._forget_all()

    def begin_anew(self) -> None:
        """An empty index, to be filled from the files."""
        with self._lock, self._reading:
            self._listed.clear()
            self._settled.clear()
            self.damaged = self._given_up = False
            self._database.begin_anew()
            self._forget_all()

    def _forget_all(self) -> None:
        self._searches.forget()
        self.drop_waiting()

    @property
    def state(self) -> IndexState:
        """Whether questions are answered now, and whether from all there is. Never waits."""
        if not self._listed.is_set():
            return "rebuilding"
        if not self._database.is_open:
            return "unusable"
        return "ready" if self._settled.is_set() and not self._given_up else "behind"

    # --- told -------------------------------------------------------------------------------------

    def note(self, row: Row) -> None:
        """Remember a session's new state; nothing is written, nothing is copied."""
        self._noted.add(row)
        if not self.work.is_set():
            self.work.set()

    def forget(self, session_id: str) -> None:
        """The session is gone: so are its row, its keys and its words."""
        with self._lock, self._database.writing as database:
            self._noted.drop(session_id)
            self._unfed.take(session_id)
            if known := sessions.known(database, session_id):
                messages.remove(database, known.number)
                sessions.remove(database, session_id)

    def erase_traces(self, *, first: bool) -> bool:
        """One step of merging what FTS5 keeps of words taken back; whether there is more of it.

        Until the last one, bytes of a session that was forgotten may still stand in the file.
        """
        with self._lock, self._database.writing as database:
            before = database.total_changes
            database.execute(
                "INSERT INTO words (words, rank) VALUES ('merge', ?)", (-_PAGES if first else _PAGES,)
            )
            if database.total_changes - before >= 2:  # fts5.html, 6.8
                return True
        with self._lock:
            self._database.writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return False

    # --- catching up ------------------------------------------------------------------------------

    def file(self, session_id: str) -> tuple[int, int] | None:
        """The session's file as the index knows it."""
        with self._lock:
            self._write_rows()
            known = sessions.known(self._database.writing, session_id)
            return (known.size, known.mtime_ns) if known else None

    def files(self) -> dict[str, tuple[int, int]]:
        """Every session's file as the index knows it: size and mtime_ns."""
        with self._lock:
            self._write_rows()
            return sessions.files(self._database.writing)

    def all_listed(self) -> None:
        """The rows are those of the files now: whoever asks for lists need not wait any more."""
        self._listed.set()

    def write(self) -> None:
        """Write the rows that wait."""
        with self._lock:
            self._write_rows()

    def unsettle(self) -> None:
        """It will be made anew: whoever needs all messages waits for that."""
        self._settled.clear()

    def settle(self) -> None:
        """Whoever waits for all messages goes on, if none is behind any more."""
        with self._lock:
            if not self.behind():
                self._given_up = False
                self._settled.set()

    def release(self) -> None:
        """Nobody catches up any more: whoever waits goes on, and hears why where that matters."""
        self._listed.set()
        self._given_up = not self._settled.is_set()
        self._settled.set()

    def drop_waiting(self) -> None:
        """Let go of what cannot be written; the files have it."""
        with self._lock:
            self._noted.clear()
            self._unfed.clear()

    def behind(self) -> list[tuple[str, int]]:
        """Sessions whose messages must be read from their files, and the records they have."""
        with self._lock:
            self._write_rows()
            return [one for one in sessions.behind(self._database.writing) if one[0] not in self._unfed]

    def read_from(self, session_id: str) -> int:
        """The seq behind which the session's records are wanted. What there is too much is taken out."""
        with self._lock, self._database.writing as database:
            self._write_rows()
            known = sessions.known(database, session_id)
            if known is None or known.fed_seq != UNREAD:
                return known.fed_seq if known else 0
            messages.remove(database, known.number)
            database.execute("DELETE FROM keys WHERE session_id = ?", (session_id,))
            return 0

    def take_in(self, rows: Iterable[Row]) -> None:
        """The next records, with their seqs, of sessions that are behind, in one transaction.

        A session's last ones end at `last_seq`.
        """
        with self._lock, self._database.writing as database:
            for row in rows:
                self._take_in_one(database, row)

    def _take_in_one(self, database: sqlite3.Connection, row: Row) -> None:
        known = sessions.known(database, row.summary.session_id)
        if known is None:
            return
        messages.add(database, known.number, known.agent, row.records)
        messages.add_keys(database, row.summary, row.records)
        named = known.named or row.titled or _renamed(row.records)
        seq = row.records[-1].seq if row.records else row.last_seq
        # Part of a session counts for nothing: a stop here reads it again from its beginning.
        sessions.fed(database, known.number, seq if seq >= row.last_seq else UNREAD, named=named)
        if seq >= row.last_seq:
            messages.name(database, known.number, row.summary, named=named)

    def feed(self, limit: int = MOST) -> bool:
        """Take in the text that waits, at most `limit` messages of it; whether none is left."""
        with self._lock:
            self._write_rows()
            taken = 0
            with self._database.writing as database:
                for session_id in self._unfed.sessions():
                    if taken >= limit:
                        return False
                    records = self._unfed.take(session_id)
                    taken += len(records)
                    self._feed_one(database, session_id, records)
            return True

    def _feed_one(self, database: sqlite3.Connection, session_id: str, records: list[Message]) -> None:
        known = sessions.known(database, session_id)
        if known is None or known.fed_seq == UNREAD or not records:
            return
        # The feeder may have read some of them in the file already, or a write was tried twice.
        fresh = {one.seq: one for one in records if one.seq > known.fed_seq}
        if fresh and min(fresh) != known.fed_seq + 1:
            return  # those between were let go: they are read from the file, and these with them
        messages.add(database, known.number, known.agent, fresh.values())
        sessions.fed(database, known.number, max(known.fed_seq, records[-1].seq), named=known.named)

    # --- questions --------------------------------------------------------------------------------

    def page(self, wanted: Wanted, before: tuple[str, str] | None, limit: int) -> list[sessions.Listed]:
        """Sessions by last use, newest first, from behind `before` (last_activity, session_id)."""
        with self._asking() as database:
            return sessions.page(database, wanted, before, limit)

    def with_prefix(self, prefix: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `prefix`, newest use first."""
        with self._asking() as database:
            return sessions.with_prefix(database, prefix, agent, limit)

    def with_title(self, title: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions of that title, or where there is none, whose title begins so. Case is folded."""
        with self._asking() as database:
            return sessions.with_title(database, title, agent, limit)

    def listed(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """Those of the sessions that there are."""
        with self._asking() as database:
            return sessions.listed(database, session_ids)

    def forks_of(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """The forks that were made of any of the sessions."""
        with self._asking() as database:
            return sessions.forks_of(database, session_ids)

    def is_behind(self, session_id: str) -> bool:
        """Whether some of the session's messages are not here yet."""
        with self._lock:
            self._write_rows()
            known = sessions.known(self._database.writing, session_id)
            return known is None or (known.fed_seq < known.last_seq and session_id not in self._unfed)

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of the message that `agent` recorded under `key`.

        Without a session it waits until none is behind: an answer that may be wrong is none.
        """
        if session_id is None:
            with self._lock:
                self._write_rows()
            self._settled.wait()
            if self._given_up:
                raise sqlite3.OperationalError("not every session was read")
        with self._asking(listed=False) as database:
            return database.execute(  # type: ignore[no-any-return]  # sqlite3 types rows as Any
                "SELECT session_id, seq FROM keys WHERE agent = ? AND key = ?"
                " AND session_id = coalesce(?, session_id) ORDER BY session_id LIMIT 1",
                (agent, key, session_id),
            ).fetchone()

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""
        with self._asking() as database:
            return sessions.counts(database)

    # --- care ---

    def sizes(self) -> dict[str, tuple[int, int]]:
        """How many sessions each agent has, and the bytes of their files."""
        with self._asking() as database:
            return sessions.sizes(database)

    def statistics(self, agent: str | None, days: int | None, now: datetime) -> Statistics:
        """How much was said, as `statistics.statistics` has it, through the last message if it can."""
        with self._lock:
            complete = self.feed(_FED_BY_A_SEARCH) and self._settled.is_set()
        with self._asking() as database:
            return statistics.statistics(database, agent, days, now, complete=complete)

    def newest(self) -> dict[str, str]:
        """For each agent, the session with the latest activity."""
        with self._asking() as database:
            return sessions.newest(database)

    def search(
        self, query: Query, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, bool]:
        """Hits from `offset` on, as `Searches.page`, and whether everything there is was looked through."""
        with self._lock:
            complete = self.feed(_FED_BY_A_SEARCH) and self._settled.is_set()
        with self._looking() as database:
            return (*self._searches.page(database, query, upto, offset, limit), complete)

    def status(self) -> IndexStatus:
        """How far the index is."""
        with self._lock:
            self.feed()
            database = self._database.writing
            there, messages_there = database.execute(
                "SELECT count(*), coalesce(sum(message_count), 0) FROM sessions"
            ).fetchone()
            behind = sessions.behind(database)
            return IndexStatus(
                complete=self._settled.is_set(),
                sessions=there,
                sessions_behind=len(behind),
                messages=messages_there,
                records_behind=sum(records for _, records in behind),
                bytes=self._database.size,
            )

    # --- inside -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _asking(self, *, listed: bool = True) -> Iterator[sqlite3.Connection]:
        """For questions about what was written last, too; `listed`: and about every session."""
        if listed:
            self._listed.wait()
        with self._lock:
            self._write_rows()
        with self._looking() as database:
            yield database

    @contextlib.contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._reading:
                yield self._database.reading
        except sqlite3.Error as error:
            if is_damage(error):
                self.damaged = True
                self.work.set()
            raise

    def _write_rows(self) -> None:
        if not self._noted:
            return
        rows = self._noted.take()
        try:
            with self._database.writing:
                for row in rows:
                    self._write_row(row)
        except sqlite3.Error:
            self._noted.put_back(rows)
            raise

    def _write_row(self, row: Row) -> None:
        """Write the state, and keep the records for the feeder where they follow what is there."""
        database, session_id = self._database.writing, row.summary.session_id
        known = sessions.known(database, session_id)
        before = known.last_seq if known else 0
        first = row.last_seq - len(row.records) + 1
        if known and not row.records and (known.size, known.mtime_ns) == (row.size, row.mtime_ns):
            return
        if first != before + 1 or (not row.records and row.last_seq) or (known and not row.records):
            # Somebody else wrote the file: what the index has of it may be wrong from the first word on.
            self._unfed.take(session_id)
            if known and known.agent != row.summary.agent:
                messages.remove(database, known.number)
            sessions.put(database, row, named=False, fed_seq=UNREAD)
            self._settled.clear()
            self.work.set()
            return
        records = [place(record, seq) for seq, record in enumerate(row.records, first)]
        named = row.titled or (known.named if known else False) or _renamed(records)
        number = sessions.put(database, row, named=named, fed_seq=known.fed_seq if known else 0)
        messages.add_keys(database, row.summary, records)
        if not known or any(record.role == "event" for record in records):
            messages.name(database, number, row.summary, named=named)
        if not self._unfed.keep(session_id, records):
            # The rows say that these are behind.
            self._settled.clear()
            self.work.set()


def _renamed(records: Iterable[Message]) -> bool:
    return any(record.role == "event" and record.event == RENAMED for record in records)

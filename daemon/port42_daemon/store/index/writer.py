"""Writes the index: updates from appends, and what the indexer reads from the files.

An append only queues its records. Rows and keys are written before the next query, text in batches by the
indexer's thread or by the next search. A session whose text memory should not hold, or whose file another
program wrote, is *stale*: it is read from its file.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable

from port42_daemon.store.index import messages, sessions
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import UNREAD, SessionUpdate
from port42_daemon.store.index.state import IndexState
from port42_daemon.store.index.write_buffer import MAX_MESSAGES, PendingRows, PendingText, characters
from port42_daemon.store.interface import RENAMED
from port42_protocol.messages.records import EventRecord, Record

log = logging.getLogger(__name__)

_MERGED_PAGES = 200
"""Of FTS5's, in one step of `erase_deleted_text`."""
_MEMORY_CHARACTERS = 32_000_000
"""Text that an index in memory holds; what is more cannot be searched until there is a file again."""


class IndexWriter:
    """Safe to call from any thread. Every method but `note` may raise `sqlite3.Error`."""

    def __init__(self, database: Database, state: IndexState) -> None:
        self._database = database
        self._state = state
        self._rows, self._text = PendingRows(), PendingText()
        self._characters = 0
        self.session_changes = 0
        """Changes whenever a session may have come, gone or changed its agent."""

    @property
    def has_all_text(self) -> bool:
        """False where memory was too small for the text of every session that was read."""
        return not self._database.in_memory or self._characters <= _MEMORY_CHARACTERS

    def note(self, update: SessionUpdate) -> None:
        """Queue a session's new state. Does not write or wait for SQLite."""
        self._rows.add(update)
        if update.last_seq == len(update.records):  # or else it is known, or comes by `_write_row`
            self.session_changes += 1
        self._state.wake()

    def forget(self, session_id: str) -> None:
        """Delete the row, the keys and the text of a session that is gone."""
        with self._database.write_lock, self._database.writing as database:
            self.session_changes += 1
            self._rows.drop(session_id)
            self._text.take(session_id)
            if session := sessions.known(database, session_id):
                messages.remove(database, session.number)
                sessions.remove(database, session_id)

    def drop_pending(self) -> None:
        """Drop what is not written: the files have it all."""
        with self._database.write_lock:
            self.session_changes += 1
            self._rows.take()
            self._text.clear()
            self._characters = 0

    def flush_rows(self) -> None:
        """Write the rows that are pending; what the database refuses stays pending."""
        with self._database.write_lock:
            if not self._rows:
                return
            updates = self._rows.take()
            try:
                with self._database.writing:
                    for update in updates:
                        self._write_row_or_log(update)
            except sqlite3.Error:
                self._rows.put_back(updates)
                raise

    def _write_row_or_log(self, update: SessionUpdate) -> None:
        try:
            self._write_row(update)
        except sqlite3.Error:
            raise
        except Exception as error:  # what cannot be indexed does not keep the others from it
            log.warning("⚠ %s is not in the list: %r", update.summary.session_id, error)
            log.debug("", exc_info=True)
            self._state.mark_stale()

    def flush(self, limit: int = MAX_MESSAGES) -> bool:
        """Write rows, and the pending text of about `limit` messages; whether none is left.

        Text that fails is dropped: `fed_seq` says that it is missing, so it is read from its file.
        """
        with self._database.write_lock:
            self.flush_rows()
            written = 0
            try:
                with self._database.writing as database:  # one transaction: FTS5 writes a segment for each
                    for session_id in self._text.sessions():
                        if written >= limit:
                            return False
                        records = self._text.take(session_id)
                        written += len(records)
                        self._write_text(database, session_id, records)
            except sqlite3.Error:
                self._state.mark_stale()
                raise
            except Exception as error:  # each session is then read alone
                log.warning("⚠ the text of %d messages could not be indexed: %r", written, error)
                self._state.mark_stale()
            return True

    def _write_row(self, update: SessionUpdate) -> None:
        """Write the state, and keep the records as pending text where they follow what is indexed."""
        database, session_id, records = self._database.writing, update.summary.session_id, update.records
        session = sessions.known(database, session_id)
        if session is None or session.agent != update.summary.agent:
            self.session_changes += 1
        if session and not records and (session.size, session.mtime_ns) == (update.size, update.mtime_ns):
            return
        last_seq = session.last_seq if session else 0
        if update.last_seq - len(records) != last_seq or (session and not records):
            # Another program wrote the file: anything that is indexed of it may be wrong.
            self._text.take(session_id)
            if session and session.agent != update.summary.agent:
                messages.remove(database, session.number)
            sessions.put(database, update, named=False, fed_seq=UNREAD)
            self._state.mark_stale()
            return
        named = update.titled or bool(session and session.named) or _renamed(records)
        number = sessions.put(database, update, named=named, fed_seq=session.fed_seq if session else 0)
        messages.add_keys(database, update.summary, records)
        if not session or any(isinstance(record, EventRecord) for record in records):
            messages.name(database, number, update.summary, named=named)
        if not self._text.add(session_id, records):
            self._state.mark_stale()

    def _write_text(self, database: sqlite3.Connection, session_id: str, records: list[Record]) -> None:
        session = sessions.known(database, session_id)
        if session is None or session.fed_seq == UNREAD:
            return
        # The indexer may have read some of them in the file already, or a write was tried twice.
        fresh = {record.seq: record for record in records if record.seq > session.fed_seq}
        if not fresh:
            return
        if min(fresh) != session.fed_seq + 1:
            self._state.mark_stale()  # those between were dropped: all are read from the file
            return
        self._add_text(database, session, list(fresh.values()))
        sessions.fed(database, session.number, max(fresh), named=session.named)

    def _add_text(
        self, database: sqlite3.Connection, session: sessions.IndexedSession, records: list[Record]
    ) -> None:
        if self._database.in_memory:
            self._characters += characters(records)
        messages.add(database, session.number, session.agent, records, with_text=self.has_all_text)

    def session(self, session_id: str) -> sessions.IndexedSession | None:
        with self._database.write_lock:
            self.flush_rows()
            return sessions.known(self._database.writing, session_id)

    def files(self) -> dict[str, tuple[int, int]]:
        with self._database.write_lock:
            self.flush_rows()
            return sessions.files(self._database.writing)

    def stale_sessions(self) -> list[tuple[str, int]]:
        """Sessions that must be read from their files, and how many records each has."""
        with self._database.write_lock:
            self.flush_rows()
            stale = sessions.behind(self._database.writing)
            return [(session_id, count) for session_id, count in stale if session_id not in self._text]

    def is_stale(self, session_id: str) -> bool:
        with self._database.write_lock:
            session = self.session(session_id)
            return session is None or (session.fed_seq < session.last_seq and session_id not in self._text)

    def resume_from(self, session_id: str) -> int:
        """The seq after which the session's records are to be read; 0 after dropping half-read text."""
        with self._database.write_lock, self._database.writing as database:
            session = self.session(session_id)
            if session and session.fed_seq == UNREAD:
                messages.remove(database, session.number)
                database.execute("DELETE FROM keys WHERE session_id = ?", (session_id,))
            return max(session.fed_seq, 0) if session else 0

    def add_records(self, updates: Iterable[SessionUpdate]) -> None:
        """Write the next records, with their seqs, of stale sessions, in one transaction.

        A session's last ones end at `last_seq`.
        """
        with self._database.write_lock, self._database.writing as database:
            for update in updates:
                session = sessions.known(database, update.summary.session_id)
                if session is None:
                    continue
                self._add_text(database, session, list(update.records))
                messages.add_keys(database, update.summary, update.records)
                named = session.named or update.titled or _renamed(update.records)
                if update.records and update.records[-1].seq < update.last_seq:
                    # A part of a session counts for nothing: a stop here reads it again from its beginning.
                    sessions.fed(database, session.number, UNREAD, named=named)
                else:
                    seq = update.records[-1].seq if update.records else update.last_seq
                    sessions.fed(database, session.number, seq, named=named)
                    messages.name(database, session.number, update.summary, named=named)

    def skip(self, session_id: str) -> None:
        """Take a session whose records cannot be indexed for read, so that the others are."""
        with self._database.write_lock, self._database.writing as database:
            if session := sessions.known(database, session_id):
                sessions.fed(database, session.number, session.last_seq, named=session.named)

    def mark_caught_up(self) -> None:
        """READY, unless a session became stale meanwhile."""
        with self._database.write_lock:
            if not self.stale_sessions():
                self._state.mark_caught_up()

    def erase_deleted_text(self, *, first: bool) -> bool:
        """One step of merging what FTS5 keeps of deleted words; whether there is more of it.

        Until the last one, bytes of a session that was forgotten may still stand in the file.
        """
        with self._database.write_lock:
            with self._database.writing as database:
                before = database.total_changes
                pages = -_MERGED_PAGES if first else _MERGED_PAGES
                database.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
                if database.total_changes - before >= 2:  # fts5.html, 6.8
                    return True
            self._database.writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return False

    def close(self) -> None:
        """Write what is pending, if that is possible: the next start reads the rest from the files."""
        with self._database.write_lock, contextlib.suppress(sqlite3.Error):
            self.flush()


def _renamed(records: Iterable[Record]) -> bool:
    return any(isinstance(record, EventRecord) and record.event == RENAMED for record in records)

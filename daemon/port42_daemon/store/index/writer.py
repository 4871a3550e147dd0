"""Writes the index: the state of sessions after appends, and what the indexer reads from the files.

An append only queues the session's new state. Rows and keys are written before the next query; the text of
new records is read from the file by the indexer's thread, or by the next search. A session whose file another
program wrote is *stale*: all of it is read again.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import chain

from msgspec.structs import replace

from port42_daemon.store.index import messages, sessions, stats
from port42_daemon.store.index.entries import Part
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import SessionUpdate
from port42_daemon.store.index.state import IndexState

log = logging.getLogger(__name__)

_MERGED_PAGES = 400
"""Of FTS5's, in one step of `merge`."""
_MEMORY_CHARACTERS = 32_000_000
"""Text that an index in memory holds; what is more cannot be searched until there is a file again."""


class PendingUpdates:
    """How sessions changed, in their order. Its lock is its own: an append never waits for SQLite.

    A session has one update, or two: its file as it was found, which the index may know already, and what was
    appended to that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: dict[str, list[SessionUpdate]] = {}

    def __bool__(self) -> bool:
        return bool(self._updates)

    def add(self, *updates: SessionUpdate) -> None:
        with self._lock:
            for update in updates:
                self._merge(update)

    def _merge(self, update: SessionUpdate) -> None:
        session_id = update.summary.session_id
        updates = self._updates.get(session_id)
        if updates is None:
            self._updates[session_id] = [update]
            return
        last = updates[-1]
        if update.after_seq is None and (last.size, last.mtime_ns) == (update.size, update.mtime_ns):
            return
        if update.after_seq != last.last_seq:
            self._updates[session_id] = [replace(update, after_seq=None, keys=())]
        elif last.after_seq is None:
            updates.append(update)
        else:
            updates[-1] = replace(update, after_seq=last.after_seq, keys=last.keys + update.keys)

    def take(self) -> list[SessionUpdate]:
        with self._lock:
            taken, self._updates = self._updates, {}
        return [update for updates in taken.values() for update in updates]

    def put_back(self, updates: Iterable[SessionUpdate]) -> None:
        """Insert updates that could not be written before those that came since."""
        with self._lock:
            since, self._updates = self._updates, {}
            for update in (*updates, *chain.from_iterable(since.values())):
                self._merge(update)

    def drop(self, session_id: str) -> None:
        with self._lock:
            self._updates.pop(session_id, None)


class IndexWriter:
    """Safe to call from any thread. Every method but `note` may raise `sqlite3.Error`."""

    def __init__(self, database: Database, state: IndexState) -> None:
        self._database = database
        self._state = state
        self._pending = PendingUpdates()
        self._characters = 0
        self._unread = -time.time_ns()
        """The last `fed_seq` of a stale session. Rows have those of earlier daemons, too."""
        self.session_changes = 0
        """Changes whenever a session may have come, gone or changed its agent."""

    @property
    def has_all_text(self) -> bool:
        """False where memory was too small for the text of every session that was read."""
        return not self._database.in_memory or self._characters <= _MEMORY_CHARACTERS

    def note(self, update: SessionUpdate) -> None:
        """Queue a session's new state. Does not write or wait for SQLite."""
        self._pending.add(update)
        if update.after_seq == 0:  # or else it is known, or comes by `_write_row`
            self.session_changes += 1
        self._state.wake()

    def forget(self, session_id: str) -> None:
        """Delete the row and the keys of a session that is gone; `remove_text` deletes its text."""
        with self._database.write_lock, self._database.writing as database:
            self.session_changes += 1
            self._pending.drop(session_id)
            if session := sessions.known(database, session_id):
                messages.remove_later(database, session)
                self._state.wake()

    def drop_pending(self) -> None:
        """Drop what is not written: the files have it all."""
        with self._database.write_lock:
            self.session_changes += 1
            self._pending.take()
            self._characters = 0

    def flush(self) -> None:
        """Write the rows that are pending; what the database refuses stays pending."""
        with self._database.write_lock:
            if not self._pending:
                return
            updates = self._pending.take()
            try:
                with self._database.writing as database:
                    for update in updates:
                        self._write_row_or_log(database, update)
            except sqlite3.Error:
                self._pending.put_back(updates)
                raise

    def _write_row_or_log(self, database: sqlite3.Connection, update: SessionUpdate) -> None:
        try:
            self._write_row(database, update)
        except sqlite3.Error:
            raise
        except Exception as error:  # what cannot be indexed does not keep the others from it
            log.warning("⚠ %s is not in the list: %r", update.summary.session_id, error)
            log.debug("", exc_info=True)
            self._state.mark_stale()

    def _write_row(self, database: sqlite3.Connection, update: SessionUpdate) -> None:
        session = sessions.known(database, update.summary.session_id)
        if session is None or session.agent != update.summary.agent:
            self.session_changes += 1
        same_file = session and (session.size, session.mtime_ns) == (update.size, update.mtime_ns)
        if same_file and update.after_seq is None:
            return
        if update.after_seq != (session.last_seq if session else 0):
            # Another program wrote the file: anything that is indexed of it may be wrong.
            if session and session.agent != update.summary.agent:
                messages.remove(database, [session])
            self._unread -= 1
            sessions.put(database, update, named=False, fed_seq=self._unread)
            self._state.mark_stale()
            return
        named = update.titled or bool(session and session.named)
        number = sessions.put(database, update, named=named, fed_seq=session.fed_seq if session else 0)
        messages.add_keys(database, update.keys)
        if session is None:
            messages.name(database, [(number, update.summary, named)])

    def session(self, session_id: str) -> sessions.IndexedSession | None:
        with self._database.write_lock:
            self.flush()
            return sessions.known(self._database.writing, session_id)

    def files(self) -> dict[str, tuple[int, int]]:
        with self._database.write_lock:
            self.flush()
            return sessions.files(self._database.writing)

    def behind(self, limit: int = -1) -> list[tuple[str, int, int]]:
        """Sessions with records that are to be read from their files: their `fed_seq`, and how many."""
        with self._database.write_lock:
            self.flush()
            return sessions.behind(self._database.writing, limit)

    def add(self, parts: Sequence[Part]) -> None:
        """Write the next parts of sessions that are behind, in one transaction."""
        with self._database.write_lock, self._database.writing as database:
            known = sessions.all_known(database, {part.session_id for part in parts})
            fed = {session_id: (session.fed_seq, session.named) for session_id, session in known.items()}
            accepted: list[tuple[int, Part]] = []
            again, named = [], []
            for part in parts:
                session = known.get(part.session_id)
                if session is None:
                    continue
                if session.agent != part.update.summary.agent:
                    self.note(part.update)  # the file was written anew since its row was
                    continue
                seq, is_named = fed[part.session_id]
                if seq != (part.after_seq if part.fed_seq >= 0 else part.fed_seq):
                    continue  # another thread was first, or the file was written anew meanwhile
                if seq < 0 and part.after_seq == 0:
                    again.append(session)
                accepted.append((session.number, part))
                is_named = is_named or part.update.titled or part.renamed
                # A part of a stale session counts for nothing: a stop here reads it again from its beginning,
                # and so does what was appended since it was read, whose key only reading may give.
                is_whole = part.is_last and part.last_seq >= session.last_seq
                seq = part.last_seq if is_whole or seq >= 0 else seq
                fed[part.session_id] = seq, is_named
                if part.is_last:
                    named.append((session.number, part.update.summary, is_named))
            messages.remove(database, again)
            if self.has_all_text:
                messages.add(database, [(number, part.texts) for number, part in accepted])
            self._characters += sum(part.texts.characters for _, part in accepted)
            stats.add(database, [(number, part.counts) for number, part in accepted])
            messages.add_keys(database, [key for _, part in accepted for key in part.keys])
            sessions.fed(database, [(known[session_id].number, *state) for session_id, state in fed.items()])
            messages.name(database, named)

    def skip(self, session_id: str) -> None:
        """Take a session whose records cannot be indexed for read, so that the others are."""
        with self._database.write_lock, self._database.writing as database:
            if session := sessions.known(database, session_id):
                sessions.fed(database, [(session.number, session.last_seq, session.named)])

    def mark_caught_up(self) -> None:
        """READY, unless a session is stale."""
        with self._database.write_lock:
            self.flush()
            stale = "SELECT 1 FROM sessions WHERE fed_seq < 0 AND fed_seq < last_seq LIMIT 1"
            if not self._database.writing.execute(stale).fetchone():
                self._state.mark_caught_up()

    def remove_text(self) -> bool:
        """Delete some of the text of sessions that are gone; whether there was any."""
        with self._database.write_lock, self._database.writing as database:
            return messages.remove_some(database)

    def set_erasure(self, *, due: bool) -> None:
        """Remember whether what is left of deleted text is to be overwritten: a stop may come before that."""
        with self._database.write_lock, self._database.writing as database:
            messages.set_erasure(database, due=due)

    def erasure_is_due(self) -> bool:
        with self._database.write_lock:
            return messages.erasure_is_due(self._database.writing)

    def merge(self, table: str, *, everything: bool) -> bool:
        """One step of merging segments of an FTS5 table, some or all of them; whether there is more to merge.

        `everything` begins that, and is for the first step only.
        """
        with self._database.write_lock, self._database.writing as database:
            before = database.total_changes
            pages = -_MERGED_PAGES if everything else _MERGED_PAGES
            database.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", (pages,))  # noqa: S608
            return database.total_changes - before >= 2  # fts5.html, 6.8

    def empty_log(self) -> None:
        """Write the WAL's pages into the file: until then it may hold bytes of what was overwritten there."""
        with self._database.write_lock:
            self._database.writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Write what is pending, if that is possible: the next start reads the rest from the files."""
        with self._database.write_lock, contextlib.suppress(sqlite3.Error):
            self.flush()

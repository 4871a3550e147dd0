"""The index's background thread, which reads session files.

A scan reads the two ends of every file that is not as its row says, so that lists are right; then all of
those that are stale. Where `index.db` fails it is made anew; where that does not help, an index in memory
takes its place, and the file is tried again every few seconds. No exception ends the thread.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from port42_daemon.store.index.schema import Database, is_damage, reason
from port42_daemon.store.index.sessions import ListRow, SessionUpdate
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.cache import OpenSessions, reader
from port42_daemon.store.session_file.document import Document
from port42_protocol.errors import RpcError, SessionNotFound
from port42_protocol.messages.records import Record

log = logging.getLogger(__name__)

_DELAY = 0.5
"""Seconds in which changes are gathered into one batch."""
_BATCH = 1_000
_BATCH_BYTES = 512 * 1024
"""Messages, and bytes of them, that are written at once: a question may wait so long."""
_MAX_REBUILDS = 3
"""Times that a damaged file is made anew; then it is the disk."""
_RETRY = 3.0
"""Seconds until a file that could not be used, or a folder that could not be read, is tried again."""


class Indexer:
    """Other threads may call every public method."""

    def __init__(
        self, database: Database, writer: IndexWriter, state: IndexState, session_files: OpenSessions
    ) -> None:
        self._database = database
        self._writer = writer
        self._state = state
        self._session_files = session_files
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._closing = threading.Event()
        self._reading_files = threading.Lock()
        self._rebuild_begun = threading.Event()
        self._replacement: Callable[[], None] | None = database.open
        """Puts another database in the place of this one, when that is pending."""
        self._scan_due, self._erase_due = True, False
        self._rebuilds = 0
        self._scanned_folder = 0
        """mtime_ns of the folder when its names were last compared."""
        self._unreadable: set[str] = set()

    def start(self) -> None:
        self._state.wake()
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._state.wake()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def rebuild(self) -> threading.Event:
        """Replace the index by an empty one, then fill it from the files. The event is set in between."""
        self._rebuild_begun.clear()
        self._replacement, self._rebuilds = self._database.create, 0
        self._state.mark_stale()
        self._state.wake()
        return self._rebuild_begun

    def erase_deleted_text(self) -> None:
        """Overwrite what the file still has of deleted text."""
        self._erase_due = True
        self._state.wake()

    def check_folder(self) -> None:
        """Compare the folder's names with the rows, if files came or went since that was last done."""
        if self._session_files.folder.stat().st_mtime_ns != self._scanned_folder:
            self._state.wake()

    def report(self, error: sqlite3.Error, generation: int) -> bool:
        """Have the database replaced that failed with `error`; False where that would not help.

        `generation` is the database's: of several threads that meet the same failure one is enough.
        """
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            return False
        with self._database.write_lock:
            if generation == self._database.generation and not self._closing.is_set():
                self._replace_after(error)
            return True

    def update_changed(self, rows: Iterable[ListRow]) -> bool:
        """Read the ends of those files that are not as their rows say; whether there were any."""
        changed = [
            row.session.session_id
            for row in rows
            if self._session_files.signature(row.session.session_id) != (row.size, row.mtime_ns)
        ]
        self.update(changed)
        return bool(changed)

    def update(self, session_ids: Iterable[str]) -> None:
        """Read the two ends of these sessions into the index; remove those that are gone."""
        for session_id in session_ids:
            self._update_row(session_id)

    def read_now(self, session_id: str) -> None:
        """Read every message of the session into the index, whatever else is still to be read."""
        row = self._writer.session(session_id)
        if self._session_files.signature(session_id) != (row and (row.size, row.mtime_ns)):
            self._update_row(session_id)
        if self._writer.is_stale(session_id):
            self._read_sessions([session_id])

    @property
    def unreadable_sessions(self) -> int:
        """How many sessions are not indexed because their files cannot be read."""
        return len(self._unreadable)

    def differing(self) -> list[str]:
        """Sessions whose rows do not say what their files are now. Reads names and times only."""
        rows = self._writer.files()
        files = {session_id: (size, mtime) for session_id, size, mtime in self._session_files.scan()}
        candidates = sorted(name for name in rows.keys() | files.keys() if rows.get(name) != files.get(name))
        return [session_id for session_id in candidates if self._differs(session_id)]

    def _differs(self, session_id: str) -> bool:
        # Under the lock: whoever appends tells the index before releasing it.
        with self._session_files.lock(session_id):
            row, file = self._writer.session(session_id), self._session_files.signature(session_id)
            if row is None:
                return file is not None and session_id not in self._unreadable
            return file != (row.size, row.mtime_ns)

    def _run(self) -> None:
        while not self._closing.is_set():
            retries = self._database.in_memory or self._state.phase is Phase.UNUSABLE
            timed_out = not self._state.work.wait(_RETRY if retries else None)
            if not timed_out and not self._scan_due:
                self._closing.wait(_DELAY)
            self._state.work.clear()
            try:
                if timed_out and self._database.in_memory and self._database.can_be_used():
                    self._replacement = self._database.open
                self._work()
            except sqlite3.Error as error:
                self._replace_after(error)
            except OSError as error:
                self._give_up(reason(error))
            except Exception:  # the thread must not end: nothing else updates the index
                log.exception("⚠ the index could not be brought up to date")
                self._give_up("an internal error, see the log")
        self._state.give_up("the daemon stops")

    def _give_up(self, why: str) -> None:
        log.warning("⚠ the index is not up to date: %s", why)
        self._scan_due = True
        self._state.give_up(why)

    def _work(self) -> None:
        if self._replacement is not None:
            self._replace(self._replacement)
        if self._scan_due:
            self._scan()
        elif self._session_files.folder.stat().st_mtime_ns != self._scanned_folder:
            self._compare_names()
        with self._database.write_lock:  # so that no failure is reported in between
            if self._closing.is_set() or self._replacement is not None:
                return
            self._state.mark_listed()
        while not self._writer.flush(256):
            pass
        self._read_stale_sessions()
        if self._erase_due:
            self._erase_due = False
            more = self._writer.erase_deleted_text(first=True)
            while more and not self._closing.is_set():
                more = self._writer.erase_deleted_text(first=False)
        if not self._closing.is_set() and self._replacement is None:
            self._writer.mark_caught_up()

    def _replace_after(self, error: sqlite3.Error) -> None:
        self._state.reason = reason(error)
        if self._database.in_memory:
            self._give_up(self._state.reason)
            return
        log.warning("⚠ index.db failed: %s (%s)", self._state.reason, error)
        if is_damage(error) and self._rebuilds < _MAX_REBUILDS:
            self._rebuilds += 1
            self._replacement = self._database.create
        else:
            self._replacement = self._database.open_in_memory
        self._state.begin_scan()
        self._state.wake()

    def _replace(self, replacement: Callable[[], None]) -> None:
        self._replacement = None
        with self._database.write_lock, self._database.read_lock:
            self._state.begin_scan()
            self._scan_due = True
            self._writer.drop_pending()
            try:
                replacement()
            except (sqlite3.Error, OSError) as error:
                self._state.reason = reason(error)
                self._database.open_in_memory()
        if self._database.in_memory:
            log.warning(
                "⚠ index.db cannot be used (%s): the index is in memory until it can", self._state.reason
            )
        else:
            self._state.reason = None
        self._rebuild_begun.set()

    def _scan(self) -> None:
        """Read the ends of every file that is not as its row says; forget the sessions that are gone."""
        with self._database.write_lock:
            self._database.check()
        self._scanned_folder = self._session_files.folder.stat().st_mtime_ns
        rows = self._writer.files()
        present = set()
        for session_id, size, mtime_ns in self._session_files.scan():
            present.add(session_id)
            if rows.get(session_id) != (size, mtime_ns):
                self._update_row(session_id)
            if len(present) % 256 == 0:
                self._writer.flush_rows()  # a start must not hold ten thousand of them
            if self._closing.is_set():
                return
        self._forget_missing(rows.keys() - present)
        self._scan_due = False

    def _compare_names(self) -> None:
        """As `_scan`, for files that came or went; a file's content is compared when it is listed."""
        self._scanned_folder = self._session_files.folder.stat().st_mtime_ns
        rows = self._writer.files().keys()
        present = set(self._session_files.names())
        self._unreadable &= present
        self.update(present - rows - self._unreadable)
        self._forget_missing(rows - present)

    def _forget_missing(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            if not self._session_files.exists(session_id):  # it may have been created since
                self._writer.forget(session_id)

    def _update_row(self, session_id: str) -> None:
        self._unreadable.discard(session_id)
        try:
            # Noted while the session's lock is held, so that what an append notes comes before or after.
            self._session_files.passing(
                session_id,
                lambda descriptor, whole: self._writer.note(session_update(whole, os.fstat(descriptor))),
            )
        except SessionNotFound:
            self._writer.forget(session_id)
            if self._session_files.exists(session_id):
                self._unreadable.add(session_id)  # another session's, under this one's name
        except RpcError as error:
            self._unreadable.add(session_id)
            self._writer.forget(session_id)
            log.warning("⚠ %s is not in the list: %s", session_id, error)

    def _read_stale_sessions(self) -> None:
        stale = self._writer.stale_sessions()
        group: list[str] = []
        count = 0
        for session_id, records in stale:
            group.append(session_id)
            count += records
            if count >= _BATCH:
                self._read_sessions(group)
                group, count = [], 0
            if self._closing.is_set():
                return
        self._read_sessions(group)
        if len(stale) > 1:
            log.info("index.db: %d sessions read anew", len(stale))

    def _read_sessions(self, session_ids: list[str]) -> None:
        """Read what the index lacks of these sessions, a batch at a time.

        A session that cannot be indexed, whatever the reason, does not keep the others from it.
        """
        with self._reading_files:
            try:
                self._read_batches(session_ids)
            except (sqlite3.Error, OSError):
                raise
            except Exception:
                for session_id in session_ids:
                    self._read_alone(session_id)

    def _read_alone(self, session_id: str) -> None:
        try:
            self._read_batches([session_id])
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            log.warning("⚠ %s cannot be searched: %r", session_id, error)
            log.debug("", exc_info=True)
            self._writer.skip(session_id)

    def _read_batches(self, session_ids: Iterable[str]) -> None:
        pending: list[SessionUpdate] = []
        for session_id in session_ids:
            for update in self._updates(session_id):
                pending.append(update)
                if sum(len(update.records) for update in pending) >= _BATCH:
                    self._writer.add_records(pending)
                    pending = []
        self._writer.add_records(pending)

    def _updates(self, session_id: str) -> Iterator[SessionUpdate]:
        """The session's records that the index lacks, in parts of at most a batch."""
        after_seq = self._writer.resume_from(session_id)
        while not self._closing.is_set():
            try:
                update = self._session_files.passing(session_id, partial(_records_after, after_seq))
            except RpcError as error:
                log.warning("⚠ %s cannot be searched: %s", session_id, error)
                self._writer.forget(session_id)
                return
            yield update
            if not update.records or update.records[-1].seq >= update.last_seq:
                return
            after_seq = update.records[-1].seq


def _records_after(after_seq: int, descriptor: int, whole: Document) -> SessionUpdate:
    records: list[Record] = []
    used = 0
    for record, length in document.records(reader(descriptor), whole, after_seq):
        records.append(record)
        used += length
        if len(records) >= _BATCH or used >= _BATCH_BYTES:
            break
    return session_update(whole, os.fstat(descriptor), tuple(records))


def session_update(whole: Document, file: os.stat_result, records: tuple[Record, ...] = ()) -> SessionUpdate:
    """The update for a session, read from the file with the status `file`."""
    header, footer = whole.header, whole.footer
    return SessionUpdate(
        whole.summary,
        footer.last_seq,
        file.st_size,
        file.st_mtime_ns,
        footer.use,
        titled=header.title is not None,
        native=footer.turn.native_id if footer.turn else None,
        source=header.imported_from.id if header.imported_from else None,
        records=records,
    )

"""The index's background thread, which reads session files.

A scan reads the two ends of every file that is not as its row says, so that lists are right; then damaged
files are recovered, and all of those that are stale are read. Where `index.db` fails it is made anew; where
that does not help, an index in memory takes its place, and the file is tried again every few seconds. No
exception ends the thread.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from port42_daemon.store.index import entries
from port42_daemon.store.index.entries import Part
from port42_daemon.store.index.schema import Database, is_damage, reason
from port42_daemon.store.index.sessions import ListRow
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.document import Damaged
from port42_protocol.counting import count
from port42_protocol.errors import RpcError, SessionNotFound, StorageFailed

log = logging.getLogger(__name__)

_DELAY = 0.5
"""Seconds in which changes are gathered into one batch."""
_MANY = 10
"""Sessions that are created together, from which on the text of new ones is read a little later."""
_MUCH = 256 * 1024
"""Bytes that are written together, from which on the same is done."""
_LONGEST_DELAY = 2.0
"""Seconds that it waits at most while much is written."""
BATCH_BYTES = 1536 * 1024
"""Characters of text that are written at once: a query may wait so long."""
_PATIENCE = 0.5
"""Seconds that a search waits for what the thread is reading."""
_ROW_BYTES = 200
"""What an entry costs besides its text."""
_GROUP = 100_000
"""Records that are read before those that were appended meanwhile have their turn, which is a second or two
later. At the end of each group, one thread waits for the other."""
_GROUP_SESSIONS = 10_000
"""Sessions of a group, at most."""
_MOST_BATCHES = 500
"""Batches after which FTS5's segments are merged: it can have 2,000 of them, and searches look into each."""
_MUCH_MEMORY = 8
"""Batches that leave so many holes in the heap that giving it back is worth some milliseconds."""
_PAUSE = 0.001
"""Seconds between two steps of merging, in which whoever waits for the database gets it."""
_MAX_REBUILDS = 3
"""Times that a damaged file is made anew; then it is the disk."""
_RECOVER_AT_ONCE = 1.0
"""Seconds that lists wait for damaged sessions: after a power cut it is one or two that a moment recovers."""
_LARGE = 16 * 1024 * 1024
"""Bytes of a session's file that may take longer than that alone."""
_READS = 3
"""Times that a session is read which is written anew meanwhile."""
_RETRY = 3.0
"""Seconds until a file that could not be used, or a folder that could not be read, is tried again."""
_RETRY_SESSIONS = 30.0
"""Seconds until sessions are tried again that the system did not give: it may have had no descriptor left."""


_Behind = tuple[str, int]
"""A session that the index lacks records of, and its `fed_seq`."""


class Indexer:
    """Other threads may call every public method."""

    def __init__(
        self,
        database: Database,
        writer: IndexWriter,
        state: IndexState,
        session_files: OpenSessions,
        give_back_memory: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._writer = writer
        self._state = state
        self._session_files = session_files
        self._give_back_memory = give_back_memory
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._closing = threading.Event()
        self._reading_files = threading.Lock()
        self._rebuild_begun = threading.Event()
        self._replacement: Callable[[], None] | None = database.open
        """Puts another database in the place of this one, when that is pending."""
        self._scan_due, self._erase_due = True, False
        self._was_empty = False
        """Whether nothing was in the index when the scan began, so that all of it will be new."""
        self._batches = 0
        """Batches that were written since FTS5's segments were merged."""
        self._batches_since_given_back = 0
        """Batches that were written since memory was given back."""
        self._rebuilds = 0
        self._scanned_folder = 0
        """mtime_ns of the folder when its names were last compared."""
        self._unreadable: set[str] = set()
        self._damaged: set[str] = set()
        """Sessions that a scan found damaged, until they are recovered."""
        self._failed: set[str] = set()
        """Those of the unreadable ones that are tried again at `_retry_at`, by the monotonic clock."""
        self._retry_at = math.inf
        self._busy_until = 0.0
        """By the monotonic clock, until when much is written, as far as is known."""

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

    def give_way(self, created: int, size: int) -> None:
        """So many sessions were created together, or bytes written: others may follow, which need the
        interpreter now."""
        if created >= _MANY or size >= _MUCH:
            self._busy_until = time.monotonic() + _DELAY

    def erase_deleted_text(self) -> None:
        """Overwrite what the file still has of deleted text, in the background, also after a restart."""
        self._erase_due = True
        try:
            self._writer.set_erasure(due=True)
        except sqlite3.Error as error:
            log.warning("⚠ a stop now leaves deleted words in index.db: %s", reason(error))
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
        for _ in range(_READS):
            row = self._writer.session(session_id)
            if self._session_files.signature(session_id) != (row and (row.size, row.mtime_ns)):
                self._update_row(session_id)
                row = self._writer.session(session_id)
            if row is None or row.fed_seq >= 0:
                return
            self._read_sessions([(session_id, row.fed_seq)])

    def catch_up(self, most: int) -> bool:
        """Read what was appended since the index was up to date, if it is at most `most` records.

        Returns whether nothing is left to read. After a start, or where another program wrote a session, the
        thread reads: as few are waited for.
        """
        behind = self._writer.behind(most + 1)
        if sum(count for *_, count in behind) > most:
            return False
        if self._state.phase is Phase.STALE and self._state.wait_caught_up(_PATIENCE):
            behind = self._writer.behind()
        if self._state.phase is not Phase.READY:
            return False
        if not behind:
            return True
        if not self._reading_files.acquire(timeout=_PATIENCE):
            return False
        try:
            self._read_each([(session_id, fed_seq) for session_id, fed_seq, _ in behind])
        finally:
            self._reading_files.release()
        return not self._closing.is_set()

    @property
    def failed_sessions(self) -> int:
        """How many sessions the system did not give, which are tried again."""
        return len(self._failed & self._unreadable)  # those that are gone, or were read since, do not count

    @property
    def unreadable_sessions(self) -> int:
        """How many sessions are not indexed because their files cannot be read, or not yet."""
        return len(self._unreadable) + len(self._damaged)

    @property
    def damaged_sessions(self) -> int:
        """How many sessions are still to be recovered."""
        return len(self._damaged)

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
                return file is not None and session_id not in self._unreadable | self._damaged
            return file != (row.size, row.mtime_ns)

    def _run(self) -> None:
        while not self._closing.is_set():
            retries = self._database.in_memory or self._state.phase is Phase.UNUSABLE
            wait = _RETRY if retries else self._retry_at - time.monotonic()
            timed_out = not self._state.work.wait(None if wait == math.inf else max(wait, 0))
            if not timed_out and not self._scan_due:
                self._closing.wait(_DELAY)
                self._wait_while_busy()
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

    def _wait_while_busy(self) -> None:
        until = time.monotonic() + _LONGEST_DELAY
        while (wait := min(self._busy_until, until) - time.monotonic()) > 0 and not self._closing.is_set():
            self._closing.wait(wait)

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
        self._retry_failed()
        with self._database.write_lock:  # so that no failure is reported in between
            if self._closing.is_set() or self._replacement is not None:
                return
            self._state.mark_listed(damaged=bool(self._damaged))
        self._recover_damaged()
        self._state.mark_recovered()
        self._read_behind()
        while not self._closing.is_set() and self._writer.remove_text():
            pass
        if self._closing.is_set() or self._replacement is not None:
            return
        self._writer.mark_caught_up()
        erase, self._erase_due = self._erase_due or self._writer.erasure_is_due(), False
        everything, self._was_empty = erase or self._was_empty, False
        self._merge(everything=everything)
        if erase and not self._closing.is_set():
            self._writer.empty_log()
            if not self._erase_due:  # or else more was deleted meanwhile
                self._writer.set_erasure(due=False)
        if self._give_back_memory is not None and self._batches_since_given_back >= _MUCH_MEMORY:
            self._batches_since_given_back = 0
            self._give_back_memory()

    def _merge(self, *, everything: bool) -> None:
        """Merge what FTS5 wrote, some or all of it, in steps: queries wait for one of them at most.

        Some of it gives way to what is to be read: the next call goes on where this one ends.
        """
        for table in ("said", "done"):
            more = self._writer.merge(table, everything=everything)
            while more:
                if self._closing.wait(_PAUSE) or self._replacement is not None:
                    return
                if not everything and self._state.work.is_set():
                    return
                more = self._writer.merge(table, everything=False)
        self._batches = 0

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
        self._was_empty |= not rows
        present = set()
        self._damaged.clear()
        for session_id, size, mtime_ns in self._session_files.scan():
            present.add(session_id)
            if rows.get(session_id) != (size, mtime_ns):
                self._update_row(session_id, recover=False)
            if len(present) % 256 == 0:
                self._writer.flush()  # a start must not hold ten thousand of them
            if self._closing.is_set():
                return
        self._forget_missing(rows.keys() - present)
        self._recover_damaged(_RECOVER_AT_ONCE, _LARGE)
        self._scan_due = False

    def _compare_names(self) -> None:
        """As `_scan`, for files that came or went; a file's content is compared when it is listed."""
        self._scanned_folder = self._session_files.folder.stat().st_mtime_ns
        rows = self._writer.files().keys()
        present = set(self._session_files.names())
        self._unreadable &= present
        self.update(present - rows - self._unreadable)
        self._forget_missing(rows - present)

    def _retry_failed(self) -> None:
        """Read those again that the system did not give, if it is time."""
        if time.monotonic() >= self._retry_at:
            self._retry_at = math.inf
            failed = [*self._failed]  # other threads add to it
            self._failed.difference_update(failed)
            self.update(failed)

    def _forget_missing(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            if not self._session_files.exists(session_id):  # it may have been created since
                self._writer.forget(session_id)

    def _recover_damaged(self, seconds: float = math.inf, largest: float = math.inf) -> None:
        """Recover what the scan found damaged: each takes some waits for the disk, or much of a long file.

        Those with more than `largest` bytes, and what is left after `seconds`, stay for the next call.
        """
        until = time.monotonic() + seconds
        for session_id in sorted(self._damaged):
            if self._closing.is_set() or time.monotonic() > until:
                return
            size, _ = self._session_files.signature(session_id) or (0, 0)
            if size <= largest:
                self._update_row(session_id)
                self._damaged.discard(session_id)

    def _update_row(self, session_id: str, *, recover: bool = True) -> None:
        """Read the ends of the session into the index. A damaged one is recovered, or put off."""
        known = session_id in self._unreadable
        self._unreadable.discard(session_id)
        try:
            # Noted while the session's lock is held, so that what an append notes comes before or after.
            self._session_files.passing(
                session_id,
                lambda descriptor, whole: self._writer.note(
                    entries.session_update(whole, os.fstat(descriptor))
                ),
                recover=recover,
            )
        except SessionNotFound:
            self._writer.forget(session_id)
            if self._session_files.exists(session_id):
                self._unreadable.add(session_id)  # another session's, under this one's name
        except Damaged:
            self._damaged.add(session_id)
        except RpcError as error:
            self._leave_out(session_id, error, logging.DEBUG if known else logging.WARNING)

    def _leave_out(self, session_id: str, error: RpcError, level: int = logging.WARNING) -> None:
        self._unreadable.add(session_id)
        self._writer.forget(session_id)
        log.log(level, "⚠ %s is not in the list: %s", session_id, error)
        if isinstance(error, StorageFailed):
            self._failed.add(session_id)
            self._retry_at = min(self._retry_at, time.monotonic() + _RETRY_SESSIONS)
            self._state.wake()  # the thread may wait for longer

    def _read_behind(self) -> None:
        """Read what the index lacks. What was appended meanwhile is read before what remains of the rest."""
        total, last = 0, None
        while (behind := self._writer.behind(_GROUP_SESSIONS)) and behind != last:
            if self._closing.is_set():
                return
            last, group, number = behind, [], 0
            for session_id, fed_seq, records in behind:
                group.append((session_id, fed_seq))
                number += records
                if number >= _GROUP:
                    break
            self._read_sessions(group)
            total += len(group)
            self._wait_while_busy()
        if total > 1:
            log.info("index.db: %s read", count(total, "session"))

    def _read_sessions(self, behind: Iterable[_Behind]) -> None:
        with self._reading_files:
            self._read_each(behind)

    def _read_each(self, behind: Iterable[_Behind]) -> None:
        """Read what the index lacks of these sessions, a batch at a time.

        A session that cannot be indexed, whatever the reason, does not keep the others from it.
        """
        try:
            self._read_batches(behind)
        except (sqlite3.Error, OSError):
            raise
        except Exception:
            for session_id, fed_seq in behind:
                self._read_alone(session_id, fed_seq)

    def _read_alone(self, session_id: str, fed_seq: int) -> None:
        try:
            self._read_batches([(session_id, fed_seq)])
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:
            log.warning("⚠ %s cannot be searched: %r", session_id, error)
            log.debug("", exc_info=True)
            self._writer.skip(session_id)

    def _read_batches(self, behind: Iterable[_Behind]) -> None:
        """Read the next batch while SQLite writes the one before it, which needs no interpreter's lock."""
        batch: list[Part] = []
        size = 0
        writing: Future[None] | None = None
        with ThreadPoolExecutor(1, "index-writer") as thread:
            for part in self._parts(behind):
                batch.append(part)
                size += size_in_batch(part)
                if size >= BATCH_BYTES:
                    if writing:
                        writing.result()
                    writing = thread.submit(self._write, batch)
                    batch, size = [], 0
            if writing:
                writing.result()
        self._write(batch)

    def _write(self, batch: Sequence[Part]) -> None:
        self._writer.add(batch)
        self._batches += 1
        self._batches_since_given_back += 1
        if self._batches >= _MOST_BATCHES:
            self._merge(everything=False)

    def _parts(self, behind: Iterable[_Behind]) -> Iterator[Part]:
        for session_id, fed_seq in behind:
            part = None
            while not self._closing.is_set() and not (part and part.is_last):
                seq = part.last_seq if part else max(fed_seq, 0)
                try:
                    read = partial(entries.read_part, fed_seq, seq)
                    part = self._session_files.passing(session_id, read)
                except SessionNotFound:
                    self._writer.forget(session_id)
                    break
                except RpcError as error:
                    self._leave_out(session_id, error)
                    break
                yield part


def size_in_batch(part: Part) -> int:
    """What it counts for `BATCH_BYTES`."""
    return part.texts.characters + _ROW_BYTES * part.texts.entries

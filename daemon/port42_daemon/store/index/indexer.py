"""What brings the index up to the files, in a thread of its own: at a start, and while the daemon serves.

It sleeps until there is something to do. At a start it first reads the two ends of every file that
the index does not know as it is, which is quick, so that lists are right; then whole sessions, which
takes as long as it takes. Later it takes in the text of messages, in batches, and what a hand changed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from port42_daemon.store.index.index import Index
from port42_daemon.store.index.schema import is_damage
from port42_daemon.store.index.sessions import Listed, Row
from port42_daemon.store.last_sessions import Mapping, MappingDamaged
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.cache import OpenSessions, reader
from port42_daemon.store.session_file.document import Document
from port42_daemon.store.session_file.errors import storage
from port42_daemon.store.session_file.salvage import set_aside
from port42_protocol.errors import RpcError, SessionNotFound
from port42_protocol.messages.records import Message, Summary

log = logging.getLogger(__name__)

_DELAY = 0.5
"""Seconds in which what happens is gathered into one batch."""
_BATCH = 1_000
_BATCH_BYTES = 512 * 1024
"""Messages, and bytes of them, that are taken in at once: a question may wait so long."""
_NEW_FILES = 3
"""Times that a damaged index is made anew; then it is the disk."""


class CatchingUp:
    """The feeder of the index."""

    def __init__(self, sessions: OpenSessions, index: Index) -> None:
        self._sessions = sessions
        self._index = index
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self.begun_anew = threading.Event()
        self._one_reads = threading.Lock()
        self._anew, self._compare, self._erase = False, True, False
        self._seen_folder = 0
        self._unreadable: set[str] = set()
        self._new_files = 0

    # --- its life ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the index, and bring it up to date behind our back."""
        try:
            self._index.open()
        except (sqlite3.Error, OSError) as error:
            # Sessions are read and resumed without it; only questions across them fail, and say so.
            log.warning("⚠ index.db cannot be used: %s", error)
        self._index.work.set()
        self._thread = threading.Thread(target=self._run, name="catch-up")
        self._thread.start()

    def end(self) -> None:
        """Stop where it is; the next start goes on from there."""
        self._closing.set()
        self._index.work.set()
        if self._thread is not None:
            self._thread.join()

    # --- what it is asked for ---------------------------------------------------------------------

    def rebuild(self) -> None:
        """Begin the index anew, behind our back; `begun_anew` is set when the old one is gone."""
        self.begun_anew.clear()
        self._anew = True
        self._index.unsettle()
        self._index.work.set()

    def erase_traces(self) -> None:
        """Take what was forgotten out of the file itself, behind our back."""
        self._erase = True
        self._index.work.set()

    def look_at_folder(self) -> None:
        """Where files came or went since the folder was looked through, look through it, behind our back."""
        if self._sessions.folder.stat().st_mtime_ns != self._seen_folder:
            self._index.work.set()

    def notice(self, listed: Iterable[Listed]) -> bool:
        """Look at the files of a list: whether any is not as the index knew it. It knows now."""
        found = [
            one.session.session_id
            for one in listed
            if self._sessions.signature(one.session.session_id) != (one.size, one.mtime_ns)
        ]
        for session_id in found:
            self._look_at(session_id)
        return bool(found)

    def look_at(self, session_ids: Iterable[str]) -> None:
        """Tell the index how these sessions stand now; it forgets those that are gone."""
        for session_id in session_ids:
            self._look_at(session_id)

    def read_now(self, session_id: str) -> None:
        """Have every message of the session in the index, whatever else is still to be read."""
        if self._sessions.signature(session_id) != self._index.file(session_id):
            self._look_at(session_id)
        if self._index.is_behind(session_id):
            self._read([session_id])

    def newest(self) -> dict[str, str]:
        """Each agent's session with the latest activity: what a mapping is rebuilt from."""
        try:
            return self._index.newest()
        except sqlite3.Error:
            return self._newest_by_reading()

    # --- its thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._index.work.wait()
            if not self._compare:
                self._closing.wait(_DELAY)
            if self._closing.is_set():
                break
            self._index.work.clear()
            try:
                self._work()
            except (sqlite3.Error, OSError) as error:
                self._compare = False
                log.warning("⚠ index.db could not be brought up to date: %s", error)
                if isinstance(error, sqlite3.Error) and is_damage(error):
                    self._index.damaged = True
                    self._index.work.set()
                self._index.drop_waiting()
                self._index.release()
        self._index.release()

    def _work(self) -> None:
        if self._anew or (self._index.damaged and self._new_files < _NEW_FILES):
            self._new_files += not self._anew
            self._anew = False
            self._index.begin_anew()
            self.begun_anew.set()
            self._compare = True
        if self._compare:
            self._index.mend()
            self._compare_all()
            self._compare = False
        elif self._sessions.folder.stat().st_mtime_ns != self._seen_folder:
            self._compare_names()
        self._index.all_listed()
        while not self._index.feed(256):
            pass
        self._read_behind()
        if self._erase:
            self._erase = False
            more = self._index.erase_traces(first=True)
            while more and not self._closing.is_set():
                more = self._index.erase_traces(first=False)
        if not self._closing.is_set() and not self._anew:
            self._index.settle()

    def _compare_all(self) -> None:
        """Read the ends of every file that is not as the index knows it; forget those that are gone."""
        self._seen_folder = self._sessions.folder.stat().st_mtime_ns
        known = self._index.files()
        there = set()
        for session_id, size, mtime_ns in self._sessions.scan():
            there.add(session_id)
            if known.get(session_id) != (size, mtime_ns):
                self._look_at(session_id)
            if len(there) % 256 == 0:
                self._index.write()  # a start must not hold ten thousand of them
            if self._closing.is_set():
                return
        self._forget(known.keys() - there)

    def _compare_names(self) -> None:
        """As above, for files that came or went; what a file holds is looked at when it is listed."""
        self._seen_folder = self._sessions.folder.stat().st_mtime_ns
        known = self._index.files().keys()
        there = set(self._sessions.names())
        for session_id in there - known - self._unreadable:
            self._look_at(session_id)
        self._forget(known - there)

    def _forget(self, gone: Iterable[str]) -> None:
        for session_id in gone:
            if not self._sessions.exists(session_id):  # it may have been created since
                self._index.forget(session_id)

    def _read_behind(self) -> None:
        behind = self._index.behind()
        group: list[str] = []
        waiting = 0
        for session_id, records in behind:
            group.append(session_id)
            waiting += records
            if waiting >= _BATCH:
                self._read(group)
                group, waiting = [], 0
            if self._closing.is_set():
                return
        self._read(group)
        if len(behind) > 1:
            log.info("index.db: %d sessions read anew", len(behind))

    def _read(self, session_ids: Iterable[str]) -> None:
        """Take in what the index lacks of these sessions, a batch at a time."""
        with self._one_reads:
            waiting: list[Row] = []
            for session_id in session_ids:
                for batch in self._batches(session_id):
                    waiting.append(batch)
                    if sum(len(one.records) for one in waiting) >= _BATCH:
                        self._index.take_in(waiting)
                        waiting = []
            self._index.take_in(waiting)

    def _batches(self, session_id: str) -> Iterator[Row]:
        after = self._index.read_from(session_id)
        while not self._closing.is_set():
            batch = self._batch(session_id, after)
            if batch is None:
                self._index.forget(session_id)
                return
            yield batch
            if not batch.records or batch.records[-1].seq >= batch.last_seq:
                return
            after = batch.records[-1].seq

    # --- files ------------------------------------------------------------------------------------

    def _batch(self, session_id: str, after_seq: int) -> Row | None:
        def collect(opened: int, whole: Document) -> Row:
            records: list[Message] = []
            used = 0
            for record, length in document.records(reader(opened), whole, after_seq):
                records.append(record)
                used += length
                if len(records) >= _BATCH or used >= _BATCH_BYTES:
                    break
            return row(whole, os.fstat(opened), tuple(records))

        try:
            return self._sessions.passing(session_id, collect)
        except RpcError as error:
            log.warning("⚠ %s cannot be searched: %s", session_id, error)
            return None

    def _look_at(self, session_id: str) -> None:
        """Tell the index how the session stands; one that is gone or cannot be read leaves it."""
        try:
            # Told while the session's lock is held: so what an append tells comes before or behind.
            self._sessions.passing(
                session_id, lambda opened, whole: self._index.note(row(whole, os.fstat(opened)))
            )
        except SessionNotFound:
            self._index.forget(session_id)
        except RpcError as error:
            self._unreadable.add(session_id)
            self._index.forget(session_id)
            log.warning("⚠ %s is not in the list: %s", session_id, error)

    def _newest_by_reading(self) -> dict[str, str]:
        newest: dict[str, Summary] = {}
        for session_id, _, _ in self._sessions.scan():
            try:
                found = self._sessions.passing(session_id, lambda _, whole: whole.summary)
            except RpcError:
                continue
            before = newest.setdefault(found.agent, found)
            if before.last_activity < found.last_activity:
                newest[found.agent] = found
        return {agent: summary.session_id for agent, summary in newest.items()}


def open_mapping(mapping: Mapping, path: Path, catching_up: CatchingUp) -> None:
    """Read the mapping; one that is gone or damaged is rebuilt from the sessions."""
    try:
        with storage(f"read {path.name}"):
            if mapping.load():
                return
    except MappingDamaged as damage:
        original = set_aside(path)
        log.warning("⚠ %s was damaged (%s); it is %s", path.name, damage, original.name)
    last = catching_up.newest()
    if last:
        log.warning("⚠ %s rebuilt from the sessions of %d agents", path.name, len(last))
    mapping.rebuild(last)


def row(whole: Document, found: os.stat_result, records: tuple[Message, ...] = ()) -> Row:
    """What the index is told of a session whose file is the one that `found` tells of."""
    titled = whole.header.title is not None
    return Row(whole.summary, whole.footer.last_seq, found.st_size, found.st_mtime_ns, titled, records)

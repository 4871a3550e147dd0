"""The store: sessions as files in one folder, the last sessions and the index beside them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from port42_daemon import durable
from port42_daemon.store.check.home import HomeMaintenance
from port42_daemon.store.check.repair import Backup
from port42_daemon.store.index.entries import session_update
from port42_daemon.store.index.index import SessionIndex
from port42_daemon.store.interface import (
    Catalogue,
    Footer,
    Header,
    Maintenance,
    Page,
    Recent,
    SessionStore,
    SessionWriter,
    StoredLines,
    UnfinishedTurn,
)
from port42_daemon.store.last_sessions import LastSessions, MappingDamaged, UseOrder
from port42_daemon.store.session_file import checkpoint, document
from port42_daemon.store.session_file.cache import OpenSessions, reader
from port42_daemon.store.session_file.checkpoint import Checkpoint
from port42_daemon.store.session_file.document import Damaged, Document, Growth
from port42_daemon.store.session_file.errors import storage
from port42_daemon.store.session_file.fork import branch
from port42_daemon.store.session_file.salvage import set_aside
from port42_daemon.store.trash import Entry, Trash
from port42_protocol.counting import count
from port42_protocol.errors import (
    RpcError,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
    StorageFailed,
)
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import Message, Record, Summary
from port42_protocol.times import milliseconds

log = logging.getLogger(__name__)


class FileStore(SessionStore):
    """Sessions under `home`, whose lock the caller holds."""

    def __init__(self, home: Path, give_back_memory: Callable[[], None] | None = None) -> None:
        """`give_back_memory` is called by the indexer's thread when it has read much."""
        self._home = home
        self._last = LastSessions(home / "agent_sessions.json")
        self.last_sessions = self._last.view
        self._uses = UseOrder()
        self._sessions = OpenSessions(home / "sessions", self._changed)
        self._index = SessionIndex(home / "index.db", self._sessions, give_back_memory)
        self._trash = Trash(home / "trash", self._sessions)
        self.remembered = self._sessions.remembered
        self.catalogue: Catalogue = self._index
        self.changed = _no_listener
        self.maintenance: Maintenance = HomeMaintenance(
            home, self._sessions, self._trash, self._last, self._index
        )

    def open(self) -> None:
        """Read the last sessions, and start the indexer's thread. Raises `StorageFailed`."""
        with storage("open the sessions"):
            for folder in (self._home, self._sessions.folder):
                durable.own_folder(folder)
                durable.remove_leftovers(folder)
            self._index.start()
            self._uses.see(self._index.latest_use())
            self._open_last_sessions(self._home / "agent_sessions.json")

    def close(self) -> None:
        """Raises `StorageFailed`."""
        self._index.close()
        with storage("write agent_sessions.json"):
            self._last.save()

    # --- reading ----------------------------------------------------------------------------------

    def where(self, session_id: str) -> Literal["sessions", "trash"] | None:
        with storage("look for a session"):
            if self._sessions.exists(session_id):
                return "sessions"
            return "trash" if self._trash.has(session_id) else None

    def summary(self, session_id: str, *, trashed: bool = False) -> Summary:
        if not trashed:
            return self._sessions.reading(session_id, lambda _, whole: whole.summary)
        with storage("look into the trash"):
            return self._trash.reading(session_id, lambda _, whole: whole.summary)

    def ends(self, session_id: str, through: int | None = None) -> tuple[Header, Footer]:
        def fold(descriptor: int, whole: Document) -> tuple[Header, Footer]:
            seq = whole.footer.last_seq if through is None else through
            return whole.header, document.fold_through(reader(descriptor), whole, seq)[0]

        return self._sessions.reading(session_id, fold)

    def read(self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool) -> Page:
        def collect(descriptor: int, whole: Document) -> Page:
            records: list[Record] = []
            used = 0
            for record, length in document.records(reader(descriptor), whole, after_seq):
                if not events and not isinstance(record, Message):
                    continue
                used += length
                if records and (len(records) == limit or used > max_bytes):
                    return Page(whole.header, whole.summary, records, records[-1].seq)
                records.append(record)
            return Page(whole.header, whole.summary, records, None)

        return self._sessions.reading(session_id, collect)

    def recent(self, session_id: str, at_least: int) -> Recent:
        def look(descriptor: int, whole: Document) -> Recent:
            records, complete = document.recent(reader(descriptor), whole, at_least)
            return Recent(whole.header, whole.summary, records, complete, whole.footer.turn)

        return self._sessions.reading(session_id, look)

    def lines(self, session_id: str, after_seq: int, max_bytes: int) -> StoredLines:
        try:
            return self._sessions.reading(session_id, partial(_lines, after_seq, max_bytes, trashed=False))
        except SessionNotFound:
            with storage("look into the trash"):
                return self._trash.reading(session_id, partial(_lines, after_seq, max_bytes, trashed=True))

    # --- writing ----------------------------------------------------------------------------------

    def create(
        self, header: Header, records: Sequence[Record] = (), *, use: bool = False, used_at: int | None = None
    ) -> Summary:
        at = records[-1].timestamp if records else header.created_at
        number = self._next_use(header.agent, header.id, at) if use else used_at
        growth = document.grow(document.begun(header), records, number)
        with self._new_file(header.id) as path:
            durable.replace(path, header.line() + growth.data)
            self._wrote(growth.document, path.stat(), _fresh(records, growth))
        return growth.document.summary

    def create_all(
        self, sessions: Sequence[tuple[Header, Sequence[Record]]]
    ) -> list[tuple[Summary, Sequence[Record]] | RpcError]:
        results: list[tuple[Summary, Sequence[Record]] | RpcError] = []
        begun: dict[str, tuple[int, Growth]] = {}
        files: list[tuple[Path, bytes]] = []
        with contextlib.ExitStack() as locks:
            for session_id in sorted({header.id for header, _ in sessions}):
                locks.enter_context(self._sessions.lock(session_id))
            for position, (header, records) in enumerate(sessions):
                growth = document.grow(document.begun(header), records)
                results.append((growth.document.summary, growth.records))
                try:
                    with storage(f"create session {header.id}"):
                        path = self._free_path(header.id)
                except RpcError as error:
                    results[position] = error
                    continue
                if header.id in begun:
                    results[position] = SessionExists(header.id)
                    continue
                begun[header.id] = position, growth
                files.append((path, header.line() + growth.data))
            created = durable.create_all(files)
            self._index.give_way(len(files), sum(len(data) for _, data in files))
            for (session_id, (position, growth)), status in zip(begun.items(), created, strict=True):
                try:
                    with storage(f"create session {session_id}"):
                        if isinstance(status, OSError):
                            raise status
                except RpcError as error:
                    results[position] = error
                else:
                    # Not kept in memory: of many sessions few are asked for soon.
                    self._note(growth.document, status, _fresh(sessions[position][1], growth))
        return results

    def writing(self, session_id: str) -> _Writing:
        return _Writing(self, session_id)

    def rewrite(self, header: Header, records: Sequence[Record], backup: str) -> Summary:
        path = self._sessions.path(header.id)
        stored, footer = self.ends(header.id)
        generation = (
            (stored.generation or 0) + 1 if header.generation is UNSET else header.generation or UNSET
        )
        header = msgspec.structs.replace(
            stored,
            title=header.title,
            cwd=header.cwd or stored.cwd,
            forked_from=header.forked_from or stored.forked_from,
            generation=generation,
        )
        with self._sessions.lock(header.id), storage(f"write session {header.id}"):
            Backup(self._home, backup).keep(path)
            data, whole = document.compose(header, records, footer.use)
            durable.replace(path, data)
            self._sessions.forget(header.id)
            self._wrote(whole, path.stat(), ())
        return whole.summary

    def splice(self, session_id: str, seq: int, records: Sequence[Record], *, used_at: int) -> Summary:
        path = self._sessions.path(session_id)

        with self._sessions.lock(session_id), storage(f"write session {session_id}"):
            descriptor, whole = self._sessions.open(session_id, os.O_RDONLY)
            try:
                footer, length = document.fold_through(reader(descriptor), whole, seq)
                head = whole.header.line()
                end = len(head) + length + bool(length)
                kept = document.assembled(whole.header, footer, len(head), end, b"")
                growth = document.grow(kept, records, used_at)
                middle = durable.Span(descriptor, whole.records_at, length)
                durable.replace_with_copy(path, head, middle, growth.data)
            except Damaged as damage:
                raise SessionDamaged(session_id, str(damage)) from None
            finally:
                os.close(descriptor)
            self._sessions.forget(session_id)
            self._uses.see(used_at, session_id)
            self._wrote(growth.document, path.stat(), ())
        return growth.document.summary

    def fork(self, session_id: str, at_seq: int, header: Header, event: Record) -> Summary:
        if header.id == session_id:
            raise SessionExists(session_id)
        use = self._next_use(header.agent, header.id, event.timestamp)

        def begin(descriptor: int, original: Document) -> Summary:
            read, block = reader(descriptor), durable.block_size(descriptor)
            fork = branch(read, original, at_seq, (header, event, use), block)
            # These records do not change: an append begins after the last of them.
            records = durable.Span(descriptor, original.records_at, fork.length)
            with self._new_file(header.id) as path:
                durable.replace_with_copy(path, fork.head, records, fork.tail)
                self._wrote(fork.document, path.stat(), ())
            return fork.document.summary

        return self._sessions.reading(session_id, begin)

    # --- turns under way --------------------------------------------------------------------------

    def checkpoint(self, unfinished: UnfinishedTurn) -> Checkpoint:
        with storage(f"write session {unfinished.session_id}"):
            path = self._sessions.path(unfinished.session_id).with_suffix(checkpoint.SUFFIX)
            return Checkpoint(path, unfinished)

    def unfinished(self, session_id: str | None = None) -> list[tuple[UnfinishedTurn, str, list[Record]]]:
        with storage("read unfinished turns"):
            return checkpoint.checkpoints_in(self._sessions.folder, session_id)

    def forget_unfinished(self, session_id: str) -> None:
        with storage(f"write session {session_id}"):
            self._sessions.path(session_id).with_suffix(checkpoint.SUFFIX).unlink(missing_ok=True)

    # --- the trash --------------------------------------------------------------------------------

    def restore(self, session_id: str) -> Summary:
        with self._sessions.lock(session_id), storage(f"restore session {session_id}"):
            whole, status = self._trash.reading(session_id, lambda file, whole: (whole, os.fstat(file)))
            self._trash.take(session_id)
            self._wrote(whole, status, ())
        return whole.summary

    def trashed(self, agent: str | None, before: tuple[str, str] | None, limit: int) -> list[TrashedSession]:
        with storage("look into the trash"):
            entries = self._trash.entries(agent)
            if before is not None:
                entries = [entry for entry in entries if (entry.trashed_at, entry.session_id) < before]
            return list(islice(filter(None, map(self._trash.shown, entries)), limit))

    def purge(self, trashed: Sequence[TrashedSession]) -> set[str]:
        entries = [Entry.of(each.trashed_at, each.session_id, each.agent) for each in trashed]
        self._index.erase_deleted_text()  # first: a kill may come before the trash is empty
        with storage("empty the trash"):
            purged = self._trash.purge(entries)
        for session_id in purged:
            self.changed(session_id)
        return purged

    @property
    def last_sessions_complete(self) -> bool:
        return self._last.is_complete

    def complete_last_sessions(self) -> None:
        if not self._index.wait_recovered():
            raise StorageFailed("agent_sessions.json cannot be rebuilt yet: the index is not up to date")
        last = self._index.newest()
        self._uses.see(self._index.latest_use())
        with storage("write agent_sessions.json"):
            if not self._last.is_complete:
                log.warning(
                    "⚠ agent_sessions.json rebuilt from the sessions of %s", count(len(last), "agent")
                )
                self._last.complete(last)

    def set_last(self, agent: str, session_id: str | None, *, instead_of: str | None = None) -> None:
        with storage("write agent_sessions.json"):
            self._last.set(agent, session_id, instead_of)

    # --- inside -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _new_file(self, session_id: str) -> Iterator[Path]:
        """Where the file of a new session is written, under its lock. Raises `SessionExists`."""
        with self._sessions.lock(session_id), storage(f"create session {session_id}"):
            path = self._free_path(session_id)
            try:
                yield path
            except OSError:
                path.unlink(missing_ok=True)  # the rename may have succeeded before its fsync failed
                raise

    def _free_path(self, session_id: str) -> Path:
        """Where the file of a new session is. Raises `SessionExists`."""
        path = self._sessions.path(session_id)
        if os.path.lexists(path) or self._trash.has(session_id):
            raise SessionExists(session_id)
        return path

    def _open_last_sessions(self, path: Path) -> None:
        """Read the file; one that is gone or damaged is rebuilt from the sessions."""
        try:
            with storage(f"read {path.name}"):
                if self._last.load():
                    return
        except MappingDamaged as damage:
            original = set_aside(path)
            path.unlink(missing_ok=True)  # a start before it is complete again must not set it aside again
            log.warning("⚠ %s was damaged (%s); it is %s", path.name, damage, original.name)
        else:
            if next(self._sessions.names(), None) is None:
                return  # a new home has no sessions to index
        self._last.begin_rebuilding(self._index.newest())
        if self._index.is_recovered:
            try:
                self.complete_last_sessions()
            except StorageFailed as error:  # asked for a last session, it is tried again
                log.warning("⚠ %s", error)

    def _next_use(self, agent: str, session_id: str, timestamp: str) -> int:
        """The number of a use of the session at that time."""
        last = self.last_sessions.get(agent)
        if last is not None and last != session_id:
            # Its use may be later than `timestamp`, if the clock was set back while no daemon ran.
            with contextlib.suppress(RpcError):
                self._uses.see(self._sessions.last_use(last), last)
        return self._uses.next(session_id, milliseconds(timestamp))

    def _changed(self, whole: Document, status: os.stat_result) -> None:
        self._index.note(session_update(whole, status))

    def _wrote(self, whole: Document, status: os.stat_result, records: tuple[Record, ...]) -> None:
        self._sessions.remember(whole, status)
        self._note(whole, status, records)

    def _note(self, whole: Document, status: os.stat_result, records: tuple[Record, ...]) -> None:
        self._index.note(session_update(whole, status, records))
        self.changed(whole.header.id)


def _fresh(records: Sequence[Record], growth: Growth) -> tuple[Record, ...]:
    """The new records of a session for the index; those that had seqs, with gaps, it reads in the file."""
    return () if any(record.seq for record in records) else growth.records


class _Writing(SessionWriter):
    __slots__ = ("_descriptor", "_document", "_lock", "_session_id", "_store", "added")

    def __init__(self, store: FileStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self.added: Sequence[Record] = ()

    def __enter__(self) -> _Writing:
        self._lock: threading.Lock = self._store._sessions.lock(self._session_id)
        self._lock.acquire()
        try:
            with storage(f"write session {self._session_id}"):
                self._descriptor, self._document = self._store._sessions.open(self._session_id, os.O_RDWR)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.close(self._descriptor)
        finally:
            self._lock.release()

    @property
    def summary(self) -> Summary:
        return self._document.summary

    @property
    def last_seq(self) -> int:
        return self._document.footer.last_seq

    def append(self, records: Sequence[Record], *, use: bool | None, used_at: int = 0) -> None:
        store, before = self._store, self._document
        at = before.footer.use
        if use:
            store._uses.see(at, self._session_id)
            at = store._next_use(before.header.agent, self._session_id, records[-1].timestamp)
        elif use is None:
            at = max(at, min(milliseconds(records[-1].timestamp), time.time_ns() // 1_000_000))
            store._uses.see(at, self._session_id)
        elif used_at > at:
            at = used_at
            store._uses.see(at, self._session_id)
        growth = document.grow(before, records, at)
        with storage(f"write session {self._session_id}"):
            try:
                durable.overwrite_tail(self._descriptor, growth.offset, growth.data, growth.undo)
            except OSError:
                store._sessions.forget(self._session_id)
                raise
            status = os.fstat(self._descriptor)
        self._document = growth.document
        store._index.give_way(0, len(growth.data))
        store._wrote(growth.document, status, growth.records)
        self.added = (*self.added, *growth.records)

    def trash(self) -> None:
        with storage(f"move session {self._session_id} to the trash"):
            self._store._trash.put(self._document.summary)
        self._store._sessions.forget(self._session_id)
        self._store._index.forget(self._session_id)
        self._store.changed(self._session_id)


def _lines(after_seq: int, max_bytes: int, descriptor: int, whole: Document, *, trashed: bool) -> StoredLines:
    lines: list[tuple[int, bytes]] = []
    size, complete = 0, True
    for line in document.lines(reader(descriptor), whole, after_seq):
        text = line.rstrip().removesuffix(b",")
        seq = document.parse_record(text).seq
        if seq <= after_seq:
            continue
        if lines and size + len(text) > max_bytes:
            complete = False
            break
        lines.append((seq, text))
        size += len(text)
    status = os.fstat(descriptor)
    return StoredLines(
        whole.header, whole.footer, trashed, (status.st_size, status.st_mtime_ns), lines, complete
    )


def _no_listener(session_id: str) -> None:
    """For `changed`, until somebody sets it."""

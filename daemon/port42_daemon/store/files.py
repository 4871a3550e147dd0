"""The store: sessions as files in one folder, the mapping and the index beside them.

Every method blocks and may be called from any thread; what it returns is on the disk. `RpcError`
subclasses are the only exceptions that leave, and none of them carries a path.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from port42_daemon.store import checkpoint, disk, document
from port42_daemon.store.checkpoint import Checkpoint, Unfinished
from port42_daemon.store.contract import Recent, Store
from port42_daemon.store.document import Damaged, Document, Header
from port42_daemon.store.index import Index, Row
from port42_daemon.store.mapping import Mapping, MappingDamaged
from port42_daemon.store.recovery import recover, set_aside
from port42_protocol.errors import (
    RpcError,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
    StorageFailed,
)
from port42_protocol.messages import ListedSession, Message, Summary

T = TypeVar("T")
log = logging.getLogger(__name__)

_REMEMBERED = 1024
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A session as it was read or written last, and the file it then was."""

    document: Document
    signature: tuple[int, int, int]


class FileStore(Store):
    """Sessions under `home`; the caller holds the lock that makes it the only writer there."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "sessions"
        self._home = home
        self._mapping = Mapping(home / "agent_sessions.json")
        self._index = Index(home / "index.db")
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._known_lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._catching_up: threading.Thread | None = None

    # --- its life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Read the mapping, and begin to bring the index up to date behind our back."""
        with _storage("open the sessions"):
            disk.own_folder(self._home)
            disk.own_folder(self._folder)
            disk.remove_leftovers(self._home)
            disk.remove_leftovers(self._folder)
            self._open_index()
            self._catching_up = threading.Thread(target=self._catch_up, name="catch-up")
            self._catching_up.start()
            self._open_mapping()

    def close(self) -> None:
        """Write what is not written yet."""
        self._index.interrupt()
        if self._catching_up is not None:
            self._catching_up.join()
        self._index.close()
        with _storage("write agent_sessions.json"):
            self._mapping.save()

    # --- one session ------------------------------------------------------------------------------

    def exists(self, session_id: str) -> bool:
        """Whether there is a file of that id."""
        return _ID.fullmatch(session_id) is not None and self._path(session_id).exists()

    def remembered(self, session_id: str) -> Summary | None:
        """The summary, when it is in memory and its file has not changed since. Never reads a file.

        One stat, two microseconds: quick enough for the event loop.
        """
        known = self._known.get(session_id)
        if known is None:
            return None
        try:
            found = os.stat(self._place(session_id))  # noqa: PTH116  # pathlib costs more than the call
        except OSError:
            return None
        return known.document.summary if known.signature == _signature(found) else None

    def summary(self, session_id: str) -> Summary:
        """What a list shows of the session."""
        return self._document(session_id).summary

    def header(self, session_id: str) -> Header:
        """What never changes of the session."""
        return self._document(session_id).header

    def create(self, header: Header, records: Sequence[Message] = ()) -> Summary:
        """Begin a session, with its first records if any. Raises `SessionExists`."""
        path = self._path(header.id)
        with self._lock(header.id), _storage(f"create session {header.id}"):
            if os.path.lexists(path):
                raise SessionExists(header.id)
            data, begun = document.compose(header, _numbered(records))
            try:
                disk.replace(path, data)
            except OSError:
                # Refused is refused: the rename may have been made, and only its fsync have failed.
                path.unlink(missing_ok=True)
                raise
            self._remember(begun, path.stat(), _keys(records, 1))
        return begun.summary

    def append(self, session_id: str, decide: Callable[[Summary], Sequence[Message]]) -> tuple[Summary, int]:
        """Add, in order, what `decide` makes of the session as it stands; nothing if it raises.

        Gives the summary after it and the last seq.
        """

        def write(descriptor: int, before: Document) -> tuple[Summary, int]:
            records = decide(before.summary)
            if not records:
                return before.summary, before.footer.last_seq
            growth = document.grow(before, records)
            try:
                disk.overwrite_tail(descriptor, growth.offset, growth.data, growth.undo)
            except OSError:
                self._forget(session_id)
                raise
            keys = _keys(records, before.footer.last_seq + 1)
            self._remember(growth.document, os.fstat(descriptor), keys)
            return growth.document.summary, growth.document.footer.last_seq

        with self._lock(session_id), _storage(f"write session {session_id}"):
            return self._held(session_id, os.O_RDWR, write)

    def read(
        self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool
    ) -> tuple[list[Message], int | None]:
        """A page of records after `after_seq`, and the seq to go on from, None at the end.

        At least one record, however long it is.
        """

        def collect(descriptor: int, whole: Document) -> tuple[list[Message], int | None]:
            page: list[Message] = []
            used = 0
            for record, length in document.records(_reader(descriptor), whole, after_seq):
                if record.role == "event" and not events:
                    continue
                used += length
                if page and (len(page) == limit or used > max_bytes):
                    return page, page[-1].seq
                page.append(record)
            return page, None

        return self._reading(session_id, collect)

    def recent(self, session_id: str, at_least: int) -> Recent:
        """The session's end, at least so many bytes of it."""

        def look(descriptor: int, whole: Document) -> Recent:
            found, complete = document.recent(_reader(descriptor), whole, at_least)
            return Recent(whole.summary, found, complete, whole.footer.turn)

        return self._reading(session_id, look)

    def checkpoint(self, unfinished: Unfinished) -> Checkpoint:
        """Begin to keep a reply that is still being given."""
        with _storage(f"write session {unfinished.session_id}"):
            path = self._path(unfinished.session_id).with_suffix(checkpoint.SUFFIX)
            return Checkpoint(path, unfinished)

    def unfinished(self, session_id: str | None = None) -> list[tuple[Unfinished, str]]:
        """What a killed daemon left, or a full disk. Nobody may be answering in those sessions."""
        with _storage("read unfinished turns"):
            return checkpoint.left_in(self._folder, session_id or "*")

    def forget_unfinished(self, session_id: str) -> None:
        """Remove a checkpoint that has been recorded."""
        with _storage(f"write session {session_id}"):
            checkpoint.forget(self._folder, session_id)

    # --- the mapping ------------------------------------------------------------------------------

    def last(self, agent: str) -> str | None:
        """The session that `agent` used last, from memory."""
        return self._mapping.get(agent)

    def set_last(self, agent: str, session_id: str) -> None:
        """`agent` used `session_id` now; writes only when that is news."""
        with _storage("write agent_sessions.json"):
            self._mapping.set(agent, session_id)

    def agents(self) -> dict[str, str]:
        """Every agent that has a session, and its last one."""
        return self._mapping.agents()

    # --- questions across sessions ----------------------------------------------------------------

    def page(
        self,
        *,
        agent: str | None = None,
        cwd: str | None = None,
        state: str | None = None,
        before: tuple[str, str] | None = None,
        limit: int,
    ) -> list[ListedSession]:
        """Sessions by last use, newest first, from behind `before` (last_activity, session_id)."""
        with _storage("ask the index"):
            return self._index.page(agent=agent, cwd=cwd, state=state, before=before, limit=limit)

    def with_prefix(self, prefix: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `prefix`."""
        with _storage("ask the index"):
            return self._index.with_prefix(prefix, agent, limit)

    def with_title(self, title: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions of that title, or else those whose title begins so."""
        with _storage("ask the index"):
            return self._index.with_title(title, agent, limit)

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq that `agent` recorded under an idempotency key."""
        with _storage("ask the index"):
            return self._index.with_key(agent, key, session_id)

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""
        with _storage("ask the index"):
            return self._index.counts()

    # --- inside -----------------------------------------------------------------------------------

    def _path(self, session_id: str) -> Path:
        return Path(self._place(session_id))

    def _place(self, session_id: str) -> str:
        # The codec has checked what came over the wire; this is for what came from a file.
        if not _ID.fullmatch(session_id):
            raise SessionNotFound(session_id[:64])
        return f"{self._folder}/{session_id}.json"

    def _lock(self, session_id: str) -> threading.Lock:
        with self._known_lock:
            return self._locks.setdefault(session_id, threading.Lock())

    def _document(self, session_id: str) -> Document:
        return self._reading(session_id, lambda _, whole: whole)

    def _reading(self, session_id: str, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session, without its lock where memory and file agree.

        An append writes only behind what a reader looks at, so it need not wait for one.
        """
        with _storage(f"read session {session_id}"):
            known = self._known.get(session_id)
            if known is not None:
                opened = self._open(session_id, os.O_RDONLY)
                try:
                    if known.signature == _signature(os.fstat(opened)):
                        return action(opened, known.document)
                except Damaged:
                    pass  # under the lock it is made whole
                finally:
                    os.close(opened)
            with self._lock(session_id):
                return self._held(session_id, os.O_RDONLY, action)

    def _held(self, session_id: str, flags: int, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session, made whole first if need be. Its lock is held."""
        try:
            return self._opened(session_id, flags, action, self._current)
        except Damaged as damage:
            self._recover(session_id, damage)
        return self._opened(session_id, flags, action, self._current)

    def _opened(
        self,
        session_id: str,
        flags: int,
        action: Callable[[int, Document], T],
        look: Callable[[str, int], Document],
    ) -> T:
        opened = self._open(session_id, flags)
        try:
            return action(opened, look(session_id, opened))
        finally:
            os.close(opened)

    def _open(self, session_id: str, flags: int) -> int:
        # Not blocking, so that a FIFO somebody left in the folder cannot hold a thread.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(self._place(session_id), flags)
        except FileNotFoundError:
            self._forget(session_id)
            raise SessionNotFound(session_id) from None

    def _current(self, session_id: str, descriptor: int) -> Document:
        found = os.fstat(descriptor)
        known = self._known.get(session_id)
        if known is not None and known.signature == _signature(found):
            return known.document
        whole = _load(session_id, descriptor)
        self._remember(whole, found, ())
        return whole

    def _recover(self, session_id: str, damage: Damaged) -> None:
        self._forget(session_id)
        try:
            kept, lost, original = recover(self._path(session_id))
        except Damaged:
            raise SessionDamaged(session_id, str(damage)) from None
        log.warning(
            "⚠ %s was damaged (%s): %d messages kept, %d lines lost, the original is %s",
            *(session_id, damage, kept, lost, original.name),
        )

    def _remember(self, whole: Document, found: os.stat_result, keys: tuple[tuple[str, int], ...]) -> None:
        session_id = whole.header.id
        with self._known_lock:
            self._known[session_id] = _Known(whole, _signature(found))
            self._known.move_to_end(session_id)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._index.note(_row(whole, found, keys))

    def _forget(self, session_id: str) -> None:
        with self._known_lock:
            self._known.pop(session_id, None)

    def _open_index(self) -> None:
        try:
            self._index.open()
        except (sqlite3.Error, OSError) as error:
            # Sessions are read and resumed without it; only questions across them fail, and say so.
            log.warning("⚠ index.db cannot be used: %s", error)

    def _open_mapping(self) -> None:
        try:
            with _storage("read agent_sessions.json"):
                if self._mapping.load():
                    return
        except MappingDamaged as damage:
            original = set_aside(self._home / "agent_sessions.json")
            log.warning("⚠ agent_sessions.json was damaged (%s); it is %s", damage, original.name)
        try:
            last = self._index.newest()
        except sqlite3.Error:
            last = self._newest_by_reading()
        if last:
            log.warning("⚠ agent_sessions.json rebuilt from the sessions of %d agents", len(last))
        self._mapping.rebuild(last)

    def _newest_by_reading(self) -> dict[str, str]:
        """Each agent's session with the latest activity, from the files: the index is not to be had."""
        newest: dict[str, Summary] = {}
        for session_id, _, _ in self._scan():
            if row := self._row_since(session_id, 0):
                before = newest.setdefault(row.summary.agent, row.summary)
                if before.last_activity < row.summary.last_activity:
                    newest[row.summary.agent] = row.summary
        return {agent: summary.session_id for agent, summary in newest.items()}

    def _catch_up(self) -> None:
        try:
            read = self._index.catch_up(self._scan(), self._row_since)
        except (sqlite3.Error, OSError) as error:
            log.warning("⚠ index.db could not be brought up to date: %s", error)
        else:
            if read:
                log.info("index.db: %d sessions read anew", read)

    def _scan(self) -> Iterator[tuple[str, int, int]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                session_id = entry.name.removesuffix(".json")
                if entry.name.endswith(".json") and _ID.fullmatch(session_id):
                    found = entry.stat(follow_symlinks=False)
                    yield session_id, found.st_size, found.st_mtime_ns

    def _row_since(self, session_id: str, after_seq: int) -> Row | None:
        """What the index keeps of a session, with the keys after `after_seq`.

        Not remembered: a start that reads ten thousand files must not keep them.
        """

        def look(opened: int, whole: Document) -> Row:
            keys = tuple(document.keys(_reader(opened), whole, after_seq))
            return _row(whole, os.fstat(opened), keys)

        try:
            with self._lock(session_id), _storage(f"read session {session_id}"):
                try:
                    return self._opened(session_id, os.O_RDONLY, look, _load)
                except Damaged as damage:
                    self._recover(session_id, damage)
                    return self._opened(session_id, os.O_RDONLY, look, _load)
        except RpcError as error:
            log.warning("⚠ %s is not in the list: %s", session_id, error)
            return None


def _load(session_id: str, descriptor: int) -> Document:
    whole = document.load(_reader(descriptor), os.fstat(descriptor).st_size)
    # A file under another's name, or, where the file system folds case, another's file.
    if whole.header.id != session_id:
        raise SessionNotFound(session_id)
    return whole


def _row(whole: Document, found: os.stat_result, keys: tuple[tuple[str, int], ...]) -> Row:
    return Row(whole.summary, whole.footer.last_seq, found.st_size, found.st_mtime_ns, keys)


def _reader(descriptor: int) -> document.Read:
    return lambda offset, length: os.pread(descriptor, length, offset)


def _signature(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _numbered(records: Sequence[Message]) -> list[Message]:
    return [document.place(record, seq) for seq, record in enumerate(records, 1)]


def _keys(records: Sequence[Message], first_seq: int) -> tuple[tuple[str, int], ...]:
    return tuple(
        (str(record.key), seq) for seq, record in enumerate(records, first_seq) if record.key is not UNSET
    )


class _storage:  # noqa: N801  # used like a function: `with _storage("read session cli-1"):`
    """Turn what the disk says into an error that says what could not be done, and no path.

    A class, because it stands around every append: a generator costs three times as much.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, disk.FolderRefused):
            raise StorageFailed(f"cannot {self._doing}: {error}") from error
        if isinstance(error, OSError):
            reason = os.strerror(error.errno).lower() if error.errno else "the disk refused"
            log.error("cannot %s: %s", self._doing, error)
            raise StorageFailed(f"cannot {self._doing}: {reason}") from error
        if isinstance(error, sqlite3.Error):
            log.error("cannot %s: %s", self._doing, error)
            raise StorageFailed(f"cannot {self._doing}: the index failed") from error

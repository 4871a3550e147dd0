"""Opens the session files of one folder, recovers damaged ones, and caches their two ends."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.document import Damaged, Document
from port42_daemon.store.session_file.errors import storage
from port42_daemon.store.session_file.salvage import recover
from port42_protocol.counting import count
from port42_protocol.errors import SessionDamaged, SessionNotFound
from port42_protocol.messages.records import Summary
from port42_protocol.messages.types import ID_PATTERN

T = TypeVar("T")
log = logging.getLogger(__name__)

_MAX_CACHED = 1024
_ID = re.compile(ID_PATTERN)


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A session as it was read or written last, and its file then: size, mtime_ns, inode.

    A file that differs was changed by another program, and is read again.
    """

    document: Document
    signature: tuple[int, int, int]


class OpenSessions:
    """Sessions by id. `on_change` is called with each that was read anew, under its lock.

    Raises `RpcError` only, and OSError from `open`.
    """

    def __init__(self, folder: Path, on_change: Callable[[Document, os.stat_result], None]) -> None:
        self.folder = folder
        self._on_change = on_change
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._known_lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def path(self, session_id: str) -> Path:
        """Where the session's file is or would be. Raises `SessionNotFound` for an invalid id."""
        return Path(self._file_name(session_id))

    def exists(self, session_id: str) -> bool:
        return _ID.fullmatch(session_id) is not None and self.path(session_id).exists()

    def lock(self, session_id: str) -> threading.Lock:
        """Held while the session's file is written or recovered."""
        with self._known_lock:
            return self._locks.setdefault(session_id, threading.Lock())

    def remembered(self, session_id: str) -> Summary | None:
        """The summary, if it is in memory and the file unchanged: one stat, 2 µs, fit for the event loop."""
        known = self._known.get(session_id)
        if known is None:
            return None
        try:
            status = os.stat(self._file_name(session_id))  # noqa: PTH116  # pathlib costs more than the call
        except OSError:
            return None
        return known.document.summary if known.signature == _signature(status) else None

    def last_use(self, session_id: str) -> int:
        """The number of the session's last use, from memory where it is cached."""
        known = self._known.get(session_id)
        whole = known.document if known else self.reading(session_id, lambda _, whole: whole)
        return whole.footer.use

    def reading(self, session_id: str, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session's descriptor and document; again after a recovery.

        Without the lock where cache and file agree: an append writes only behind what a reader looks at.
        """
        with storage(f"read session {session_id}"):
            known = self._known.get(session_id)
            if known is not None:
                descriptor = self._open(session_id, os.O_RDONLY)
                try:
                    if known.signature == _signature(os.fstat(descriptor)):
                        return action(descriptor, known.document)
                except Damaged:
                    pass  # recovered under the lock
                finally:
                    os.close(descriptor)
            with self.lock(session_id):
                return self._locked(session_id, action, cached=True)

    def passing(self, session_id: str, action: Callable[[int, Document], T], *, recover: bool = True) -> T:
        """As `reading`, under the lock and not cached: a start reads ten thousand files.

        Without `recover`, raises `Damaged`.
        """
        with self.lock(session_id), storage(f"read session {session_id}"):
            if recover:
                return self._locked(session_id, action, cached=False)
            descriptor, document = self._opened(session_id, os.O_RDONLY, cached=False)
            try:
                return action(descriptor, document)
            finally:
                os.close(descriptor)

    def _locked(self, session_id: str, action: Callable[[int, Document], T], *, cached: bool) -> T:
        for _ in range(3):  # the ends can be damaged, and then what is between them
            descriptor, document = self.open(session_id, os.O_RDONLY, cached=cached)
            try:
                return action(descriptor, document)
            except Damaged as damage:
                self._recover(session_id, damage)
            finally:
                os.close(descriptor)
        raise SessionDamaged(session_id, "another program changes it")

    def open(self, session_id: str, flags: int, *, cached: bool = True) -> tuple[int, Document]:
        """The session's file, recovered if need be, which the caller closes. Its lock is held."""
        try:
            return self._opened(session_id, flags, cached=cached)
        except Damaged as damage:
            self._recover(session_id, damage)
        try:
            return self._opened(session_id, flags, cached=cached)
        except Damaged as damage:
            raise SessionDamaged(session_id, str(damage)) from None

    def remember(self, document: Document, status: os.stat_result) -> None:
        session_id = document.header.id
        with self._known_lock:
            self._known[session_id] = _Known(document, _signature(status))
            self._known.move_to_end(session_id)
            if len(self._known) > _MAX_CACHED:
                self._known.popitem(last=False)

    def forget(self, session_id: str) -> None:
        with self._known_lock:
            self._known.pop(session_id, None)

    def scan(self) -> Iterator[tuple[str, int, int]]:
        """Every session's id, and its file's size and mtime_ns. Raises OSError."""
        for session_id in self.names():
            try:
                status = os.lstat(self._file_name(session_id))
            except FileNotFoundError:
                continue  # gone meanwhile
            yield session_id, status.st_size, status.st_mtime_ns

    def names(self) -> Iterator[str]:
        """Every session's id. Raises OSError."""
        for name in os.listdir(self.folder):  # noqa: PTH208  # ten thousand paths cost more than the call
            if name.endswith(".json") and _ID.fullmatch(name[:-5]):
                yield name[:-5]

    def signature(self, session_id: str) -> tuple[int, int] | None:
        """The size and mtime_ns of the session's file, None where there is none."""
        try:
            status = os.lstat(self._file_name(session_id))
        except (OSError, SessionNotFound):
            return None
        return status.st_size, status.st_mtime_ns

    # --- inside -----------------------------------------------------------------------------------

    def _file_name(self, session_id: str) -> str:
        if not _ID.fullmatch(session_id):
            raise SessionNotFound(session_id[:64])  # one that a file said: the codec has checked others
        return f"{self.folder}/{session_id}.json"

    def _opened(self, session_id: str, flags: int, *, cached: bool) -> tuple[int, Document]:
        descriptor = self._open(session_id, flags)
        try:
            status = os.fstat(descriptor)
            known = self._known.get(session_id)
            if known is not None and known.signature == _signature(status):
                return descriptor, known.document
            document = load(session_id, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if cached:
            self.remember(document, status)
            self._on_change(document, status)
        return descriptor, document

    def _open(self, session_id: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in the folder must not block
        try:
            return os.open(self._file_name(session_id), flags)
        except FileNotFoundError:
            self.forget(session_id)
            raise SessionNotFound(session_id) from None

    def _recover(self, session_id: str, damage: Damaged) -> None:
        self.forget(session_id)
        try:
            kept, lost, original = recover(self.path(session_id), session_id)
        except Damaged:
            raise SessionDamaged(session_id, str(damage)) from None
        log.warning(
            "⚠ %s was damaged (%s): %s kept, %d lost, the original is %s",
            *(session_id, damage, count(kept, "message"), lost, original.name),
        )


def reader(descriptor: int) -> document.Read:
    return lambda offset, length: os.pread(descriptor, length, offset)


def load(session_id: str, descriptor: int) -> Document:
    """The open file's document, if it is that session's. Raises `Damaged`, `SessionNotFound`."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Damaged("it is not a file")
    session = document.load(reader(descriptor), status.st_size)
    # A file under another's name, or, where the file system folds case, another's file.
    if session.header.id != session_id:
        raise SessionNotFound(session_id)
    return session


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino

"""The session files of one folder: opened, made whole where damaged, remembered as they were last seen.

Whoever works on a session gets its descriptor and its `Document`; memory and file are compared by
size, time and inode, so a file that a hand or a program changed is read anew.
"""

from __future__ import annotations

import logging
import os
import re
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
from port42_protocol.errors import SessionDamaged, SessionNotFound
from port42_protocol.messages.records import Summary

T = TypeVar("T")
Noted = Callable[[Document, os.stat_result], None]
log = logging.getLogger(__name__)

_REMEMBERED = 1024
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A session as it was read or written last, and the file it then was."""

    document: Document
    signature: tuple[int, int, int]


class OpenSessions:
    """Sessions by id. `found` is told of each that was read anew and so may be news to others.

    `RpcError` and, in `held`, OSError are the only exceptions that leave.
    """

    def __init__(self, folder: Path, found: Noted) -> None:
        self.folder = folder
        self._found = found
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._known_lock = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def path(self, session_id: str) -> Path:
        """Where the session's file is, or would be. Raises `SessionNotFound` for what is no id."""
        return Path(self._place(session_id))

    def exists(self, session_id: str) -> bool:
        """Whether there is a file of that id."""
        return _ID.fullmatch(session_id) is not None and self.path(session_id).exists()

    def lock(self, session_id: str) -> threading.Lock:
        """Held by whoever writes the session's file, or makes it whole."""
        with self._known_lock:
            return self._locks.setdefault(session_id, threading.Lock())

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

    def document(self, session_id: str) -> Document:
        """The session's two ends."""
        return self.reading(session_id, lambda _, whole: whole)

    def reading(self, session_id: str, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session, without its lock where memory and file agree.

        An append writes only behind what a reader looks at, so it need not wait for one.
        """
        with storage(f"read session {session_id}"):
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
            with self.lock(session_id):
                return self.held(session_id, os.O_RDONLY, action)

    def held(self, session_id: str, flags: int, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session, made whole first if need be. Its lock is held."""
        return self._mending(session_id, flags, action, self._current)

    def open(self, session_id: str, flags: int) -> tuple[int, Document]:
        """The session's file, which the caller closes, made whole first if need be. Its lock is held."""
        descriptor = self._open(session_id, flags)
        try:
            return descriptor, self._current(session_id, descriptor)
        except Damaged as damage:
            os.close(descriptor)
            self._recover(session_id, damage)
        except BaseException:
            os.close(descriptor)
            raise
        descriptor = self._open(session_id, flags)
        try:
            return descriptor, self._current(session_id, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def passing(self, session_id: str, action: Callable[[int, Document], T]) -> T:
        """As `reading`, but not remembered: a start that reads ten thousand files must not keep them."""
        with self.lock(session_id), storage(f"read session {session_id}"):
            return self._mending(session_id, os.O_RDONLY, action, load)

    def remember(self, whole: Document, found: os.stat_result) -> None:
        """The session is `whole` now, and its file is the one that `found` tells of."""
        session_id = whole.header.id
        with self._known_lock:
            self._known[session_id] = _Known(whole, _signature(found))
            self._known.move_to_end(session_id)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Look at the file again the next time."""
        with self._known_lock:
            self._known.pop(session_id, None)

    def scan(self) -> Iterator[tuple[str, int, int]]:
        """Every session's id, and its file's size and mtime_ns. Raises OSError."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                session_id = entry.name.removesuffix(".json")
                if entry.name.endswith(".json") and _ID.fullmatch(session_id):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone meanwhile
                    yield session_id, status.st_size, status.st_mtime_ns

    def names(self) -> Iterator[str]:
        """Every session's id, without a look at its file. Raises OSError."""
        for name in os.listdir(self.folder):  # noqa: PTH208  # ten thousand paths cost more than the call
            if name.endswith(".json") and _ID.fullmatch(name[:-5]):
                yield name[:-5]

    def signature(self, session_id: str) -> tuple[int, int] | None:
        """The size and mtime_ns of the session's file, None where there is none."""
        try:
            found = os.lstat(self._place(session_id))  # as above
        except (OSError, SessionNotFound):
            return None
        return found.st_size, found.st_mtime_ns

    # --- inside -----------------------------------------------------------------------------------

    def _place(self, session_id: str) -> str:
        # The codec has checked what came over the wire; this is for what came from a file.
        if not _ID.fullmatch(session_id):
            raise SessionNotFound(session_id[:64])
        return f"{self.folder}/{session_id}.json"

    def _mending(
        self,
        session_id: str,
        flags: int,
        action: Callable[[int, Document], T],
        look: Callable[[str, int], Document],
    ) -> T:
        try:
            return self._opened(session_id, flags, action, look)
        except Damaged as damage:
            self._recover(session_id, damage)
        return self._opened(session_id, flags, action, look)

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
            self.forget(session_id)
            raise SessionNotFound(session_id) from None

    def _current(self, session_id: str, descriptor: int) -> Document:
        found = os.fstat(descriptor)
        known = self._known.get(session_id)
        if known is not None and known.signature == _signature(found):
            return known.document
        whole = load(session_id, descriptor)
        self.remember(whole, found)
        self._found(whole, found)
        return whole

    def _recover(self, session_id: str, damage: Damaged) -> None:
        self.forget(session_id)
        try:
            kept, lost, original = recover(self.path(session_id))
        except Damaged:
            raise SessionDamaged(session_id, str(damage)) from None
        log.warning(
            "⚠ %s was damaged (%s): %d messages kept, %d lines lost, the original is %s",
            *(session_id, damage, kept, lost, original.name),
        )


def reader(descriptor: int) -> document.Read:
    """How `document` reads the open file."""
    return lambda offset, length: os.pread(descriptor, length, offset)


def load(session_id: str, descriptor: int) -> Document:
    """The open file's document, if it is that session's. Raises `Damaged`, `SessionNotFound`."""
    whole = document.load(reader(descriptor), os.fstat(descriptor).st_size)
    # A file under another's name, or, where the file system folds case, another's file.
    if whole.header.id != session_id:
        raise SessionNotFound(session_id)
    return whole


def _signature(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino

"""One daemon for each home: an flock, which, unlike a pid file, cannot become stale."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec

from port42_daemon import durable
from port42_protocol import paths

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.02
_MAX_ADDRESS_BYTES = 64 * 1024
_GONE = (FileNotFoundError, NotADirectoryError)


class CannotStart(Exception):
    """The daemon cannot start; the message is for the user."""


class HomeLock:
    """The flock on a home's `daemon.lock`, held while the block of its `with` runs."""

    def __init__(self, home: Path, wait: float) -> None:
        """`wait`: seconds to wait for the lock of a stopping daemon."""
        self._home = home
        self._path = paths.lock_file(home)
        self._wait = wait
        self._descriptor = -1
        self._home_status: os.stat_result

    def __enter__(self) -> HomeLock:
        """Raises `CannotStart`, with the pid of a daemon that runs."""
        try:
            if paths.is_shared(self._home):
                raise CannotStart(
                    f"{self._home} cannot be Port42's home, which is closed to others: others need"
                    " that folder; PORT42_HOME names one of its own"
                )
            durable.own_folder(self._home)
            # Its lock may be gone with the file while it runs; connecting makes it lock its home anew.
            if not os.path.lexists(self._path) and (pid := _running(self._home)):
                raise CannotStart(f"port42d is already running (pid {pid})")
            self._descriptor = self._open()
            self._home_status = self._home.stat()
        except OSError as error:
            raise CannotStart(f"cannot use {error.filename or self._home}: {reason(error)}") from None
        try:
            self._lock()
        except CannotStart:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def is_held(self) -> bool:
        """Whether the home at its path is still the one that is locked. Costs two stats.

        A lock file that was removed is made and locked anew. False: the home was moved or removed, or another
        daemon has it, so nothing may be written at its path any more.
        """
        try:
            with contextlib.suppress(*_GONE):
                if os.path.samestat(self._path.stat(), os.fstat(self._descriptor)):
                    return True
            return os.path.samestat(self._home.stat(), self._home_status) and self._lock_anew()
        except _GONE:
            return False
        except OSError:
            return True  # an I/O error, no free descriptor or a full disk: the home did not change by that

    def _lock_anew(self) -> bool:
        """Whether no other process holds the lock of the current file. Raises OSError."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        log.warning("⚠ daemon.lock had been removed: locked again")
        return True

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        return os.open(self._path, flags, durable.OWN_FILE)

    def _lock(self) -> None:
        until = time.monotonic() + self._wait
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                # Retried: a daemon that is just starting answers a moment later.
                if pid := _running(self._home):
                    raise CannotStart(f"port42d is already running (pid {pid})") from None
                if time.monotonic() > until:
                    raise CannotStart(f"another port42d holds {self._home} and does not answer") from None
                time.sleep(_RETRY_SECONDS)  # flock(2) has no time-out


def published(home: Path) -> dict[str, Any]:
    """The contents of `daemon.json`; empty if it is invalid."""
    try:
        return msgspec.json.decode(durable.read_file(paths.address_file(home), _MAX_ADDRESS_BYTES), type=dict)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _running(home: Path) -> int | None:
    """The pid of the daemon that serves `home`, if it answers."""
    content = published(home)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(content["socket"])
        return int(content["pid"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def reason(error: OSError) -> str:
    if isinstance(error, durable.FolderRefused) or error.errno is None:
        return str(error)
    return os.strerror(error.errno).lower() + (" (is it read-only?)" if error.errno == errno.EROFS else "")

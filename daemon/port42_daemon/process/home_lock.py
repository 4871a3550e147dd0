"""How the daemon comes to own its home and its address, and how it gives them back.

The lock comes first: a flock is the kernel's, so there is no pid file to go stale, and whatever is
done under it (unlinking a dead daemon's socket, say) nobody else is doing at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import msgspec

from port42_daemon import durable
from port42_daemon.settings import Settings
from port42_protocol import PROTOCOL_VERSION, paths
from port42_protocol.version import __version__

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.1
"""Seconds between two looks at whoever holds the lock."""


MAX_NOTE = 64 * 1024
"""Bytes of ``daemon.json`` that are read."""


class CannotStart(Exception):
    """Why there can be no daemon here; the text is for the person who started it."""


@contextlib.contextmanager
def home_locked(home: Path, wait: float) -> Iterator[None]:
    """Hold `home` for as long as the block runs. Raises `CannotStart`.

    A lock that is held means a daemon that runs, which is named, or one on its way out, which is
    waited for, `wait` seconds at the most.
    """
    try:
        durable.own_folder(home)
        descriptor = os.open(
            paths.lock_file(home),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW,
            0o600,
        )
    except OSError as error:
        raise CannotStart(f"cannot use {home}: {_reason(error)}") from None
    try:
        _lock(descriptor, home, wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path, wait: float) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        until = time.monotonic() + wait
        while not _locked_within(descriptor, _LOOK_AGAIN):
            # Looked at again and again: a rival that has just begun answers a moment later.
            if pid := _running(home):
                raise CannotStart(f"port42d is already running (pid {pid})") from None
            if time.monotonic() > until:
                raise CannotStart(f"another port42d holds {home} and does not answer") from None


def _locked_within(descriptor: int, seconds: float) -> bool:
    try:
        with _alarm(seconds):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except TimeoutError:
        return False
    return True


def _running(home: Path) -> int | None:
    """The pid of the daemon that answers for `home`, if one does."""
    try:
        published = msgspec.json.decode(durable.read_file(paths.address_file(home), MAX_NOTE))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(published["socket"])
        return int(published["pid"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block once time is up: flock(2) itself knows no time-out."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def address(settings: Settings, given: socket.socket | None = None) -> Iterator[socket.socket]:
    """A bound socket at `settings.socket`, 0600 in a folder that is ours alone. Raises `CannotStart`.

    One that was `given` (`inherited`) is bound there already, and stays when we go. Of the others only
    our own inode is unlinked at the end. The home's lock is held by the caller.
    """
    path, home = settings.socket, settings.home
    length = len(os.fsencode(path))
    if length > paths.SOCKET_PATH_LIMIT:
        raise CannotStart(
            f"the socket path has {length} bytes, {paths.SOCKET_PATH_LIMIT} is the most: {path}"
        )
    try:
        _check_folder(path.parent)
        if given is None:
            _clear_stale(path)
            listener, bound = _bind(path)
        else:
            listener, bound = given, None
        listener.setblocking(False)
    except OSError as error:
        raise CannotStart(f"cannot listen at {path}: {_reason(error)}") from None
    _publish(settings)
    try:
        yield listener
    finally:
        with contextlib.suppress(FileNotFoundError):
            if bound is not None and _inode(path) == bound:
                path.unlink()
        paths.address_file(home).unlink(missing_ok=True)


def _publish(settings: Settings) -> None:
    """Write `daemon.json`, for clients with another runtime folder than ours, or of another version."""
    published = {
        "pid": os.getpid(),
        "socket": str(settings.socket),
        "version": __version__,
        "protocol_version": PROTOCOL_VERSION,
        "started_by": settings.started_by,
    }
    try:
        durable.replace(paths.address_file(settings.home), msgspec.json.encode(published))
    except OSError as error:
        # Most clients never need it; a full disk must not keep the sessions from being read.
        log.warning("⚠ daemon.json could not be written: %s", error)


def _check_folder(folder: Path) -> None:
    folder.mkdir(mode=durable.OWN_FOLDER, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise CannotStart(f"the socket's folder {folder} belongs to another user (uid {status.st_uid})")
    if mode := stat.S_IMODE(status.st_mode) & 0o077:
        raise CannotStart(
            f"the socket's folder {folder} is open to others (mode {stat.S_IMODE(status.st_mode):04o},"
            f" {mode:03o} too much): chmod 700 it, or name another with PORT42_SOCKET"
        )


def _clear_stale(path: Path) -> None:
    """Unlink what a dead daemon left; never a file, never a socket that somebody answers at."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise CannotStart(f"{path} is there already and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            log.info("🧹 a socket that nobody listened at was removed")
        else:
            raise CannotStart(f"another program listens at {path}")


def _bind(path: Path) -> tuple[socket.socket, tuple[int, int]]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener, _inode(path)


def _inode(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    if isinstance(error, durable.FolderRefused) or error.errno is None:
        return str(error)
    return os.strerror(error.errno).lower() + (" (is it read-only?)" if error.errno == errno.EROFS else "")

"""The daemon's sockets, in a folder that belongs to this user, and `daemon.json`, which names the first."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import time
from pathlib import Path

from port42_daemon import durable
from port42_daemon.process.home_lock import CannotStart, published, reason
from port42_daemon.settings import Settings
from port42_protocol import PROTOCOL_VERSION, __version__, paths
from port42_protocol.encoding import encode
from port42_protocol.errors import ShuttingDown

log = logging.getLogger(__name__)

_ANSWERS_WITHIN, _STOPS_WITHIN = 0.5, 10.0
"""Seconds that a stopping daemon takes to answer clients that connect, and to end."""
_RETRY_SECONDS = 0.1


class Bound:
    """A socket, mode 0600, bound at a path. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self.listener.bind(str(path))
        except OSError:
            self.listener.close()
            raise
        finally:
            os.umask(before)
        self._status = path.lstat()
        self.listener.setblocking(False)

    def unlink(self) -> None:
        """Remove the path, unless another socket is there by now."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self.path.lstat(), self._status):
                self.path.unlink()


class Address:
    """A bound socket at `settings.socket`, and one for reading beside it, while the block of its `with` runs.

    One that was `given` (see `socket_activation`) is bound there already and stays afterwards. The caller
    holds the home's lock. Where the socket for reading cannot be bound there is none: `reader` is None.
    """

    def __init__(self, settings: Settings, given: socket.socket | None = None) -> None:
        self._settings = settings
        self._path = settings.socket
        self._read_path = Path(paths.read_socket(str(settings.socket)))
        self._given = given
        self._bound: Bound | None = None
        self.listener: socket.socket
        self.reader: Bound | None = None

    def __enter__(self) -> Address:
        """Raises `CannotStart`."""
        try:
            _check_length(self._path)
            _check_folder(self._path.parent)
            if self._given is None:
                _clear_stale(self._path)
                self._bind()
            else:
                self.listener = self._given
                self.listener.setblocking(False)
        except OSError as error:
            raise CannotStart(f"cannot listen at {self._path}: {reason(error)}") from None
        self._bind_reader()
        self._publish()
        return self

    def __exit__(self, *_: object) -> None:
        for bound in (self._bound, self.reader):
            if bound is not None:
                bound.unlink()
        # May be another daemon's, if the home was moved and created again meanwhile.
        if published(self._settings.home).get("pid") == os.getpid():
            paths.address_file(self._settings.home).unlink(missing_ok=True)

    def rebind(self) -> bool:
        """Bind a new listener if the path was removed; returns whether it was. Raises OSError."""
        if self._given is not None or os.path.lexists(self._path):
            return False
        _check_folder(self._path.parent)
        self._bind()
        self._publish()
        log.warning("⚠ the socket's path was gone: bound again at %s", self._path)
        return True

    def rebind_reader(self) -> bool:
        """As `rebind`, for the socket for reading; without an error."""
        if os.path.lexists(self._read_path):
            return False
        self._bind_reader()
        return self.reader is not None

    def _bind(self) -> None:
        self._bound = Bound(self._path)
        self.listener = self._bound.listener

    def _bind_reader(self) -> None:
        self.reader = None
        try:
            _check_length(self._read_path)
            _check_folder(self._read_path.parent)
            _clear_stale(self._read_path)
            self.reader = Bound(self._read_path)
        except (CannotStart, OSError) as error:
            # Whoever writes needs the other one only.
            why = reason(error) if isinstance(error, OSError) else error
            log.warning("⚠ no socket for reading: %s", why)

    def _publish(self) -> None:
        """Write `daemon.json`, for clients with another runtime folder than ours, or of another version."""
        content = {
            "pid": os.getpid(),
            "socket": str(self._path),
            "version": __version__,
            "protocol_version": PROTOCOL_VERSION,
            "started_by": self._settings.started_by,
        }
        try:
            durable.replace(paths.address_file(self._settings.home), encode(content))
        except OSError as error:
            # Most clients never need it; a full disk must not keep the sessions from being read.
            log.warning("⚠ daemon.json could not be written: %s", error)


def _check_length(path: Path) -> None:
    length, limit = len(os.fsencode(path)), paths.SOCKET_PATH_LIMIT
    if length > limit:
        raise CannotStart(f"the socket path has {length} bytes, {limit} is the most: {path}")


def _check_folder(folder: Path) -> None:
    folder.mkdir(mode=durable.OWN_FOLDER, parents=True, exist_ok=True)
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise CannotStart(f"the socket's folder {folder} belongs to another user (uid {status.st_uid})")
    if mode & 0o077:
        raise CannotStart(
            f"the socket's folder {folder} is open to others (mode {mode:04o}, {mode & 0o077:03o} too much):"
            " chmod 700 it, or name another with PORT42_SOCKET"
        )


def _clear_stale(path: Path) -> None:
    """Unlink the socket of a dead daemon; wait for one that is stopping because its home was moved."""
    until = time.monotonic() + _STOPS_WITHIN
    while True:
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise CannotStart(f"{path} exists and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                log.info("🧹 removed the socket of a dead daemon")
                return
            if time.monotonic() > until or not _is_stopping(probe):
                raise CannotStart(f"another program listens at {path}")
        time.sleep(_RETRY_SECONDS)


def _is_stopping(connection: socket.socket) -> bool:
    """Whether the daemon answers that it is stopping, or closes the connection at once."""
    connection.settimeout(_ANSWERS_WITHIN)
    try:
        answer = connection.recv(4096)
    except TimeoutError:
        return False
    except OSError:
        return True
    return not answer or f'"code":{ShuttingDown.code}'.encode() in answer

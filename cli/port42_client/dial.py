"""Connects to a daemon that runs as this user, and to no other process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from port42_client.errors import NoDaemon
from port42_client.silence import HANGS, PATIENCE, SLOW
from port42_protocol import paths


def dial(path: str, notice: Callable[[str], None] = lambda _: None) -> socket.socket:
    """A connection to the daemon at `path`, which must run as our own user.

    Raises OSError when no process listens there, `NoDaemon` when another user's does, or when the daemon has
    not accepted the connection for `PATIENCE` seconds.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        try:
            connection.connect(path)
        except BlockingIOError:
            _connect_slowly(connection, path, notice)
        connection.setblocking(True)
        if (uid := _peer_uid(connection)) != os.geteuid():
            raise NoDaemon(f"what listens at {path} runs as uid {uid}, not as you; nothing was sent")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_slowly(connection: socket.socket, path: str, notice: Callable[[str], None]) -> None:
    """Connect although the daemon's queue of connections is full. Linux waits as long as SO_SNDTIMEO says."""
    import struct

    connection.setblocking(True)
    for seconds in (SLOW, PATIENCE - SLOW):
        timeout = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        try:
            connection.connect(path)
        except BlockingIOError:
            if seconds == SLOW:
                notice("Waiting for port42d, which accepts no connections.")
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 0))
            return
    raise NoDaemon(f"the daemon at {path} accepted no connection within {PATIENCE:.0f} s", *HANGS)


def _peer_uid(connection: socket.socket) -> int:
    """The uid that the kernel noted for the other side; `port42_daemon.process.peer` has the sources."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        credentials = connection.getsockopt(0, 1, 76)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def short_enough(address: str) -> str:
    length = len(os.fsencode(address))
    if length > paths.SOCKET_PATH_LIMIT:
        raise NoDaemon(
            f"the socket path has {length} bytes and may have at most {paths.SOCKET_PATH_LIMIT}:"
            f" {address}; --socket PATH or PORT42_SOCKET can name a shorter one"
        )
    return address

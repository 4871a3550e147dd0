"""The connection to a daemon that runs as our own user, and to nobody else."""

from __future__ import annotations

import os
import socket
import sys

from port42_client.errors import NoDaemon


def dial(path: str) -> socket.socket:
    """A connection to the daemon at `path`, which must run as our own user.

    Raises OSError when nobody listens there, `NoDaemon` when somebody else does. The connection
    has no time-out while connecting: with one, Linux refuses at once when the queue is full.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
        if (uid := _peer_uid(connection)) != os.geteuid():
            raise NoDaemon(f"what listens at {path} runs as uid {uid}, not as you; nothing was sent")
    except BaseException:
        connection.close()
        raise
    return connection


def _peer_uid(connection: socket.socket) -> int:
    """The uid the kernel noted for the other side."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        # macOS, sys/un.h: SOL_LOCAL is 0, LOCAL_PEERCRED 1; struct xucred has 76 bytes.
        credentials = connection.getsockopt(0, 1, 76)
    # The second 32-bit number is the uid in Linux's ucred (pid, uid, gid) and macOS's xucred
    # (version, uid, …).
    return int.from_bytes(credentials[4:8], sys.byteorder)

"""Credentials of the peer of a Unix socket, as the kernel recorded them at connect.

Linux: unix(7), SO_PEERCRED, ``struct ucred`` of pid, uid and gid. macOS: sys/un.h, level SOL_LOCAL (0) with
LOCAL_PEERCRED (1), ``struct xucred`` of 76 bytes that begins with version and uid, and LOCAL_PEERPID (2).
"""

from __future__ import annotations

import socket
import sys


def uid(connection: socket.socket) -> int:
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        credentials = connection.getsockopt(0, 1, 76)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def pid(connection: socket.socket) -> int:
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    else:
        credentials = connection.getsockopt(0, 2, 4)
    return int.from_bytes(credentials[:4], sys.byteorder)

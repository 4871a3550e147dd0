"""Socket activation: the listening socket that systemd or launchd passes to the daemon, and keeps."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import MutableMapping
from typing import Any

from port42_daemon.process.home_lock import CannotStart

NAME = "rpc"
"""The socket's name in `port42.socket` (FileDescriptorName=) and in launchd's Sockets."""
_SD_LISTEN_FDS_START = 3


def listener(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The socket that was handed to this process, if any; child processes do not inherit it.

    Removes systemd's variables from `environ`. Raises `CannotStart` where it is not a listening Unix stream
    socket named ``rpc``.
    """
    given = _from_systemd(environ)
    if given is None and sys.platform == "darwin":
        import ctypes

        given = from_launchd(ctypes.CDLL(None))
    if given is not None:
        try:
            _check(given)
        except CannotStart:
            given.close()
            raise
    return given


def _from_systemd(environ: MutableMapping[str, str]) -> socket.socket | None:
    """sd_listen_fds_with_names(3)."""
    pid, count, names = (environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return None  # they were meant for a parent process, whose descriptors we do not have
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        raise CannotStart(f"LISTEN_FDS: expected a number of sockets, got {count!r}")
    descriptors = range(_SD_LISTEN_FDS_START, _SD_LISTEN_FDS_START + int(count))
    for descriptor in descriptors:
        try:
            os.set_inheritable(descriptor, False)
        except OSError as error:
            raise CannotStart(f"LISTEN_FDS: descriptor {descriptor}: {error.strerror}") from None
    named = dict(zip(names.split(":"), descriptors, strict=False))
    if descriptors and NAME not in named:
        raise CannotStart(f"LISTEN_FDNAMES: expected a socket named {NAME}, got {names!r}")
    return socket.socket(fileno=named[NAME]) if descriptors else None


def from_launchd(libc: Any) -> socket.socket | None:
    """launch_activate_socket(3) of `libc`; None where launchd did not start us. Raises `CannotStart`."""
    import ctypes  # here: no other system needs it, and not every Python has it

    descriptors, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    failed = libc.launch_activate_socket(NAME.encode(), ctypes.byref(descriptors), ctypes.byref(count))
    if failed == errno.ESRCH:
        return None
    if failed:
        raise CannotStart(f"launchd has no socket named {NAME} for us: {os.strerror(failed).lower()}")
    try:
        given = [descriptors[number] for number in range(count.value)]
    finally:
        libc.free(descriptors)
    for descriptor in given:
        os.set_inheritable(descriptor, False)
    if len(given) != 1:
        raise CannotStart(f"launchd: expected one socket named {NAME}, got {len(given)}")
    return socket.socket(fileno=given[0])


def _check(given: socket.socket) -> None:
    if given.family != socket.AF_UNIX or given.type != socket.SOCK_STREAM:
        raise CannotStart("the socket handed over: expected a Unix stream socket (ListenStream=/…)")
    if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise CannotStart("the socket handed over does not listen (Accept=no is needed)")
    named = os.fsencode(given.getsockname())
    if not named.startswith(b"/"):
        raise CannotStart("the socket handed over: expected one with a path, in a folder of this user")

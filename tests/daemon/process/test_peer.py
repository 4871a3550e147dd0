"""Uid and pid of the process at the other end of a socket."""

import os
import socket

from port42_daemon.process import peer


def test_the_credentials_of_a_peer() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert (peer.uid(left), peer.pid(right)) == (os.geteuid(), os.getpid())

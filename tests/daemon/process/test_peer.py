"""The kernel's word on who is at the other end of a socket."""

import os
import socket

from port42_daemon.process import peer


def test_the_kernel_says_who_a_peer_is() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert (peer.uid(one), peer.pid(other)) == (os.geteuid(), os.getpid())

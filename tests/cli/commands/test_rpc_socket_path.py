"""`port42 socket-path`: where the daemon is, for other tools, without starting it."""

from __future__ import annotations

import json
import os
import subprocess


def test_nothing_is_started_to_say_where_it_would_be(port42, home):
    done = port42("socket-path")
    assert (done.returncode, done.stdout) == (0, os.environ["PORT42_SOCKET"] + "\n")
    assert not home.exists()


def test_a_daemon_elsewhere_is_where_it_is(start_daemon, port42, home):
    start_daemon(socket=home.parent / "elsewhere.sock")
    assert port42("socket-path").stdout == f"{home.parent / 'elsewhere.sock'}\n"


def test_the_socket_for_reading_is_beside_it(start_daemon, port42, home):
    daemon = start_daemon(socket=home.parent / "elsewhere.sock")
    path = port42("socket-path", "--read").stdout.rstrip("\n")
    assert path == str(home.parent / "elsewhere-read.sock")
    assert daemon.call("status")["read_socket"] == path


def test_the_path_is_good_for_other_tools(daemon, port42):
    path = port42("socket-path").stdout.strip()
    request = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'
    answer = subprocess.check_output(["python3", "-c", _ASK, path], input=request)
    assert json.loads(answer)["result"]["pid"] == daemon.pid


_ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(sys.stdin.buffer.read())
print(peer.makefile().readline())
"""

"""A socket that is handed over: used, not inherited by children, and refused if it is a wrong one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from peers.capturing import eventually
from peers.processes import Child

from port42_client.daemon import Daemon
from port42_daemon.process import socket_activation
from port42_daemon.process.home_lock import CannotStart

# Hands descriptor 3 (and more) to port42d the way systemd does: same process, variables set before exec.
HAND_OVER = """
import fcntl, os, sys
names, descriptors = sys.argv[1], [int(one) for one in sys.argv[2].split(",") if one]
kept = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 100) for one in descriptors]
for one in descriptors:
    os.set_inheritable(one, False)
for place, one in enumerate(kept):
    os.dup2(one, 3 + place, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "port42_daemon"])
"""


@pytest.fixture
def hand_over(home, process):
    """Starts a daemon with these sockets."""
    started = []

    def start(*sockets: socket.socket, names: str = "rpc") -> Child:
        numbers = [given.fileno() for given in sockets]
        command = [sys.executable, "-c", HAND_OVER, names, ",".join(map(str, numbers))]
        started.append(process(command, pass_fds=numbers, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.terminate()
        child.communicate(timeout=20)


@pytest.fixture
def listening(home):
    """A socket as a unit makes it, at a path that the daemon would not choose."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = home.parent / "given.sock"
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        yield listener


def call(path: str, method: str, **params: object) -> dict:
    with socket.socket(socket.AF_UNIX) as peer, peer.makefile("rb") as lines:
        peer.settimeout(20)
        peer.connect(path)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        peer.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(lines.readline())["result"]


def test_the_daemon_serves_there_and_leaves_the_socket_for_the_next_one(hand_over, listening, home):
    path = listening.getsockname()
    first = hand_over(listening)
    session = call(path, "create_session", agent="a")["session_id"]
    assert call(path, "status")["socket"] == path
    assert json.loads((home / "daemon.json").read_bytes())["socket"] == path
    first.terminate()
    assert first.wait(20) == 0
    assert Path(path).is_socket()
    assert not (home / "daemon.json").exists()
    # No daemon runs, and no client is refused: the connection waits for the next daemon.
    with socket.socket(socket.AF_UNIX) as waiting, waiting.makefile("rb") as lines:
        waiting.connect(path)
        waiting.sendall(b'{"jsonrpc":"2.0","id":7,"method":"get_last_session","params":["a"]}\n')
        hand_over(listening)
        assert json.loads(lines.readline())["result"]["session_id"] == session


def test_the_socket_for_reading_is_the_daemons_own(hand_over, listening, home):
    path = listening.getsockname()
    daemon = hand_over(listening)
    reading = call(path, "status")["read_socket"]
    assert reading == str(home.parent / "given-read.sock")
    assert call(reading, "list_sessions")["sessions"] == []
    daemon.terminate()
    assert daemon.wait(20) == 0
    assert not Path(reading).exists()


def test_who_only_reads_waits_for_a_daemon_that_starts(hand_over, listening, home):
    """The first connection, which is to the unit's socket, is what starts the daemon."""
    daemon = Daemon(listening.getsockname(), {"PORT42_HOME": str(home), "PORT42_NO_AUTOSTART": "1"})
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(daemon.connect_for_reading)
        assert select.select([listening], [], [], 20)[0], "it waits in the queue"
        hand_over(listening)
        with connecting.result(20) as connection:
            assert connection.getpeername() == str(home.parent / "given-read.sock")


def test_children_do_not_inherit_it(hand_over, listening, home):
    if not Path("/proc/self/fd").exists():
        pytest.skip("only /proc tells what a process has open")
    look = ["sh", "-c", "ls -l /proc/$$/fd"]
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        f'[agents.look]\nbackend = "look"\n[backends.look]\ntype = "command"\ncommand = {json.dumps(look)}\n'
    )
    inode = f"socket:[{os.fstat(listening.fileno()).st_ino}]"
    hand_over(listening)
    seen = call(listening.getsockname(), "possess", agent="look", message="x")["reply"]
    assert "pipe:" in seen  # what it talks through
    assert inode not in seen


def test_the_socket_named_rpc_is_used(hand_over, listening, home):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(home.parent / "other"))
        other.listen()
        hand_over(other, listening, names="other:rpc")
        assert call(listening.getsockname(), "status")["socket"] == listening.getsockname()


def refused(process: Child) -> str:
    error = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    return error.removeprefix("port42d: ").strip()


def test_what_is_not_a_listening_unix_socket_with_a_path_is_refused(hand_over, listening, home):
    with contextlib.ExitStack() as stack:

        def made(family: int, kind: int, address: object) -> socket.socket:
            given = stack.enter_context(socket.socket(family, kind))
            given.bind(address)
            return given

        internet = made(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        internet.listen()
        datagrams = made(socket.AF_UNIX, socket.SOCK_DGRAM, str(home.parent / "datagrams"))
        silent = made(socket.AF_UNIX, socket.SOCK_STREAM, str(home.parent / "silent"))
        cases = {
            "expected a Unix stream socket": [hand_over(internet), hand_over(datagrams)],
            "does not listen": [hand_over(silent)],
            "LISTEN_FDNAMES: expected a socket named rpc, got 'http'": [hand_over(listening, names="http")],
        }
        if sys.platform == "linux":
            abstract = made(socket.AF_UNIX, socket.SOCK_STREAM, f"\0port42-{os.getpid()}")
            abstract.listen()
            cases["expected one with a path"] = [hand_over(abstract)]
        for why, processes in cases.items():
            for process in processes:
                assert why in refused(process)
    assert not home.exists()


def test_a_folder_that_is_open_to_others_is_refused(hand_over, listening, home):
    home.parent.chmod(0o755)
    assert "is open to others" in refused(hand_over(listening))
    assert Path(listening.getsockname()).is_socket()


def test_descriptors_for_another_process_are_not_touched():
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "rpc", "HOME": "/"}
    assert socket_activation.listener(environ) is None
    assert environ == {"HOME": "/"}
    assert socket_activation.listener({}) is None


@pytest.mark.parametrize("count", ["", "x", "-1", "²", "99999999999"])
def test_an_invalid_count(count):
    with pytest.raises(CannotStart, match="LISTEN_FDS: expected a number"):
        socket_activation.listener(
            {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": "rpc"}
        )


def test_a_count_of_zero():
    assert socket_activation.listener({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}) is None


def is_listened_at(path: str) -> bool:
    """Whether somebody does, once the socket is there: unix(7), and SO_ACCEPTCON of the kernel's net.h."""
    rows = Path("/proc/net/unix").read_text().splitlines()[1:]
    return any(row.endswith(f" {path}") and row.split()[3] == "00010000" for row in rows)


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="there is no systemd here")
def test_systemds_own_activator_starts_it_at_the_first_connection(home, process):
    path = str(home.parent / "S")
    command = ["systemd-socket-activate", "-l", path, "--fdname=rpc"]
    command += [f"--setenv={name}={os.environ[name]}" for name in ("PORT42_HOME", "PORT42_TEST_RUN")]
    command += [sys.executable, "-m", "port42_daemon"]
    daemon = process(command, stderr=subprocess.PIPE, text=True)
    eventually(lambda: is_listened_at(path))  # it says so on stderr, in words that change
    assert not home.exists()
    assert call(path, "status")["socket"] == path
    daemon.terminate()
    error = daemon.communicate(timeout=20)[1]
    assert daemon.returncode == 0, error
    assert Path(path).is_socket()


# --- launchd: the calls as its manual page has them, on a libc that is not Apple's --------------------


class Libc:
    """launch_activate_socket(3) with real memory behind its pointers."""

    def __init__(self, *descriptors: int, fails: int = 0) -> None:
        self._array = (ctypes.c_int * max(len(descriptors), 1))(*descriptors)
        self._count, self._fails = len(descriptors), fails
        self.names: list[bytes] = []
        self.freed: list[int] = []

    def launch_activate_socket(self, name: bytes, descriptors, count) -> int:
        self.names.append(name)
        if not self._fails:
            into = ctypes.cast(descriptors, ctypes.POINTER(ctypes.POINTER(ctypes.c_int)))
            into[0] = ctypes.cast(self._array, ctypes.POINTER(ctypes.c_int))
            ctypes.cast(count, ctypes.POINTER(ctypes.c_size_t))[0] = self._count
        return self._fails

    def free(self, memory) -> None:
        self.freed.append(ctypes.cast(memory, ctypes.c_void_p).value)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._array)


def test_launchd_hands_a_socket_over(listening):
    descriptor = os.dup(listening.fileno())
    os.set_inheritable(descriptor, True)
    libc = Libc(descriptor)
    with socket_activation.from_launchd(libc) as given:
        assert given.getsockname() == listening.getsockname()
        assert not os.get_inheritable(given.fileno())
    assert libc.names == [b"rpc"]
    assert libc.freed == [libc.address]


def test_launchd_did_not_start_us():
    libc = Libc(fails=errno.ESRCH)
    assert socket_activation.from_launchd(libc) is None
    assert libc.freed == []


def test_launchd_has_no_such_socket_or_more_than_one():
    with pytest.raises(CannotStart, match="launchd has no socket named rpc for us: no such file"):
        socket_activation.from_launchd(Libc(fails=errno.ENOENT))
    left, right = socket.socketpair()
    libc = Libc(left.fileno(), right.fileno())
    with left, right, pytest.raises(CannotStart, match="expected one socket named rpc, got 2"):
        socket_activation.from_launchd(libc)
    assert libc.freed == [libc.address]

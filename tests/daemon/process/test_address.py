"""The daemon's socket: what is at its path already, a path that is removed, and the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another user's")
NOBODY = 65534


@pytest.fixture
def refused(start_daemon):
    """Why a daemon cannot start."""

    def refuse(**how) -> str:
        with pytest.raises(pytest.CannotStart) as caught:
            start_daemon(**how)
        return str(caught.value).removeprefix("error: ")

    return refuse


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_file_at_the_sockets_path_is_left_alone(refused, home):
    path = home.parent / "port42.sock"
    path.write_text("precious")
    assert refused() == f"{path} exists and is not a socket"
    assert path.read_text() == "precious"


def test_a_link_at_the_sockets_path_is_left_alone(refused, home):
    target = home.parent / "target"
    target.write_text("precious")
    path = home.parent / "port42.sock"
    path.symlink_to(target)
    assert refused() == f"{path} exists and is not a socket"
    assert target.read_text() == "precious"


def test_a_socket_path_that_is_too_long(refused, home):
    path = home.parent / ("x" * 120)
    text = refused(socket=path)
    assert text == f"the socket path has {len(str(path))} bytes, 103 is the most: {path}"


def test_the_longest_socket_path_works(start_daemon, home):
    path = home.parent / ("x" * (103 - len(str(home.parent)) - 1))
    assert len(os.fsencode(path)) == 103
    assert start_daemon(socket=path).call("status")["socket"] == str(path)


@pytest.mark.parametrize("open_to", [0o701, 0o750, 0o777])
def test_a_socket_folder_open_to_others(refused, home, open_to):
    folder = home.parent / "run"
    folder.mkdir()
    folder.chmod(open_to)
    text = refused(socket=folder / "s")
    assert f"the socket's folder {folder} is open to others (mode {open_to:04o}" in text
    assert "chmod 700" in text
    assert mode(folder) == open_to
    assert not (folder / "s").exists()


@as_root
def test_a_socket_folder_of_another_user(refused, home):
    folder = home.parent / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    assert (
        refused(socket=folder / "s") == f"the socket's folder {folder} belongs to another user (uid {NOBODY})"
    )


def test_only_its_own_socket_is_unlinked_at_the_stop(daemon):
    daemon.socket.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        assert daemon.stop() == 0
        assert daemon.socket.exists()


@pytest.mark.parametrize("what", ["the socket", "its folder"])
def test_a_path_that_was_removed_is_bound_again_on_sighup(start_daemon, home, what):
    folder = home.parent / "run"
    folder.mkdir(mode=0o700)
    daemon = start_daemon(socket=folder / "s")
    with daemon.connect() as peer, peer.makefile("rb") as lines:
        if what == "its folder":
            shutil.rmtree(folder)
        else:
            daemon.socket.unlink()
        daemon.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while not listens(daemon.socket):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # no system call tells when
        assert daemon.call("status")["pid"] == daemon.pid
        assert (mode(folder), mode(daemon.socket)) == (0o700, 0o600)
        peer.sendall(b'{"jsonrpc":"2.0","id":1,"method":"status"}\n')
        assert b'"result"' in lines.readline(), "who was connected stays so"
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_a_folder_that_was_opened_to_others_is_not_bound_in_again_and_the_log_says_so(start_daemon, home):
    folder = home.parent / "run"
    folder.mkdir(mode=0o700)
    daemon = start_daemon(socket=folder / "s")
    daemon.socket.unlink()
    folder.chmod(0o755)
    daemon.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while "cannot listen at" not in daemon.log():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # no system call tells when
    assert daemon.logged("is open to others (mode 0755")
    assert "Traceback" not in daemon.log()
    assert not daemon.socket.exists()


def test_a_socket_that_another_process_bound_there_is_left_alone(daemon):
    daemon.socket.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        inode = daemon.socket.stat().st_ino
        daemon.process.send_signal(signal.SIGHUP)
        assert daemon.stop() == 0
        assert daemon.socket.stat().st_ino == inode

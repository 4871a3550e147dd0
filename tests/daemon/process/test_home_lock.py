"""A daemon takes its home and its socket: everything that can prevent it, and the errors."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from port42_daemon.process import home_lock
from port42_protocol import PROTOCOL_VERSION, __version__

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another user's")
NOBODY = 65534


@pytest.fixture
def refused(start_daemon):
    """Why a daemon cannot start; it exited with 1 and said the same on stderr and to who started it."""

    def refuse(**how) -> str:
        with pytest.raises(pytest.CannotStart) as caught:
            start_daemon(**how)
        text = str(caught.value)
        assert text.startswith("error: ")
        return text.removeprefix("error: ")

    return refuse


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_and_folders_are_accessible_to_their_user_only(start_daemon, home):
    before = os.umask(0o022)
    try:
        daemon = start_daemon(args=["--log-file", str(home.parent / "daemon.log")])
    finally:
        os.umask(before)
    daemon.call("possess", agent="ai-muse", message="hello")
    daemon.call("add_agent", agent="ai-new")
    assert mode(daemon.socket) == 0o600
    assert mode(home.parent / "daemon.log") == 0o600
    files = [path for path in [home, *home.rglob("*")] if not path.is_symlink()]
    assert {path.name for path in files} >= {
        "agent_sessions.json",
        "daemon.json",
        "daemon.lock",
        "config.toml",
    }
    assert {mode(path) for path in files if path.is_dir()} == {0o700}
    assert {mode(path) for path in files if path.is_file()} == {0o600}


def test_a_home_that_was_open_to_others_becomes_private(start_daemon, home):
    home.mkdir(mode=0o755)
    start_daemon()
    assert mode(home) == 0o700


def test_daemon_json_describes_the_daemon_while_it_runs(daemon):
    content = json.loads((daemon.home / "daemon.json").read_bytes())
    assert content == {
        "pid": daemon.pid,
        "socket": str(daemon.socket),
        "version": __version__,
        "protocol_version": PROTOCOL_VERSION,
        "started_by": "hand",
    }
    daemon.stop()
    assert not (daemon.home / "daemon.json").exists()


def test_a_running_daemon_is_named(daemon, refused):
    assert refused() == f"port42d is already running (pid {daemon.pid})"
    assert daemon.call("status")["pid"] == daemon.pid


def test_a_running_daemon_of_the_same_home_at_another_socket_is_named(daemon, refused):
    elsewhere = daemon.socket.with_name("other.sock")
    assert refused(socket=elsewhere) == f"port42d is already running (pid {daemon.pid})"
    assert not elsewhere.exists()


def test_the_socket_of_another_homes_daemon_is_not_taken(daemon, refused):
    text = refused(home=daemon.home.with_name("home2"))
    assert text == f"another program listens at {daemon.socket}"
    assert daemon.call("status")["pid"] == daemon.pid


def test_of_many_daemons_that_start_at_once_one_runs_and_the_others_name_it(start_daemon):
    def start(_: int):
        try:
            return start_daemon()
        except pytest.CannotStart as why:
            return str(why)

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(start, range(6)))
    (winner,) = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert set(outcomes) - {winner} == {f"error: port42d is already running (pid {winner.pid})"}
    assert winner.call("status")["pid"] == winner.pid


def test_a_stale_socket_is_removed(daemon):
    daemon.call("create_session", agent="a", session_id="cli-1")
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.call("get_last_session", agent="a")["session_id"] == "cli-1"


def test_a_start_waits_for_a_stopping_daemon(start_daemon, home):
    """A process that holds the lock and does not answer is stopping; the next one waits for it."""
    home.mkdir()
    with (home / "daemon.lock").open("w") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = pool.submit(start_daemon)
        with pytest.raises(TimeoutError):
            starting.result(timeout=0.7)  # it may do nothing meanwhile
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert starting.result().call("status")["home"] == str(home)


def locked(home: Path):
    return home_lock.HomeLock(home, wait=0.05)


def test_a_lock_that_is_never_released_is_an_error(tmp_path):
    tmp_path.chmod(0o700)
    with (tmp_path / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(home_lock.CannotStart, match="does not answer"), locked(tmp_path):
            pytest.fail("two at once")
    with locked(tmp_path):
        pass


BAD_ADDRESSES = [b"", b"{", b"[]", b"1", b'{"pid":1}', b'{"socket":7,"pid":1}', b"\xff"]
BAD_ADDRESSES += [b'{"socket":"a\\u0000","pid":1}', b"[" * 100_000]


@pytest.mark.parametrize("content", BAD_ADDRESSES, ids=lambda content: repr(content[:20]))
def test_a_daemon_json_of_any_content_prevents_no_start(tmp_path, content):
    tmp_path.chmod(0o700)
    (tmp_path / "daemon.json").write_bytes(content)
    with (tmp_path / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(home_lock.CannotStart, match="does not answer"), locked(tmp_path):
            pytest.fail("two at once")


def test_a_lock_file_that_was_removed_is_made_and_locked_again(tmp_path):
    tmp_path.chmod(0o700)
    with locked(tmp_path) as lock:
        assert lock.is_held()
        for replaced in (False, True):
            (tmp_path / "daemon.lock").unlink()
            if replaced:
                (tmp_path / "daemon.lock").touch()
            assert lock.is_held()
            with pytest.raises(home_lock.CannotStart, match="does not answer"), locked(tmp_path):
                pytest.fail("two at once")


def test_a_home_that_was_removed_or_replaced_is_not_held(tmp_path):
    home = tmp_path / "home"
    with locked(home) as lock:
        home.rename(tmp_path / "moved")
        assert not lock.is_held()
        assert not home.exists()
        home.mkdir()
        assert not lock.is_held()
        assert list(home.iterdir()) == []
        home.rmdir()
        (tmp_path / "moved").rename(home)
        assert lock.is_held()


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["stat", "fstat", "open"])
def test_one_failing_stat_does_not_stop_the_daemon(tmp_path, monkeypatch, call, error):
    def failing(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    tmp_path.chmod(0o700)
    with locked(tmp_path) as lock:
        (tmp_path / "daemon.lock").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            assert lock.is_held()
        assert lock.is_held()
        assert (tmp_path / "daemon.lock").exists()


def test_a_lock_that_another_process_took_is_not_held(tmp_path):
    tmp_path.chmod(0o700)
    with locked(tmp_path) as lock:
        (tmp_path / "daemon.lock").unlink()
        with locked(tmp_path):
            assert not lock.is_held()


def test_a_running_daemon_without_its_lock_file_is_named(daemon, refused):
    (daemon.home / "daemon.lock").unlink()
    assert refused() == f"port42d is already running (pid {daemon.pid})"
    assert daemon.call("status")["pid"] == daemon.pid


@pytest.mark.parametrize("how", ["moved", "removed", "made anew"])
def test_a_daemon_whose_home_is_gone_refuses_and_stops_and_the_next_one_starts(daemon, start_daemon, how):
    daemon.call("create_session", agent="ai-muse")
    if how == "removed":
        shutil.rmtree(daemon.home)
    else:
        daemon.home.rename(daemon.home.with_name("moved"))
    if how == "made anew":
        daemon.home.mkdir(mode=0o700)
    following = start_daemon()  # it waits until the old one is gone from the address
    assert daemon.process.wait(30) == 0
    assert daemon.logged("the home was moved or removed")
    assert following.call("list_sessions")["sessions"] == []
    assert following.call("status")["pid"] == following.pid
    assert json.loads((following.home / "daemon.json").read_bytes())["pid"] == following.pid
    if how != "removed":
        assert len(list((daemon.home.with_name("moved") / "sessions").glob("*.json"))) == 1


def test_a_connection_that_was_open_before_gets_an_error_with_advice(daemon):
    with daemon.connect() as peer, peer.makefile("rb") as lines:
        request = {"jsonrpc": "2.0", "id": 1, "method": "create_session", "params": {"agent": "ai-muse"}}
        peer.sendall(json.dumps(request).encode() + b"\n")
        assert "result" in json.loads(lines.readline())
        daemon.home.rename(daemon.home.with_name("moved"))
        peer.sendall(json.dumps(request).encode() + b"\n")
        assert "`port42 daemon restart`" in json.loads(lines.readline())["error"]["message"]


@as_root
def test_a_home_of_another_user(refused, home):
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    assert refused() == f"cannot use {home}: {home} belongs to another user (uid {NOBODY})"
    assert list(home.iterdir()) == []


def test_a_folder_that_others_need_is_not_closed_to_them(refused, home):
    home.mkdir()
    home.chmod(0o1777)  # as /tmp
    assert "PORT42_HOME names one of its own" in refused()
    assert (mode(home), list(home.iterdir())) == (0o1777, [])


def test_a_folder_above_the_users_own_is_no_home(tmp_path, monkeypatch):
    users = tmp_path / "users"
    users.mkdir(mode=0o755)
    account = types.SimpleNamespace(pw_dir=str(users / "ada"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: account)
    with pytest.raises(home_lock.CannotStart, match="others need that folder"), locked(users):
        pass
    assert (mode(users), list(users.iterdir())) == (0o755, [])
    with locked(users / "ada"):
        assert mode(users / "ada") == 0o700


def test_a_home_that_is_a_file(refused, home):
    home.write_text("not a folder")
    assert refused() == f"cannot use {home}: {home.name} is not a folder"


# Imported as root, run as nobody, who may not be able to read this Python or this checkout. From 3.13 on
# pathlib imports urllib only when a path is asked for its URI, which opening the index does.
AS_NOBODY = """
import os, socket, sys, urllib.parse
import port42_daemon.__main__, port42_daemon.process.log, port42_daemon.main
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""
PORT42D = AS_NOBODY + "sys.exit(port42_daemon.__main__.main(sys.argv[1:]))"
KNOCK = AS_NOBODY + "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(100))"


def run_as_nobody(code: str, *arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    # Without coverage, whose file the other user could not write.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environ)
    return done.returncode, done.stdout, done.stderr.splitlines()[-1] if done.stderr else ""


@pytest.fixture
def foreign(home):
    """Gives a folder to the user who runs `PORT42D`; says why it could not start."""

    def start(made: Path) -> str:
        if os.geteuid() == 0:
            home.parent.chmod(0o711)
            os.chown(made, NOBODY, NOBODY)
        status, _, output = run_as_nobody(PORT42D, "--home", home, "--socket", home / "s")
        assert status == 1
        return output

    return start


def test_a_home_that_cannot_be_made(foreign, home):
    folder = home.parent / "closed"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        home.parent.chmod(0o711)
    status, _, output = run_as_nobody(PORT42D, "--home", folder / "home", "--socket", folder / "s")
    assert (status, output) == (1, f"port42d: cannot use {folder / 'home'}: permission denied")


def test_a_session_folder_that_cannot_be_made(foreign, home):
    home.mkdir()
    (home / "sessions").write_text("not a folder")
    assert foreign(home) == "port42d: cannot open the sessions: sessions is not a folder"


def test_an_unreadable_mapping_is_named(foreign, home):
    home.mkdir()
    (home / "sessions").mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home / "sessions", NOBODY, NOBODY)
    (home / "agent_sessions.json").touch(mode=0)
    assert foreign(home) == "port42d: cannot read agent_sessions.json: permission denied"


@as_root
def test_another_users_connection_is_closed_without_a_response(daemon):
    daemon.socket.parent.chmod(0o711)
    daemon.socket.chmod(0o666)
    _, output, error = run_as_nobody(KNOCK, daemon.socket)
    assert output == "b''\n" or error.startswith("ConnectionResetError")
    assert daemon.call("status")["connections"] == 1
    daemon.stop()
    assert daemon.logged(f"a connection of uid {NOBODY} was refused")

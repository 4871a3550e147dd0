"""A daemon told to stop and waited for. (`daemon stop` in commands/test_daemon.py is the same, as typed.)"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from peers.cli_fixtures import COMMAND

from port42_client import process as subject
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon, Refused


def test_a_daemon_that_does_not_stop_is_told(daemon, monkeypatch):
    running = Daemon(None, os.environ).running()
    assert running.pid == daemon.pid
    with monkeypatch.context() as patch:
        patch.setattr(subject, "STOP_TIMEOUT", 0.1)
        patch.setattr(subject.os, "kill", lambda *_: None)
        with pytest.raises(Refused, match=rf"\(pid {daemon.pid}\) was told to stop and is still there"):
            subject.stop(running.pid, Path(running.home), print)


def test_a_stopped_daemon_has_let_go_of_everything(daemon, home):
    subject.stop(daemon.pid, home, print)
    assert not (home / "daemon.json").exists()
    daemon.process.wait(30)
    daemon.process = None
    assert Daemon(None, os.environ).running() is None


def test_a_suspended_daemon_is_stopped_though_it_cannot_be_asked(daemon, port42):
    os.kill(daemon.pid, signal.SIGSTOP)
    ours = Daemon(None, os.environ)
    assert ours.holder() == (daemon.pid, ours.home)
    done = port42("daemon", "stop")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, f"port42d stopped (pid {daemon.pid})")
    daemon.process.wait(30)
    daemon.process = None


def test_a_daemon_whose_socket_was_swept_away_is_stopped(daemon, port42):
    daemon.socket.unlink()
    done = port42("daemon", "stop")
    assert (done.returncode, done.stderr) == (0, f"port42d stopped (pid {daemon.pid})\n")
    daemon.process.wait(30)
    daemon.process = None


HOLDING = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); input()"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="/proc/locks tells who holds a lock")
def test_a_daemon_has_stopped_also_where_the_next_one_has_its_lock_before_anybody_looks(home, process):
    home.mkdir()
    argv = [sys.executable, "-c", HOLDING, str(home / "daemon.lock")]
    first = process(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first.stdout.readline()
    following = process(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    queued = f"-> FLOCK ADVISORY WRITE {following.pid} "
    while queued not in " ".join(Path("/proc/locks").read_text().split()):
        pass
    subject.stop(first.pid, home, print)
    assert following.stdout.readline() == b"\n"


def test_a_lock_is_waited_for_and_told(home, process):
    home.mkdir()
    path = home / "lock"
    child = process(
        [sys.executable, "-c", HOLDING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    assert subject.is_locked(path)
    assert subject.lock_holder(path) == (child.pid if sys.platform == "linux" else None)
    with path.open() as lock:
        assert not subject.wait_for_lock(lock.fileno(), fcntl.LOCK_SH, 0.1, lambda: None)

        def let_go():
            child.stdin.close()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subject, "SLOW", 0.05)
            assert subject.wait_for_lock(lock.fileno(), fcntl.LOCK_SH, 60, let_go)
    assert not subject.is_locked(path)
    while subject.lock_holder(path) is not None:
        pass  # the thread that was left behind by the first wait has not returned yet
    assert not subject.is_daemon(child.pid)


def test_a_starter_that_was_suspended_holds_nobody_for_ever(home, process, monkeypatch):
    home.mkdir(mode=0o700)
    path = home / "start.lock"
    child = process(
        [sys.executable, "-c", HOLDING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    monkeypatch.setattr(subject, "SLOW", 0.05)
    monkeypatch.setattr("port42_client.daemon.START_PATIENCE", 0.2)
    notices = []
    with pytest.raises(NoDaemon, match=rf"another command \(pid {child.pid}\) has been starting port42d"):
        Daemon(None, os.environ, notices.append).connect()
    assert notices == [f"Waiting for another command (pid {child.pid}) that is starting port42d."]


@pytest.mark.parametrize("what", ["fifo", "link", "folder", "huge"])
def test_whatever_stands_where_the_note_should_blocks_nobody(home, daemon, port42, what):
    note = home / "daemon.json"
    note.unlink()
    if what == "fifo":
        os.mkfifo(note)
    elif what == "link":
        note.symlink_to("/dev/zero")
    elif what == "folder":
        note.mkdir()
    else:
        with note.open("wb") as file:
            file.truncate(1 << 40)
    assert port42.json("status", "--json")["pid"] == daemon.pid
    note.rmdir() if what == "folder" else note.unlink()


@pytest.mark.parametrize("what", ["fifo", "endless device", "link to nothing", "link to itself", "folder"])
def test_whatever_stands_where_the_log_should_keeps_no_daemon_from_starting(home, port42, what):
    home.mkdir(mode=0o700)
    log = home / "daemon.log"
    {
        "fifo": lambda: os.mkfifo(log),
        "endless device": lambda: log.symlink_to("/dev/zero"),
        "link to nothing": lambda: log.symlink_to("/nowhere/at/all"),
        "link to itself": lambda: log.symlink_to(log),
        "folder": log.mkdir,
    }[what]()
    port42.begin("@ai-muse", "hello")
    logs = port42("daemon", "logs")
    assert (logs.returncode, f"no log at {log}" in logs.stderr) == (1, True)
    assert port42("daemon", "stop").returncode == 0


@pytest.mark.parametrize("name", ["start.lock", "daemon.lock"])
def test_what_stands_where_a_lock_should_is_named(home, port42, name):
    home.mkdir(mode=0o700)
    (home / name).mkdir()
    done = port42("sessions")
    (home / name).rmdir()
    assert (done.returncode, name in done.stderr) == (69, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_makes_no_home_for_another_person(home, port42):
    """As under a sudo that keeps HOME."""
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    done = port42(
        "possess", "@ai-muse", "hello", env={"HOME": str(home), "PORT42_HOME": "", "PORT42_SOCKET": ""}
    )
    assert (done.returncode, done.stdout) == (69, "")
    assert f"{home}/.port42 belongs to uid 12345" in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_persons_home_is_left_alone(home, port42):
    home.mkdir(mode=0o700)
    os.mkfifo(home / "daemon.json")
    os.chown(home, 12345, 12345)
    before = sorted(home.iterdir())
    for typed in (["sessions"], ["possess", "@ai-muse", "hello"], ["daemon", "start"]):
        done = port42(*typed)
        assert (done.returncode, done.stdout) == (69, "")
        assert f"Error: {home} belongs to uid 12345" in done.stderr
        assert "without sudo" in done.stderr
    assert port42("daemon", "stop").stderr == "port42d is not running\n"
    assert sorted(home.iterdir()) == before
    (home / "daemon.json").unlink()


def test_every_command_says_that_a_suspended_daemon_is_waited_for(daemon, process):
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        typed = ("daemon start", "sessions", "doctor --json", "follow x1234", "rpc status")
        for words, child in [(words, process([*COMMAND, *words.split()], **pipes)) for words in typed]:
            said = child.stderr.readline()
            assert said.startswith("Waiting for port42d, which has not answered yet ("), words
    finally:
        os.kill(daemon.pid, signal.SIGCONT)

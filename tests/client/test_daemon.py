"""Finding the daemon and starting it, with real daemons and with processes that fail to become one."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

import pytest

from port42_client import process
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon
from port42_protocol import paths


def pid_of(daemon):
    with Client(daemon.connect) as client:
        return client.ask("status")["pid"]


@pytest.fixture
def ours(port42):
    """The test's daemon, stopped at the end by the `port42` fixture."""
    return Daemon(None, os.environ)


def instead(monkeypatch, code):
    """A program that is started in port42d's place; its last argument is the descriptor of readiness."""
    monkeypatch.setattr(Daemon, "command", lambda *_, **__: [sys.executable, "-c", code])


def test_none_is_found_where_none_is(ours):
    assert ours.find() is None
    with pytest.raises(NoDaemon, match="no daemon answers at"):
        ours.existing()


def test_the_first_call_starts_one_and_the_next_finds_it(ours):
    first = pid_of(ours)
    assert first != os.getpid()
    assert pid_of(ours) == first
    assert os.getsid(first) == first, "it has no terminal to be hung up by"


def test_what_a_start_leaves_in_the_home_is_private(ours, home):
    pid_of(ours)
    assert home.stat().st_mode & 0o777 == 0o700
    for name in ("start.lock", "daemon.log"):
        assert (home / name).stat().st_mode & 0o777 == 0o600


def test_many_at_once_start_one(ours):
    pids = []
    threads = [threading.Thread(target=lambda: pids.append(pid_of(ours))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1


def test_autostart_can_be_forbidden_but_not_start(ours, monkeypatch):
    monkeypatch.setenv("PORT42_NO_AUTOSTART", "1")
    with pytest.raises(NoDaemon, match="PORT42_NO_AUTOSTART forbids"):
        ours.connect()
    ours.start().close()
    ours.connect().close()


def test_a_stale_socket_and_note_do_not_hide_that_nobody_is_there(ours, home):
    address = os.environ["PORT42_SOCKET"]
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(address)
    home.mkdir(mode=0o700)
    paths.address_file(home).write_text(json.dumps({"pid": 1, "socket": address, "version": "0"}))
    assert ours.find() is None
    pid_of(ours)


@pytest.mark.parametrize("note", ["", "[]", '{"socket": 5}', '{"socket": "\\u0000"}', "{}", "\x00"])
def test_a_note_that_is_none_is_passed_over(home, note):
    home.mkdir()
    paths.address_file(home).write_text(note)
    assert Daemon(None, os.environ).find() is None


def test_the_homes_note_leads_to_a_daemon_elsewhere(start_daemon, home, monkeypatch):
    elsewhere = start_daemon(socket=home.parent / "elsewhere.sock")
    monkeypatch.setenv("PORT42_NO_AUTOSTART", "1")
    assert pid_of(Daemon(None, os.environ)) == elsewhere.pid
    monkeypatch.delenv("PORT42_SOCKET")
    assert pid_of(Daemon(None, os.environ)) == elsewhere.pid


def test_a_named_socket_goes_before_the_note_and_the_environment(start_daemon, home, monkeypatch):
    noted = start_daemon()
    other = start_daemon(home=home.parent / "other", socket=home.parent / "other.sock")
    assert pid_of(Daemon(str(other.socket), os.environ)) == other.pid
    assert pid_of(Daemon(None, {**os.environ, "PORT42_SOCKET": str(other.socket)})) == other.pid
    assert pid_of(Daemon(None, os.environ)) == noted.pid


def test_a_named_socket_may_be_relative(start_daemon, home, monkeypatch):
    running = start_daemon()
    monkeypatch.chdir(home.parent)
    assert pid_of(Daemon("port42.sock", {"PORT42_HOME": str(home.parent / "none")})) == running.pid


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_path_too_long_is_told_before_connecting(home, how):
    long = "/tmp/" + "ä" * 60
    daemon = Daemon(long, {}) if how == "option" else Daemon(None, {"PORT42_SOCKET": long})
    with pytest.raises(NoDaemon, match=r"has 125 bytes and may have at most 103: /tmp/ä.*PORT42_SOCKET"):
        daemon.connect()


def test_a_runtime_folder_of_others_is_no_reason_for_a_traceback(home, monkeypatch):
    def refused(_):
        raise PermissionError("/tmp/runtime-0 is not ours")

    monkeypatch.setattr(paths, "socket", refused)
    with pytest.raises(NoDaemon, match="no safe folder for the socket: /tmp/runtime-0 is not ours"):
        Daemon(None, {"PORT42_HOME": str(home)}).connect()


def test_the_daemons_own_reason_is_what_a_failed_start_says(ours, home):
    home.parent.chmod(0o755)
    with pytest.raises(NoDaemon, match=r"port42d could not start: .*open to others"):
        ours.connect()


def test_a_home_that_is_no_folder_is_told(home):
    home.write_text("")
    with pytest.raises(NoDaemon, match=r"home must be a folder, and .* is not"):
        Daemon(None, os.environ).connect()


def test_a_home_that_cannot_be_made_is_told(home):
    home.parent.joinpath("file").write_text("")
    environ = {**os.environ, "PORT42_HOME": str(home.parent / "file" / "home")}
    with pytest.raises(NoDaemon, match=r"cannot use .* as Port42's home: Not a directory"):
        Daemon(None, environ).connect()


def test_a_daemon_that_ends_before_it_is_ready_is_told_with_its_code(home, monkeypatch):
    instead(monkeypatch, "import sys; print('boom', file=sys.stderr); sys.exit(3)")
    with pytest.raises(NoDaemon, match=r"ended \(code 3\) before it was ready; .*daemon.log says more"):
        Daemon(None, os.environ).connect()
    assert paths.log_file(home).read_text() == "boom\n"


STOPPED = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"


def test_a_daemon_that_is_stopped_before_it_is_ready_is_started_again(ours, monkeypatch):
    """As by a restart that another command makes in that moment."""
    command, started = Daemon.command, []

    def stopped_at_first(daemon, *, named=False):
        started.append(named)
        return [sys.executable, "-c", STOPPED] if len(started) == 1 else command(daemon, named=named)

    monkeypatch.setattr(Daemon, "command", stopped_at_first)
    with ours.client() as client:
        assert client.ask("status")["pid"]
    assert len(started) == 2


def test_one_that_is_stopped_each_time_is_told(home, monkeypatch):
    instead(monkeypatch, STOPPED)
    with pytest.raises(NoDaemon, match=r"ended \(code -15\) before it was ready"):
        Daemon(None, os.environ).connect()


def test_a_daemon_that_is_never_ready_is_not_waited_for_forever(home, monkeypatch):
    monkeypatch.setattr(process, "START_TIMEOUT", 0.1)
    instead(monkeypatch, "import signal; signal.pause()")
    with pytest.raises(NoDaemon, match="was not ready within"):
        Daemon(None, os.environ).connect()


def test_a_daemon_that_only_says_it_is_ready_is_not_believed(home, monkeypatch):
    instead(monkeypatch, "import os, sys; os.write(int(sys.argv[-1]), b'ready\\n')")
    with pytest.raises(NoDaemon, match="said that it is ready, but nothing listens"):
        Daemon(None, os.environ).connect()


def test_no_module_of_the_current_folder_is_taken_for_the_daemon(ours, home, monkeypatch):
    trap = home.parent / "trap"
    trap.mkdir()
    for name in ("port42_daemon", "msgspec", "uvloop"):
        trap.joinpath(f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(trap)
    pid_of(ours)


def test_nothing_that_python_reads_from_a_terminals_environment_reaches_the_daemon(ours, home, monkeypatch):
    trap = home.parent / "trap"
    trap.mkdir()
    for name in ("port42_daemon", "msgspec", "sitecustomize"):
        trap.joinpath(f"{name}.py").write_text("raise SystemExit('taken from PYTHONPATH')")
    settings = {
        "PYTHONPATH": str(trap),
        "PYTHONWARNINGS": "error",
        "PYTHONSAFEPATH": "1",
        "PYTHONOPTIMIZE": "2",
    }
    for name, value in (settings | {"PYTHONHOME": str(trap), "PYTHONINSPECT": "1"}).items():
        monkeypatch.setenv(name, value)
    pid_of(ours)


def test_a_socket_that_was_swept_away_is_bound_anew_for_the_next_command(ours, home):
    first = pid_of(ours)
    os.unlink(ours.note().socket)  # noqa: PTH108
    assert pid_of(Daemon(None, os.environ)) == first


def test_what_to_type_reaches_the_same_daemon():
    assert Daemon(None, {"PORT42_SOCKET": "/tmp/x"}).typed() == "port42"
    assert Daemon("/tmp/a b", {}).typed() == "port42 --socket '/tmp/a b'"

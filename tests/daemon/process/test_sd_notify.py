"""Notifications as a supervisor receives them at a real datagram socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
import uuid

import pytest
from peers.processes import Child
from peers.talk import Talk, Tap, configure

from port42_daemon.process.sd_notify import Supervisor


class Listener:
    """The supervisor's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self._socket.settimeout(20)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def until(self, *lines: str) -> None:
        while self.next()[: len(lines)] != list(lines):
            pass

    def nothing(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(4096)
        except TimeoutError:
            return True


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    with Listener(f"@{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "n")) as listener:
        yield listener


@pytest.fixture
def supervised(home, process):
    """A daemon as systemd starts it, with a listener, configured as the test says."""
    with Listener(str(home.parent / "notify")) as listener:

        def start(**environ: str) -> Child:
            command = [sys.executable, "-m", "port42_daemon", "--log-file", str(home.parent / "log")]
            named = {"NOTIFY_SOCKET": listener.address} | environ
            return process(command, env=os.environ | named)

        start.listener = listener
        yield start


class There:
    """The daemon that listens at PORT42_SOCKET, as `Talk` wants it."""

    @staticmethod
    def connect() -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(20)
        peer.connect(os.environ["PORT42_SOCKET"])
        return peer


def test_start_status_reload_and_stop_are_notified(supervised, home):
    tap = Tap(home.parent)
    configure(home, tap=tap.command)
    daemon, heard = supervised(), supervised.listener
    assert heard.next() == ["READY=1"]
    assert heard.next() == ["STATUS=0 sessions, 0 turns under way"]
    with Talk(There) as talk:
        request = talk.send("possess", agent="tap", message="hello")
        with tap.open() as say:
            heard.until("STATUS=1 session, 1 turn under way")
            say("hi")
        assert talk.result(request)["status"] == "answered"
    heard.until("STATUS=1 session, 0 turns under way")
    (home / "config.toml").write_text("agents = 1\n")
    daemon.send_signal(signal.SIGHUP)
    before = time.monotonic_ns() // 1000
    reloading, when = heard.next()
    assert reloading == "RELOADING=1"
    assert abs(int(when.removeprefix("MONOTONIC_USEC=")) - before) < 20_000_000
    both = sorted([heard.next()[0], heard.next()[0]])
    assert both[0] == "READY=1"
    assert both[1].startswith("STATUS=1 session, 0 turns under way; config.toml: ")
    daemon.terminate()
    heard.until("STOPPING=1")
    assert daemon.wait(20) == 0


def test_the_watchdog_is_pinged_in_time_and_not_by_a_stopped_daemon(supervised):
    daemon, heard = supervised(WATCHDOG_USEC="200000"), supervised.listener
    for _ in range(3):
        heard.until("WATCHDOG=1")
    daemon.send_signal(signal.SIGSTOP)
    os.waitpid(daemon.pid, os.WUNTRACED)
    while not heard.nothing(0.5):
        pass  # what it said before
    daemon.send_signal(signal.SIGCONT)
    heard._socket.settimeout(20)
    heard.until("WATCHDOG=1")


def test_child_processes_do_not_notify(supervised, home):
    show = [sys.executable, "-c", "import json, os; print(json.dumps(sorted(os.environ)))"]
    home.mkdir(mode=0o700)
    names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
    (home / "config.toml").write_text(
        f'[agents.show]\nbackend = "show"\n[backends.show]\ntype = "command"\ncommand = {json.dumps(show)}\n'
        f"env_pass = {json.dumps(names)}\n"
    )
    supervised(WATCHDOG_USEC="60000000", LISTEN_FDS="1", LISTEN_PID="1", LISTEN_FDNAMES="rpc")
    supervised.listener.until("READY=1")
    with Talk(There) as talk:
        seen = json.loads(talk.call("possess", agent="show", message="x")["reply"])
    assert "PATH" in seen
    assert not set(names) & set(seen)


def test_a_daemon_that_a_command_started_notifies_no_supervisor(daemon, start_daemon, home, tmp_path):
    with Listener(str(tmp_path / "n")) as listener:
        start_daemon(
            home=home.parent / "other",
            socket=home.parent / "other.sock",
            env={"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "100000"},
        )
        assert listener.nothing(0.3)


def run(listener: Listener | None, test, **environ: str) -> dict[str, str]:
    if listener is not None:
        environ["NOTIFY_SOCKET"] = listener.address
    supervisor = Supervisor(environ)
    asyncio.run(test(supervisor))
    supervisor.close()
    return environ


def test_both_kinds_of_address_are_reached_and_the_variables_are_removed(listener):
    async def test(supervisor: Supervisor) -> None:
        await supervisor.tell("READY=1", "STATUS=all is well")
        assert supervisor.patience == 30

    left = run(listener, test, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()), HOME="/x")
    assert left == {"HOME": "/x"}
    assert listener.next() == ["READY=1", "STATUS=all is well"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/no/such/socket"},
        {"NOTIFY_SOCKET": "/" + "x" * 200},
        {"NOTIFY_SOCKET": "@" + "x" * 200},
    ],
)
def test_nothing_is_sent_without_a_listener(environ):
    async def test(supervisor: Supervisor) -> None:
        async with supervisor.watching(None, None):
            await supervisor.tell("READY=1")
            assert len(asyncio.all_tasks()) == 1  # no one wakes up

    assert run(None, test, **environ) == {}


@pytest.mark.parametrize(
    ("environ", "patience"),
    [
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_timeout(environ, patience):
    assert Supervisor(environ).patience == patience


def test_the_watchdog_is_not_pinged_while_requests_are_not_answered(tmp_path):
    """The loop runs, and what a request needs does not come back."""
    stuck = asyncio.Event()

    async def test(supervisor: Supervisor) -> None:
        async with supervisor.watching(stuck.wait, lambda: asyncio.sleep(0, "fine")):
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, listener.next) == ["STATUS=fine"]
            assert await loop.run_in_executor(None, listener.nothing, 0.3)
            stuck.set()
            listener._socket.settimeout(20)
            assert await loop.run_in_executor(None, listener.next) == ["WATCHDOG=1"]

    with Listener(str(tmp_path / "n")) as listener:
        run(listener, test, WATCHDOG_USEC="50000")


def test_a_supervisor_that_ended_is_no_error(tmp_path):
    async def test(supervisor: Supervisor) -> None:
        await supervisor.tell("READY=1")
        listener.__exit__()
        await supervisor.tell("STOPPING=1")

    with Listener(str(tmp_path / "n")) as listener:
        run(listener, test)

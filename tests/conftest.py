"""What every test stands on: an isolated home, and daemons that are real processes and never outlive it.

    def test_x(daemon):              # a daemon that listens, in a home of its own
        daemon.call("create_session", agent="ai-engineer")  # its result; an error raises RpcFailed
        daemon.ask({"jsonrpc": "2.0", …})                   # the whole response, as it came
        with daemon.connect() as peer:                      # a plain socket
        daemon.kill(); daemon.start()                       # the same home, a new process
        daemon.stop()                                       # SIGTERM; gives the exit status
        daemon.home, daemon.socket, daemon.pid, daemon.log()

    def test_y(home):                # a path in a short, private folder; nothing is there yet
    def test_z(start_daemon):        # start_daemon(home=…, socket=…, args=[…], env={…}, python=[…]), as many
                                     # as wanted, with config=… in a new home; CannotStart has the line that
                                     # came instead of "ready"

`home` is also in the environment, as PORT42_HOME, with PORT42_SOCKET beside it: a CLI or `port42d` that a
test starts with the inherited environment finds them and nothing else. Whoever starts a daemon that way
stops it; one that is left is killed, and the session fails. The exceptions are `pytest.RpcFailed` and
`pytest.CannotStart`. `--torture` runs the tests marked `torture`, which are left out otherwise.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from peers.capturing import eventually
from peers.forks import Forked, popen

pytest_plugins = [
    "peers.processes",  # `process`, time-outs, and the end of all that a test started
    "peers.cli_fixtures",  # `port42`, `terminal`, `peer`: for the CLI's and the client's tests
    "peers.postgres",  # `hub_url`, `postgres`: for those of the hub
    "peers.editors",  # `editor`, `lines`: for those of `port42 acp`
    "peers.sshd",  # `machine`: for those of `--host`
]

_READY_WITHIN = 30.0

# How long an example takes is the machine's affair; each test has a time limit. Examples of a test share its
# daemon or its folder, and are made so that they can.
settings.register_profile(
    "port42",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("port42")


class RpcFailed(Exception):
    """An error response: `code`, `message` and `data` as they came."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']}")
        self.code, self.message, self.data = error["code"], error["message"], error.get("data")


class CannotStart(Exception):
    """What the daemon said instead of `ready`."""


class Daemon:
    """One daemon process after another, for one home."""

    def __init__(
        self, home: Path, address: Path, args: list[str], env: dict[str, str], python: list[str]
    ) -> None:
        self.home, self.socket, self._python = home, address, python
        self.stderr = address.with_name("daemon.stderr")
        self._args, self._env = args, env
        self.process: Forked | subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it listens. Raises CannotStart."""
        assert self.process is None
        reads, writes = os.pipe()
        command = [sys.executable, *self._python, "--home", str(self.home)]
        command += ["--socket", str(self.socket), "--ready-fd", str(writes), *self._args]
        with self.stderr.open("ab") as errors:
            self.process = popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[writes],
                env=os.environ | self._env,
            )
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            ready, _, _ = select.select([pipe], [], [], _READY_WITHIN)
            said = pipe.readline().decode() if ready else "nothing in time"
        if said != "ready\n":
            if not ready:
                self.process.kill()
            self._reap()
            raise CannotStart(said.strip() or self.log())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; gives its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self._reap()

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can be."""
        self.stop(signal.SIGKILL)

    def connect(self) -> socket.socket:
        """A connection, with a time-out so that a test cannot hang."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(_READY_WITHIN)
        try:
            peer.connect(str(self.socket))
        except OSError:
            peer.close()
            raise
        return peer

    def ask(self, request: Any) -> Any:
        """The response to one request, or batch, on a connection of its own."""
        with self.connect() as peer, peer.makefile("rb") as lines:
            peer.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(lines.readline())

    def call(self, method: str, **params: Any) -> Any:
        """The result of a call. Raises RpcFailed."""
        answer = self.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if "error" in answer:
            raise RpcFailed(answer["error"])
        return answer["result"]

    def log(self) -> str:
        """What it wrote to stderr so far."""
        return self.stderr.read_text()

    def logged(self, text: str) -> bool:
        """Whether it writes the text to stderr, now or soon: a thread of its own writes its log."""
        return bool(eventually(lambda: text in self.log()))

    def _reap(self) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        try:
            return process.wait(timeout=_READY_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the daemon did not stop:\n{self.log()}")


pytest.RpcFailed, pytest.CannotStart = RpcFailed, CannotStart  # tests cannot import a conftest by name


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a Port42 home can be: a short path (sockets!) in a private folder that goes with the test."""
    folder = Path(tempfile.mkdtemp(prefix="p42-", dir="/tmp"))
    monkeypatch.setenv("PORT42_HOME", str(folder / "home"))
    monkeypatch.setenv("PORT42_SOCKET", str(folder / "port42.sock"))
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.fixture
def start_daemon(home: Path, fork_servers: None) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons, for `home` if no other is named, and stops what the test left running."""
    started: list[Daemon] = []

    def start(
        home: Path = home,
        *,
        socket: Path = home.parent / "port42.sock",
        args: list[str] | None = None,
        env: dict[str, str] | None = None,
        python: list[str] | None = None,
        config: str | None = None,
    ) -> Daemon:
        if config is not None:
            home.mkdir(mode=0o700)
            (home / "config.toml").write_text(config)
        daemon = Daemon(home, socket, args or [], env or {}, python or ["-m", "port42_daemon"])
        daemon.start()
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        if daemon.process is not None:
            daemon.stop()


@pytest.fixture
def daemon(start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that listens."""
    return start_daemon()


# --- for the whole session ------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="run the long forms too (marked torture)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--torture"):
        long = [item for item in items if item.get_closest_marker("torture")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]

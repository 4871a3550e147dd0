"""What the CLI's tests stand on: `port42` as a process, at a terminal too, and daemons made of a script.

def test_x(port42):
    port42("status", "--json")                 # a CompletedProcess, with text; stdin= is piped in
    port42.json("sessions", "--json")          # what it printed, parsed; it must have exited with 0
    port42.events("@ai-muse", "hi")            # the lines of `possess --json`, each parsed
def test_y(terminal):
    talk = terminal("possess", "@ai-muse")     # a pexpect child
def test_z(peer):
    fake = peer(lambda talk: talk.answer(talk.request(), {"a": 1}))   # a function a connection
    fake.path, fake.requests
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import forks
from peers.daemons import stop_daemon_of
from peers.processes import Processes, Terminal

from port42_client.client import Client
from port42_client.dial import dial

COMMAND = [sys.executable, "-m", "port42_cli"]
TIMEOUT = 60


class Port42:
    """`port42` as a person's shell runs it, for the test's home."""

    def __call__(
        self, *args: str, stdin: str | bytes | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        piped = stdin.encode() if isinstance(stdin, str) else stdin
        env = os.environ | options.pop("env", {})
        done = forks.run([*COMMAND, *args], piped, TIMEOUT, env=env, **options)
        return subprocess.CompletedProcess(args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *args: str, **options: Any) -> Any:
        done = self(*args, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def events(self, *args: str, **options: Any) -> list[Any]:
        """What `possess … --json` printed, line by line; it must have exited with 0."""
        done = self("possess", *args, "--json", **options)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def begin(self, agent: str, message: str, **options: Any) -> str:
        """The id of a new session of `agent`."""
        return self.events(agent, message, **options)[-1]["session_id"]


@pytest.fixture
def port42(home: Path, fork_servers: None) -> Iterator[Port42]:
    run = Port42()
    yield run
    stop_daemon_of(home)


@pytest.fixture
def timezone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets this machine's zone, for this process and those that it starts."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def terminal(port42: Port42, process: Processes) -> Callable[..., Terminal]:
    """Starts `port42` at a terminal of 100 columns."""

    def start(*args: str, **env: str) -> Terminal:
        # No answer to prompt_toolkit's question where the cursor is will come from pexpect.
        shown = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "NO_COLOR": "1"}
        return process.at_terminal(
            [*COMMAND, *args], env=os.environ | shown | env, timeout=TIMEOUT, dimensions=(40, 100)
        )

    return start


class Talk:
    """One connection of a scripted peer."""

    def __init__(self, connection: socket.socket, requests: list[Any]) -> None:
        self.connection = connection
        self._lines = connection.makefile("rb")
        self._requests = requests

    def request(self) -> Any:
        """The next request, parsed; None when the client hung up."""
        line = self._lines.readline()
        if not line:
            return None
        self._requests.append(json.loads(line))
        return self._requests[-1]

    def send(self, value: Any) -> None:
        self.connection.sendall(json.dumps(value).encode() + b"\n")

    def answer(self, request: Any, result: Any) -> None:
        self.send({"jsonrpc": "2.0", "result": result, "id": request["id"]})

    def refuse(self, request: Any, code: int, message: str, **data: Any) -> None:
        error = {"code": code, "message": message, "data": data}
        self.send({"jsonrpc": "2.0", "error": error, "id": request["id"]})

    def close(self) -> None:
        self._lines.close()
        self.connection.close()


class Peer:
    """Something that listens at `path` and does what its scripts say, one for each connection."""

    def __init__(self, path: Path, scripts: tuple[Callable[[Talk], None], ...]) -> None:
        self.path = str(path)
        self.requests: list[Any] = []
        self.failures: list[Exception] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self._thread.start()

    def _serve(self, scripts: tuple[Callable[[Talk], None], ...]) -> None:
        for script in scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # ended before every script was wanted
            talk = Talk(connection, self.requests)
            try:
                script(talk)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client had heard enough
            except Exception as error:  # shown by `end`, in the test's own thread
                self.failures.append(error)
            finally:
                talk.close()

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIMEOUT)
        self._listener.close()
        assert not self._thread.is_alive(), "a script of this peer never ended"
        assert not self.failures, self.failures


def answering(result: Any) -> Callable[[Talk], None]:
    """A script that gives this result to every request."""

    def script(talk: Talk) -> None:
        while request := talk.request():
            talk.answer(request, result)

    return script


def connected(peer: Peer) -> Client:
    return Client(lambda: dial(peer.path))


@pytest.fixture
def peer(home: Path) -> Iterator[Callable[..., Peer]]:
    """Starts a scripted peer where the test's daemon would listen."""
    peers: list[Peer] = []

    def start(*scripts: Callable[[Talk], None]) -> Peer:
        peers.append(Peer(home.parent / f"peer-{len(peers)}.sock", scripts))
        return peers[-1]

    yield start
    for started in peers:
        started.end()

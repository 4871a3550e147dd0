"""What the end-to-end tests stand on: lines to a daemon, the `port42` command, a terminal to type it at.

    def test_x(exchange):            # exchange(line, …): every answer until the daemon hangs up
    def test_y(port42):              # port42("possess", "@ai-muse", "hello"): the finished command
        port42.start("status")       # the same, still running
        port42.environment           # what it is started with; `home` is in it
    def test_z(terminal):            # terminal("possess @ai-muse"): a pexpect child, 80 columns wide

Whatever daemon a command started by itself is stopped when the test ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.daemons import stop_daemon_of
from peers.processes import Child, Processes, Terminal

_PATIENCE = 60.0
"""Seconds that a command may take on a machine that is busy with other tests."""

_AT_THE_TERMINAL = 20.0
"""Seconds until something must be shown."""


def _command() -> list[str]:
    """The installed `port42`, which is what people type; else the package."""
    script = Path(sys.executable).with_name("port42")
    return [str(script)] if script.exists() else [sys.executable, "-m", "port42_cli"]


class Port42:
    """The command, in an environment of its own."""

    def __init__(self, environment: dict[str, str], process: Processes) -> None:
        self.argv = _command()
        self.environment = environment
        self._process = process

    def __call__(
        self, *words: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; without `stdin` there is none to read."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*self.argv, *words],
            env=self.environment | (env or {}),
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            **({"stdin": subprocess.DEVNULL} if given is None else {"input": given}),
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *words: str, env: dict[str, str] | None = None) -> Child:
        """Begin it; it ends with the test at the latest."""
        return self._process(
            [*self.argv, *words],
            env=self.environment | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rpc(self, method: str, **params: Any) -> Any:
        """The result of a call that must succeed."""
        done = self("rpc", method, json.dumps(params))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def home(self) -> Path:
        """Where its sessions are kept."""
        named = self.environment.get("PORT42_HOME")
        return Path(named) if named else Path(self.environment["HOME"], ".port42")


@pytest.fixture
def port42(home: Path, process: Processes) -> Iterator[Port42]:
    """The command, with `home` in its environment; no daemon runs yet."""
    command = Port42(dict(os.environ), process)
    yield command
    stop_daemon_of(command.home)


@pytest.fixture
def fresh_user(home: Path, process: Processes) -> Iterator[Port42]:
    """The command as somebody types it who has set nothing: ~/.port42 and the usual runtime folder."""
    folder = home.parent
    named = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
    command = Port42(inherited | named, process)
    yield command
    stop_daemon_of(command.home)


_OWN_VARIABLES = {"PORT42_HOME", "PORT42_SOCKET"}


@pytest.fixture
def exchange(daemon: Any) -> Callable[..., list[Any]]:
    """Sends lines on a connection, says that this is all, and gives every answer: silence is `[]`."""

    def exchange(*lines: bytes | str, newline: bool = True) -> list[Any]:
        sent = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
        with daemon.connect() as peer, peer.makefile("rb") as answers:
            peer.sendall(sent + b"\n" * newline)
            peer.shutdown(socket.SHUT_WR)  # the daemon answers what is under way, then hangs up
            return [json.loads(answer) for answer in answers]

    return exchange


@pytest.fixture
def terminal(port42: Port42, process: Processes) -> Callable[..., Terminal]:
    """Types `port42 …` at a terminal of 80 columns."""

    def open_terminal(words: str = "", env: dict[str, str] | None = None) -> Terminal:
        child = process.at_terminal(
            [*port42.argv, *words.split()],
            # A terminal that is asked where its cursor is answers; pexpect's does not.
            env=port42.environment
            | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "COLUMNS": "80"}
            | (env or {}),
            dimensions=(40, 80),
            timeout=_AT_THE_TERMINAL,
        )
        child.delaybeforesend = None
        return child

    return open_terminal

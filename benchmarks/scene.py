"""Real daemons in homes of their own, kept connections to them, and their certain end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ENDS_WITHIN = 10.0
_BUFFER = 16 * 1024  # from 128 KiB on, each recv would map and unmap memory


class Connection:
    """The one client for all servers that are compared: a blocking socket, one line out, one in."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def ask(self, line: bytes) -> bytes:
        """Send a line, wait for a whole one."""
        self._socket.sendall(line)
        return self.receive()

    def receive(self) -> bytes:
        """Wait for whole lines."""
        answer = self._socket.recv(_BUFFER)
        while not answer.endswith(b"\n"):
            more = self._socket.recv(_BUFFER)
            if not more:
                raise ConnectionError("the server closed the connection")
            answer += more
        return answer

    def call(self, method: str, **params: Any) -> Any:
        """A method's result. Raises RuntimeError when the answer is an error."""
        answer = json.loads(self.ask(request(method, **params)))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def request(method: str, **params: Any) -> bytes:
    """One line that calls `method`."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is ready. `start_ns` is how long that took, from the start of its process."""

    home: Path
    socket: Path
    pid: int
    start_ns: int


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder of our own, removed afterwards with everything in it."""
    with tempfile.TemporaryDirectory(prefix="p42bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def daemon(there: Path | None = None, *, python: Path | None = None) -> Iterator[Daemon]:
    """A daemon with a home of its own, or that of `there`; it has ended when the block is left.

    `python` is another environment's interpreter, for another version of the daemon.
    """
    with folder() if there is None else contextlib.nullcontext(there) as home:
        address = home / "s"
        said, says = os.pipe()
        began = time.perf_counter_ns()
        argv = [str(python or sys.executable), "-P", "-m", "port42_daemon"]
        argv += ["--home", str(home), "--socket", str(address)]
        try:
            with _running([*argv, "--ready-fd", str(says)], home, says) as process:
                os.close(says)
                says = -1
                word = os.read(said, 4096).decode()
                took = time.perf_counter_ns() - began
                if word != "ready\n":
                    raise RuntimeError(f"the daemon did not start: {word.strip() or 'it ended'}")
                yield Daemon(home, address, process.pid, took)
        finally:
            os.close(said)
            if says >= 0:
                os.close(says)


@contextlib.contextmanager
def peer(kind: str, *arguments: str) -> Iterator[Path]:
    """A server of `benchmarks.peers` in a process of its own; gives its socket's path."""
    with folder() as home:
        address = home / "s"
        said, says = os.pipe()
        script = Path(__file__).with_name("peers.py")
        argv = [sys.executable, str(script), kind, str(address), str(says), *arguments]
        try:
            with _running(argv, home, says):
                os.close(says)
                says = -1
                if os.read(said, 16) != b"ready\n":
                    raise RuntimeError(f"the peer {kind} did not start")
                yield address
        finally:
            os.close(said)
            if says >= 0:
                os.close(says)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[Connection]:
    """A kept connection."""
    with contextlib.closing(Connection(path)) as connection:
        yield connection


@contextlib.contextmanager
def _running(argv: list[str], home: Path, inherited: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that logs to `home`/log, and is terminated at the end of the block."""
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, pass_fds=[inherited]
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(home: Path) -> dict[str, str]:
    """The environment of a command that finds the daemon of `home` by its `daemon.json`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORT42_")}
    return {**kept, "PORT42_HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TERM": "xterm-256color"}

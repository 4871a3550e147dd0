"""How long a command takes from its start to its end, against the interpreter that runs it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import scene
from benchmarks.figure import Figure

GROUP = "a command, start to end, minima"
BARE = "python -c pass"


def measure(times: int) -> list[Figure]:
    """Piped commands and one on a terminal, in turn, while the daemon runs."""
    script = str(Path(sys.executable).with_name("port42"))
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection:
        connection.call("possess", agent="ai-engineer", message="build a parser")
        environ = scene.environment(daemon.home)
        commands: dict[str, Callable[[], None]] = {
            BARE: lambda: _piped([sys.executable, "-c", "pass"], environ),
            "port42 status --json": lambda: _piped([script, "status", "--json"], environ),
            "port42 possess, one message": lambda: _piped(
                [script, "possess", "@ai-engineer", "--session", "last", "and now a lexer"], environ
            ),
            "port42 sessions, on a terminal": lambda: _on_a_terminal([script, "sessions"], environ),
        }
        took = _minima(commands, times)
    bare = took.pop(BARE)
    return [
        Figure(GROUP, what, least, "ms", BARE, bare, aim=9 if "terminal" in what else 5)
        for what, least in took.items()
    ]


def measure_daemon(times: int) -> list[Figure]:
    """The daemon's own start, from its process's to its readiness, in an empty home."""
    bare, ready = [], []
    for _ in range(times):
        began = time.perf_counter_ns()
        _piped([sys.executable, "-c", "pass"], dict(os.environ))
        bare.append(time.perf_counter_ns() - began)
        with scene.daemon() as daemon:
            ready.append(daemon.start_ns)
    return [
        Figure(GROUP, "port42d, until it is ready", min(ready) / 1e6, "ms", BARE, min(bare) / 1e6, aim=15)
    ]


def _minima(commands: dict[str, Callable[[], None]], times: int) -> dict[str, float]:
    """The least milliseconds of each; a first run, which may compile, is not counted."""
    least = dict.fromkeys(commands, float("inf"))
    for number in range(times + 1):
        for name, run in commands.items():
            began = time.perf_counter_ns()
            run()
            took = (time.perf_counter_ns() - began) / 1e6
            if number:
                least[name] = min(least[name], took)
    return least


def _piped(argv: list[str], environ: dict[str, str]) -> None:
    subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _on_a_terminal(argv: list[str], environ: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(argv, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = _until_closed(ours)
        if process.wait() or b"ai-engineer" not in shown:
            raise RuntimeError(f"{' '.join(argv)} showed {shown!r}")
    finally:
        os.close(ours)


def _until_closed(terminal: int) -> bytes:
    shown = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux returns EIO when the last process has closed the terminal
            return shown
        if not data:
            return shown
        shown += data

"""The effect of one client's flood of requests on another client, which sends one at a time."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import scene
from benchmarks.figure import Figure

GROUP = "beside a client that sends 100,000 requests without waiting"
_IDLE = 2_000
_FLOOD = """
import select, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.setblocking(False)
line, count = sys.argv[2].encode() + b"\\n", int(sys.argv[3])
left, answered = memoryview(line * count), 0
while answered < count:
    reads, writes, _ = select.select([peer], [peer] if left else [], [])
    if reads:
        answered += peer.recv(1 << 20).count(b"\\n")
    if writes:
        left = left[peer.send(left[:1 << 20]):]
"""


def measure(requests: int) -> list[Figure]:
    """The quiet client's median wait for `get_last_session`, alone and during the flood."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as quiet:
        quiet.call("create_session", agent="ai-engineer")
        line = scene.request("get_last_session", agent="ai-engineer")
        alone = [_wait(quiet, line) for _ in range(_IDLE)]
        flood = _flooding(daemon.socket, line, requests)
        beside = []
        while flood.poll() is None:
            beside.append(_wait(quiet, line))
        if flood.returncode:
            raise RuntimeError("the flood was not answered")
    return [
        Figure(
            GROUP,
            "median wait",
            statistics.median(beside) / 1e3,
            "µs",
            "alone",
            statistics.median(alone) / 1e3,
            10,
        ),
        Figure(GROUP, "longest wait", max(beside) / 1e6, "ms"),
    ]


def _flooding(path: Path, line: bytes, requests: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _FLOOD, str(path), line.decode().strip(), str(requests)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _wait(connection: scene.Connection, line: bytes) -> int:
    began = time.perf_counter_ns()
    connection.ask(line)
    return time.perf_counter_ns() - began

"""Storms: many clients at once, which ask much, read nothing and leave. Memory and descriptors come back."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not Path("/proc/self/fd").is_dir(), reason="memory and descriptors are read from /proc"
    ),
]
WITHIN = 120.0
"""Seconds without any progress: thousands of appends to one session wait for the disk one after the other."""


def line(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


def batch(count: int, method: str, **params: Any) -> bytes:
    calls = [{"jsonrpc": "2.0", "id": number, "method": method, "params": params} for number in range(count)]
    return json.dumps(calls).encode() + b"\n"


def push(peer: socket.socket, data: bytes) -> None:
    """Send as much as the daemon takes while nobody reads its answers."""
    peer.settimeout(0.05)
    with contextlib.suppress(OSError):
        peer.sendall(data)


def many_requests(peer: socket.socket, number: int) -> None:
    push(peer, line("append_message", agent="a", session_id="s-1", role="user", content="x" * 500) * 50)
    push(peer, line("list_sessions", limit=500) * 50)


def answers_nobody_reads(peer: socket.socket, number: int) -> None:
    push(peer, line("get_session", session_id="long") * 200)


def batches_nobody_reads(peer: socket.socket, number: int) -> None:
    push(peer, batch(100, "get_session", session_id="long") * 3)


def lines_without_end(peer: socket.socket, number: int) -> None:
    push(peer, b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 2_000_000)


def subscriptions(peer: socket.socket, number: int) -> None:
    push(peer, b"".join(line("subscribe", session_id=f"s-{part % 20}") for part in range(200)))


def rubbish(peer: socket.socket, number: int) -> None:
    push(peer, (b"\xff" * 100 + b"\n") * 2_000)


def streams(peer: socket.socket, number: int) -> None:
    push(peer, line("possess", agent="a", message="x" * 1_000, stream=True) * 20)


STORMS = [
    *(many_requests, answers_nobody_reads, batches_nobody_reads, lines_without_end),
    *(subscriptions, rubbish, streams),
]


class Process:
    """What the system says of the daemon."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))

    def memory(self) -> int:
        """Resident, in KiB."""
        status = (self._folder / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def until(met: Callable[[], bool], what: Callable[[], object]) -> None:
    """`what` is what has come of it; as long as that changes, there is time."""
    reached, deadline = what(), time.monotonic() + WITHIN
    while not met():
        if reached != (now := what()):
            reached, deadline = now, time.monotonic() + WITHIN
        assert time.monotonic() < deadline, reached
        time.sleep(0.05)  # polling: nothing tells of another process's memory


def storm(daemon: Any, blow: Callable[[socket.socket, int], None], clients: int) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(clients):
            try:
                peer = stack.enter_context(daemon.connect())
            except OSError:
                break  # as many as it takes
            blow(peer, number)
        # Somebody who asks one thing meanwhile is answered.
        assert daemon.call("status")["pid"] == daemon.pid


@pytest.fixture
def busy(daemon):
    """A daemon that has done everything once."""
    daemon.call("create_session", agent="a", session_id="long")
    for _ in range(40):
        daemon.call("append_message", agent="a", session_id="long", role="user", content="y" * 10_000)
    for number in range(20):
        daemon.call("create_session", agent="a", session_id=f"s-{number}")
    for blow in STORMS:
        storm(daemon, blow, 1)
    daemon.call("search_sessions", query="y")
    return daemon


def weather(daemon: Any, clients: int, storms: int = 1) -> None:
    def is_over() -> bool:
        """Requests go on when who sent them is gone, and keep its connection."""
        status = daemon.call("status")
        return (status["connections"], status["turns"]) == (1, 0)

    def handled() -> object:
        status = daemon.call("status")
        messages = sum(each["message_count"] for each in daemon.call("list_sessions", limit=50)["sessions"])
        return status["connections"], status["turns"], messages

    process = Process(daemon.pid)
    until(is_over, handled)
    descriptors, memory = process.descriptors(), process.memory()
    for _ in range(storms):
        for blow in STORMS:
            storm(daemon, blow, clients)
            until(is_over, handled)
            until(lambda: process.descriptors() <= descriptors + 2, process.descriptors)
    until(lambda: process.memory() <= 1.5 * memory, lambda: f"{process.memory()} KiB of {memory} before")
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0


def test_after_storms_memory_and_descriptors_are_what_they_were(busy):
    weather(busy, 25)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_after_an_hour_of_storms(busy):
    weather(busy, 120, 10)

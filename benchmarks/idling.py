"""The idle daemon: memory, and wake-ups of its threads."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks import scene
from benchmarks.figure import Figure

GROUP = "the daemon, idle"


def measure(seconds: float) -> list[Figure]:
    """A daemon that has answered every kind of request once, and is then idle."""
    with scene.daemon() as daemon:
        started = resident(daemon.pid)
        with scene.connected(daemon.socket) as connection:
            connection.call("possess", agent="ai-engineer", message="build a parser")
            connection.call("get_last_session", agent="ai-engineer")
            connection.call("list_sessions")
            connection.call("list_agents")
            connection.call("status")
        worked = resident(daemon.pid)
        figures = [
            Figure(GROUP, "resident memory, just started", started, "MiB", aim=38),
            Figure(GROUP, "resident memory, after its first work", worked, "MiB", aim=38),
        ]
        if Path("/proc/self/task").is_dir():
            woken = wake_ups(daemon.pid, seconds)
            figures.append(Figure(GROUP, f"wake-ups in {seconds:g} s", woken, "", aim=0))
        return figures


def resident(pid: int) -> float:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(shown.stdout) / 1024


def wake_ups(pid: int, seconds: float) -> int:
    """How often its threads went to sleep again, which is how often they had been woken."""
    _settled(pid)
    before = _sleeps(pid)
    time.sleep(seconds)  # the measurement itself: what happens while nothing does
    return _sleeps(pid) - before


def _settled(pid: int) -> None:
    """Wait until the last work is done: a connection closed, a line logged, the index half a second later."""
    for _ in range(10):
        before = _sleeps(pid)
        time.sleep(1)
        if _sleeps(pid) == before:
            return


def _sleeps(pid: int) -> int:
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count

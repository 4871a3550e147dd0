"""Processes that belong to a test run, known by a mark in the environment they began with.

``python survivors.py MARK`` waits for the end of its stdin, which is the end of the test process in
whatever way that comes, and kills what still has the mark. It imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_LEAVE_WITHIN = 5.0


def kill(mark: str) -> None:
    """End whatever has the mark, and what that starts meanwhile; gives up after some seconds."""
    deadline = time.monotonic() + _LEAVE_WITHIN
    while (pids := marked(mark)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)  # polling: they are nobody's children, so there is nothing to wait on


def remaining(mark: str) -> list[int]:
    """Who has the mark; whoever is on its way out gets some seconds to leave."""
    deadline = time.monotonic() + _LEAVE_WITHIN
    while (pids := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)  # polling: as above
    return pids


def marked(mark: str) -> list[int]:
    """The processes of this user that began with the mark in their environment."""
    return [pid for pid, environment in _processes() if mark in environment]


def _processes() -> Iterator[tuple[int, str]]:
    """Every process with its environment: /proc on Linux, else ps."""
    if Path("/proc/self/environ").exists():
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "environ").read_bytes().decode(errors="replace")
    else:
        command = ["ps", "eww", "-xo", "pid=,command="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            pid, _, text = line.strip().partition(" ")
            yield int(pid), text


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill(sys.argv[1])

"""System figures of this process and of its disk: memory, open files, threads, free space."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path
from time import monotonic

from port42_protocol.messages.daemon import Vitals

MAX_AGE = 1.0
"""Seconds."""


class ProcessStats:
    """The figures of this process and of the disk of `home`, at most a second old: they cost 50 µs."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._vitals = take(home)
        self._taken = monotonic()

    def recent(self) -> Vitals:
        if monotonic() - self._taken > MAX_AGE:
            self._vitals, self._taken = take(self._home), monotonic()
        return self._vitals


def take(home: Path) -> Vitals:
    """As it is now; what this system does not tell is None. Waits for nothing."""
    resident, peak, threads = _memory_and_threads()
    return Vitals(
        resident_bytes=resident,
        peak_bytes=peak,
        open_files=_open_files(),
        threads=threads,
        disk_free_bytes=_free(home),
    )


def _memory_and_threads() -> tuple[int | None, int, int]:
    """Resident memory, its peak, and threads: proc(5), or what getrusage(2) and Python know elsewhere."""
    try:
        text = Path("/proc/self/status").read_bytes()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None, peak if sys.platform == "darwin" else peak * 1024, threading.active_count()
    fields = dict(line.split(b":", 1) for line in text.splitlines())
    kibibytes = (int(fields[name].split()[0]) * 1024 for name in (b"VmRSS", b"VmHWM"))
    return next(kibibytes), next(kibibytes), int(fields[b"Threads"])


def _open_files() -> int | None:
    try:
        return len(os.listdir("/dev/fd")) - 1  # noqa: PTH208  # one of them is the listing itself
    except OSError:
        return None


def _free(home: Path) -> int | None:
    """Bytes that this user may still write where the sessions are."""
    try:
        disk = os.statvfs(home)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize

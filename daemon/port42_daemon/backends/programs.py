"""Limits and tracks the programs that back ends run, so that none outlives the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

from port42_daemon import durable
from port42_daemon.backends.base import Event, Notice
from port42_daemon.backends.process import Child

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Turns that have a program at work. Others wait: some agents take 300 MB each."""
_MARK = "PORT42_RUN"
_RECORD_BYTES = 64 * 1024
_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what a killed daemon left."""


class Programs:
    """State of all programs. `umask` is the user's: the daemon's own is for its own files.

    The file `record` names the process groups that run, and a word that only their environment has. It is
    there while there are any: after a kill the next daemon ends them. Without it, nothing is noted.
    """

    def __init__(self, umask: int = 0o022, record: Path | None = None, at_once: int = AT_ONCE) -> None:
        self._umask = umask
        self._record = record
        self._at_once = at_once
        self._slots = asyncio.Semaphore(at_once)
        self._mark = secrets.token_hex(8)
        self._groups: set[int] = set()

    async def limited(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events of a turn that has a program at work, once there is room for it."""
        if self._slots.locked():
            yield Notice(f"{self._at_once} turns have a program at work; this one waits for the end of one")
        async with self._slots, aclosing(events):
            async for event in events:
                yield event

    async def start(
        self, argv: list[str], cwd: str | None, env_pass: Iterable[str], environ: Mapping[str, str]
    ) -> Child:
        mark = {} if self._record is None else {_MARK: self._mark}
        child = await Child.start(
            argv,
            cwd=cwd,
            env_pass=env_pass,
            environ=environ,
            umask=self._umask,
            mark=mark,
            on_stop=self._stopped,
        )
        self._groups.add(child.pid)
        self._note()
        return child

    def end_leftovers(self) -> None:
        """End what a daemon left that was killed. Blocks, for a second where there is something."""
        if self._record is None:
            return
        try:
            mark, *groups = durable.read_file(self._record, _RECORD_BYTES).decode().split()
            self._record.unlink()
            recorded = set(map(int, groups))
        except (OSError, ValueError):  # none was left, or something else stands there
            return
        left = _marked(mark) & recorded
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in left:
                log.warning("⚠ process group %d of a turn that was cut off: %s", group, number.name)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
            until = time.monotonic() + _GRACE
            while left and number is signal.SIGTERM and time.monotonic() < until:
                time.sleep(0.05)
                left = _marked(mark) & recorded

    def _stopped(self, group: int) -> None:
        self._groups.discard(group)
        self._note()

    def _note(self) -> None:
        if self._record is None:
            return
        try:
            if not self._groups:
                self._record.unlink(missing_ok=True)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self._record, flags, 0o600), "w") as file:
                file.write(" ".join([self._mark, *map(str, self._groups)]))
        except OSError as error:
            log.warning("⚠ which programs run could not be noted: %s", error.strerror)


def _marked(mark: str) -> set[int]:
    """The process groups with a member that has `mark` in its environment."""
    groups: set[int] = set()
    for pid in _linux(mark) if sys.platform == "linux" else _bsd(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            groups.add(os.getpgid(pid))
    return groups


def _linux(mark: str) -> Iterator[int]:
    wanted = f"{_MARK}={mark}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):  # gone, or another user's
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    yield int(process.name)


def _bsd(mark: str) -> Iterator[int]:
    with contextlib.suppress(OSError):
        shown = subprocess.run(["/bin/ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False)
        for line in shown.stdout.decode(errors="replace").splitlines():
            if f"{_MARK}={mark}" in line.split():
                yield int(line.split()[0])

"""Starts the programs that back ends run, limits them and notes them, so that none outlives the daemon."""

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
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from functools import cache, partial
from pathlib import Path
from typing import Any

from port42_daemon import durable
from port42_daemon.backends.base import Event, Notice
from port42_daemon.backends.process import (
    CannotStart,
    Child,
    environment,
    find_program,
    may_be_secret,
    missing,
)
from port42_protocol.counting import count
from port42_protocol.messages.turns import DEPTH_VARIABLE

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Turns that have a program at work. Others wait: some agents take 300 MB each."""
_MARK = "PORT42_RUN"
_PR_SET_PDEATHSIG = 1
_RECORD_BYTES = 64 * 1024
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
            yield Notice(f"{count(self._at_once, 'turn')} with a program at work; this one waits for an end")
        async with self._slots, aclosing(events):
            async for event in events:
                yield event

    async def start(
        self,
        argv: list[str],
        cwd: str | None = None,
        env_pass: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
        depth: int = 0,
    ) -> Child:
        """Start `argv` without a shell, in `cwd` or the person's home. Raises `CannotStart`.

        `depth` is the turn's. What the program itself asks of an agent is one deeper.

        By subprocess, because uvloop leaves copies of the pipes open in the child.
        """
        folder = cwd or environ.get("HOME") or str(Path.home())
        # Asked before, because the same FileNotFoundError says either.
        try:
            is_folder = Path(folder).is_dir()  # noqa: ASYNC240 - one stat, as the start itself does many
        except OSError as error:  # a forbidden folder, or a name that is too long
            reason = (error.strerror or "the system refuses it").lower()
            raise CannotStart(f"the working folder {folder[:200]} cannot be looked at: {reason}") from None
        if not is_folder:
            moved = "; where it was moved or renamed, `port42 fork` from its new place goes on there"
            raise CannotStart(f"the working folder {folder} is not there{moved if cwd else ''}")
        if (why := missing(argv[0], environ, folder)) is not None:
            raise CannotStart(why)
        passed = tuple(env_pass)
        mark = {DEPTH_VARIABLE: str(depth)}
        if self._record is not None:
            mark[_MARK] = self._mark
        record = self._open_record()
        try:
            # From the loop's own thread, which lives as long as the daemon: PDEATHSIG is about the thread.
            process = subprocess.Popen(  # noqa: ASYNC220  # as long as a fork takes
                [find_program(argv[0], environ, folder) or argv[0], *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                env=environment(environ, passed) | mark,
                start_new_session=True,
                umask=self._umask,
                preexec_fn=partial(_before_exec, _prctl(), os.getpid(), record),  # noqa: PLW1509 - system calls only
            )
        except (OSError, ValueError) as error:
            self._note()
            why = error.strerror if isinstance(error, OSError) else "an argument holds a NUL"
            raise CannotStart(f"{argv[0]} could not be started: {why}", "crashed") from None
        finally:
            if record is not None:
                os.close(record)
        secrets_passed = [environ[name] for name in passed if name in environ and may_be_secret(name)]
        child = Child(process, secrets_passed, self._stopped)
        self._groups.add(child.pid)
        try:
            await child.connect()
        except BaseException:
            await child.stop()
            raise
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

    def _open_record(self) -> int | None:
        """For a program that starts, which adds its group: a kill of the daemon may come at any moment."""
        if self._record is None:
            return None
        try:
            if not self._groups:
                self._write(self._record)
            return os.open(self._record, os.O_WRONLY | os.O_APPEND | _FLAGS)
        except OSError as error:
            log.warning("⚠ which programs run could not be noted: %s", error.strerror)
            return None

    def _note(self) -> None:
        """Of programs that ended."""
        if self._record is None:
            return
        try:
            if self._groups:
                self._write(self._record)
            else:
                self._record.unlink(missing_ok=True)
        except OSError as error:
            log.warning("⚠ which programs run could not be noted: %s", error.strerror)

    def _write(self, record: Path) -> None:
        aside = record.with_name(f".{record.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS
        with os.fdopen(os.open(aside, flags, 0o600), "w") as file:
            file.write(" ".join([self._mark, *map(str, self._groups)]))
        aside.replace(record)


def _marked(mark: str) -> set[int]:
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


@cache
def _prctl() -> Callable[[int, int], Any] | None:
    """Looked up before a fork."""
    if sys.platform != "linux":
        return None
    import ctypes  # only daemons that start programs need it

    return ctypes.CDLL(None).prctl


def _before_exec(prctl: Callable[[int, int], Any] | None, daemon: int, record: int | None) -> None:
    """Runs in the child: adds its group to the record; on Linux it will be killed when the daemon dies."""
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != daemon:  # it died in between
            os._exit(1)
    if record is not None:
        with contextlib.suppress(OSError):
            os.write(record, b" %d" % os.getpid())

"""A back end's running program, read to its end and ended with its group; where programs are found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from port42_daemon.backends.base import FailureKind
from port42_protocol.errors import FrameTooLarge
from port42_protocol.framing import LineFramer

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes a line may have: agents send whole files in one."""

PLAIN = frozenset(["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"])
PLAIN_PREFIXES = ("LC_", "XDG_", "SSL_CERT_")

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]{0,50}[ -/]{0,5}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\))")
_RING = 64 * 1024
_BUFFER = 256 * 1024
_PATIENCE = 3.0
# A grandchild in the background may hold stdout open long after the child is gone.
_LINGER = 1.0
_RESTART = "if it is on yours, `port42 daemon restart` makes it known"


_NO_SECRETS = ("_HOME", "_MODEL", "_OFFLINE", "_PATH", "_REGION", "_TYPE", "_WORKSPACE")
"""How names of variables end that say what to use, or where: errors are about their values."""


class CannotStart(Exception):
    """The program or its working folder is not there, or the system refuses it. One line for a person."""

    def __init__(self, message: str, kind: FailureKind = "missing") -> None:
        super().__init__(message)
        self.kind = kind


class Silent(Exception):
    """The child said nothing, on stdout or stderr, for as long as it was given."""


class LineTooLong(Exception):
    """A line of more than `LINE_LIMIT` bytes."""


def environment(given: Mapping[str, str], env_pass: Iterable[str]) -> dict[str, str]:
    passed = set(env_pass)
    return {
        name: value
        for name, value in given.items()
        if name in PLAIN or name in passed or name.startswith(PLAIN_PREFIXES)
    }


def may_be_secret(name: str) -> bool:
    """Whether the variable's value is kept out of errors: a URL may have a password in it."""
    return not name.endswith(_NO_SECRETS)


def find_program(argv0: str, given: Mapping[str, str], cwd: str | None = None) -> str | None:
    """The executable that `argv0` names: a path (a relative one from `cwd`), or a name on PATH."""
    if os.sep in argv0:
        return shutil.which(os.path.join(cwd or "", argv0))
    return shutil.which(argv0, path=given.get("PATH", os.defpath))


def missing(argv0: str, given: Mapping[str, str], cwd: str | None = None) -> str | None:
    """Why `argv0` cannot be started, in a line with what to do; None where nothing is missing."""
    program = find_program(argv0, given, cwd)
    if program is not None:
        return _missing_interpreter(argv0, program, given)
    if os.sep not in argv0:
        return _not_on_path(argv0)
    path = Path(cwd or "", argv0)
    if path.is_dir():
        return f"{argv0} is a folder, not a program"
    why = "may not be run: chmod +x makes it a program" if path.is_file() else "is not there"
    return f"{argv0} {why}"


def _missing_interpreter(argv0: str, program: str, given: Mapping[str, str]) -> str | None:
    try:
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            line = (file.read(256) or b"").partition(b"\n")[0]
    except OSError:
        return None  # it may be run and not read
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode(errors="replace").split(" ")
    interpreter, *arguments = [word for word in words if word] or [""]
    if not Path(interpreter).exists():
        ending = " (its first line ends in CRLF)" if interpreter.endswith("\r") else ""
        return f"{argv0} needs {interpreter.strip()}, which is not there{ending}"
    if Path(interpreter).name == "env":
        # env -S FOO=1 node --flag
        needed = next((word.strip() for word in arguments if word[0] != "-" and "=" not in word), "")
        if needed and find_program(needed, given) is None:
            return f"{argv0} needs {needed}: {_not_on_path(needed)}"
    return None


def _not_on_path(name: str) -> str:
    return f"{name} is not on the daemon's PATH; {_RESTART}"


def _for_the_loop(pipe: IO[bytes], mode: Literal["rb", "wb"]) -> IO[bytes]:
    """A copy of `pipe` as the loop takes it over.

    uvloop closes a pipe's descriptor twice, itself and through the file object: the second close meets
    whatever file another thread has opened in between. There, this object must not close.
    """
    closed_by_the_object = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    return open(os.dup(pipe.fileno()), mode, buffering=0, closefd=closed_by_the_object)


class _Pipe(asyncio.Protocol):
    """One of a child's three pipes.

    Not asyncio's streams: their `wait` does not return before everybody has closed the pipes (CPython
    3.11 to 3.13), and a grandchild may keep them for ever.
    """

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self.transport: Any = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.writable.set()

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing() and not self.closed.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.writable.set()
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class Child:
    """One running process, made by `Programs.start`; whoever asked for it calls `stop`, however it went.

    `on_stop` is called with its process id after `stop`.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], secrets: Iterable[str], on_stop: Callable[[int], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        # Longest first: one key may begin with another. Short values are words, not keys.
        self._secrets: list[str] = []
        self.hide(secrets)
        self._on_stop = on_stop
        self._now = loop.time
        self._last_output = loop.time()
        self._reading = self._dropping = False
        self._output, self._ring = bytearray(), bytearray()
        self._changed = asyncio.Event()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._stdin = _Pipe(self._take_output)
        self._stdout = _Pipe(self._take_output)
        self._stderr = _Pipe(self._take_stderr)
        for end in (self._exited, self._stdout.closed):
            end.add_done_callback(lambda _: self._changed.set())
        self._exited.add_done_callback(lambda _: self._stdin.writable.set())
        threading.Thread(target=self._wait, args=(loop,), daemon=True).start()

    async def connect(self) -> None:
        """Begin to read and to write. Called once, before anything else."""
        loop = asyncio.get_running_loop()
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise TypeError("the process was started without pipes")
        with stdin, stdout, stderr:
            await loop.connect_write_pipe(lambda: self._stdin, _for_the_loop(stdin, "wb"))
            await loop.connect_read_pipe(lambda: self._stdout, _for_the_loop(stdout, "rb"))
            await loop.connect_read_pipe(lambda: self._stderr, _for_the_loop(stderr, "rb"))

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own: not every system, nor every Linux, has a descriptor to wait for."""
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._notice_exit)

    def _notice_exit(self) -> None:
        if not self._exited.done():  # it is cancelled when the loop is closed meanwhile
            self._exited.set_result(None)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended; what it started may still run until `stop`."""
        return self._exited.done()

    @property
    def running(self) -> bool:
        """Whether the system still has the process: the event loop hears of its end later."""
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if sys.platform == "darwin":
                os.kill(self.pid, 0)
                return True
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        return False

    async def write(self, data: bytes) -> None:
        """Put `data` on stdin, waiting while the child does not take it; one that closed it is let be."""
        if self._stdin.usable:
            self._stdin.transport.write(data)
            await self._stdin.writable.wait()

    def close_stdin(self) -> None:
        if self._stdin.usable:
            self._stdin.transport.close()

    async def chunks(self, silence: float | None = None) -> AsyncGenerator[bytes, None]:
        """Chunks of stdout until its end. Raises `Silent` after `silence` seconds of nothing.

        One reader at a time.
        """
        self._reading = True
        try:
            while data := await self._read(silence):
                yield data
        finally:
            self._reading = False

    async def lines(self, silence: float | None = None) -> AsyncGenerator[bytes, None]:
        """Whole lines of stdout without their ends, blank ones left out. Raises `Silent`, `LineTooLong`."""
        framer = LineFramer(LINE_LIMIT)
        try:
            async with contextlib.aclosing(self.chunks(silence)) as chunks:
                async for data in chunks:
                    framer.feed(data)
                    while (line := framer.next_line()) is not None:
                        yield line
            framer.end()
            while (line := framer.next_line()) is not None:
                yield line
        except FrameTooLarge:
            raise LineTooLong from None

    async def settle(self, grace: float) -> int | None:
        """Wait up to `grace` seconds for the child to exit, discarding output that is not read.

        Returns its exit status (negative: the signal), or None when it goes on.
        """
        self._discard_unread()
        await asyncio.wait([self._exited], timeout=grace)
        return self._process.returncode if self.ended else None

    async def stop(self) -> None:
        """End the whole group: INT, 3 s, TERM, 3 s, KILL. Harmless when it has ended already.

        Cancelled meanwhile, it kills at once, and still leaves nothing behind.
        """
        ending = asyncio.create_task(self._end())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)
            await asyncio.wait([ending])
            raise

    def stderr(self) -> str:
        return self.without_secrets(self._ring.decode("utf-8", "replace"))

    def clear_stderr(self) -> None:
        self._ring.clear()

    def hide(self, secrets: Iterable[str]) -> None:
        """Have `without_secrets` leave these out, too."""
        known = [*self._secrets, *(each for each in secrets if len(each) >= 8)]
        self._secrets = sorted(known, key=len, reverse=True)

    def without_secrets(self, text: str) -> str:
        """`text` without the secrets that were handed to the child, colours and control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return "".join(letter for letter in _ESCAPE.sub("", text) if letter.isprintable() or letter in "\n\t")

    def _take_stderr(self, data: bytes) -> None:
        self._last_output = self._now()
        self._ring += data
        del self._ring[:-_RING]

    def _take_output(self, data: bytes) -> None:
        self._last_output = self._now()
        if not self._dropping:
            self._output += data
            self._changed.set()
            if len(self._output) > _BUFFER:
                self._stdout.transport.pause_reading()

    def _emptied(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        if self._stdout.usable:
            self._stdout.transport.resume_reading()
        return data

    def _discard_unread(self) -> None:
        if not self._reading:
            self._dropping = True
            self._emptied()

    async def _read(self, silence: float | None) -> bytes:
        """Some bytes of stdout, none at its end. Raises `Silent`."""
        while not self._output and not self._stdout.closed.done():
            until = None if silence is None else self._last_output + silence
            if self.ended:
                until = self._now() + _LINGER
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                if self.ended:
                    break
                # Output on stderr may have come since.
                if silence is not None and self._now() >= self._last_output + silence:
                    raise Silent from None
        return self._emptied()

    async def _end(self) -> None:
        # Drained to the last: an agent that blocks on a full pipe could not save its session.
        self._discard_unread()
        for number in (signal.SIGINT, signal.SIGTERM):
            if not self.ended:
                self._signal(number)
                await asyncio.wait([self._exited], timeout=_PATIENCE)
        # Also when the leader has exited: its group may have further processes.
        self._signal(signal.SIGKILL)
        await self._exited
        # The rest of stderr, with a time limit: a grandchild outside the group may hold it open for ever.
        await asyncio.wait([self._stderr.closed], timeout=0.2)
        for pipe in (self._stdin, self._stdout, self._stderr):
            if pipe.transport is not None:
                pipe.transport.close()
        self._on_stop(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        # The group's id cannot be taken by another while it has a member; an empty one is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

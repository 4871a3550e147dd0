"""A back end's child process: in its own process group, read to the end of its output, always ended.

- The environment is minimal: what every program needs (`PLAIN`) and what the configuration passes on.
- stderr is drained from the first byte to a bounded ring. Values passed on by `env_pass`, which may be keys,
  are blotted out of it.
- The child leads its own process group, so that what it started ends with it. Where Linux runs, it is killed
  when the daemon dies in any way. It has the descriptors 0, 1 and 2 and no other, which is why it is started
  by subprocess: uvloop leaves copies of its pipes open in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from port42_daemon.backends.base import FailureKind
from port42_protocol.errors import FrameTooLarge
from port42_protocol.framing import LineFramer

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes a line may have: agents send whole files in one."""

PLAIN = frozenset(["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"])
PLAIN_PREFIXES = ("LC_", "XDG_", "SSL_CERT_")

_RING = 64 * 1024
_BUFFER = 256 * 1024
_PATIENCE = 3.0
# A grandchild in the background may hold stdout open long after the child is gone.
_LINGER = 1.0
_PR_SET_PDEATHSIG = 1
_RESTART = "if it is on yours, `port42 daemon restart` makes it known"


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


def find_program(argv0: str, given: Mapping[str, str], cwd: str | None = None) -> str | None:
    """The executable that `argv0` names: a path (a relative one from `cwd`), or a name on PATH."""
    if os.sep in argv0:
        return shutil.which(os.path.join(cwd or "", argv0))
    return shutil.which(argv0, path=given.get("PATH", os.defpath))


def missing(argv0: str, given: Mapping[str, str], cwd: str | None = None) -> str | None:
    """Why `argv0` cannot be started, in a line with what to do; None where nothing is missing."""
    program = find_program(argv0, given, cwd)
    if program is None and os.sep in argv0:
        path = Path(cwd or "", argv0)
        if path.is_dir():
            return f"{argv0} is a folder, not a program"
        return (
            f"{argv0} {'may not be run: chmod +x makes it a program' if path.is_file() else 'is not there'}"
        )
    if program is None:
        return _not_on_path(argv0)
    return _missing_interpreter(argv0, program, given)


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
    return f"{name} is not on the daemon's PATH ({_RESTART})"


class _Pipes:
    """A child's stdout in a buffer with a limit, its stderr in a ring, and its end.

    Not asyncio's streams: their `wait` does not return before everybody has closed the pipes (CPython
    3.11 to 3.13), and a grandchild may keep them for ever.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.last_output = loop.time()
        self.out = bytearray()
        self.ring = bytearray()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.lost: tuple[asyncio.Future[None], ...] = tuple(loop.create_future() for _ in range(3))
        self.changed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.dropping = False
        self.stdin: asyncio.WriteTransport | None = None
        self.stdout: asyncio.ReadTransport | None = None
        self.stderr: asyncio.ReadTransport | None = None

    async def connect(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self.stdin, _ = await loop.connect_write_pipe(
            lambda: _Pipe(self, 0), _given_away(process.stdin, "wb")
        )
        self.stdout, _ = await loop.connect_read_pipe(
            lambda: _Pipe(self, 1), _given_away(process.stdout, "rb")
        )
        self.stderr, _ = await loop.connect_read_pipe(
            lambda: _Pipe(self, 2), _given_away(process.stderr, "rb")
        )

    def received(self, fd: int, data: bytes) -> None:
        self.last_output = self.now()
        if fd == 2:
            self.ring += data
            del self.ring[:-_RING]
        elif not self.dropping:
            self.out += data
            self.changed.set()
            if len(self.out) > _BUFFER and self.stdout is not None:
                self.stdout.pause_reading()

    def take(self) -> bytes:
        """Take the buffer; reading continues."""
        data = bytes(self.out)
        self.out.clear()
        if self.stdout is not None and not self.lost[1].done() and not self.stdout.is_closing():
            self.stdout.resume_reading()
        return data

    def drop(self) -> None:
        """Throw away what comes on stdout from now on."""
        self.dropping = True
        self.take()

    def end(self, future: asyncio.Future[None]) -> None:
        """A pipe is closed, or the process has ended."""
        if not future.done():
            future.set_result(None)
        self.writable.set()
        self.changed.set()

    def close(self) -> None:
        for transport in (self.stdin, self.stdout, self.stderr):
            if transport is not None:
                transport.close()


def _given_away(pipe: IO[bytes] | None, mode: Literal["rb", "wb"]) -> IO[bytes]:
    """`pipe` as the loop takes it over.

    uvloop closes a pipe's descriptor twice, itself and through the file object: the second close meets
    whatever file another thread has opened in between. There, this object must not close.
    """
    if pipe is None:
        raise TypeError("the process was started without this pipe")
    with pipe:
        descriptor = os.dup(pipe.fileno())
    closed_by_the_object = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    return open(descriptor, mode, buffering=0, closefd=closed_by_the_object)


class _Pipe(asyncio.Protocol):
    """The protocol of one of the three."""

    def __init__(self, pipes: _Pipes, fd: int) -> None:
        self._pipes = pipes
        self._fd = fd

    def data_received(self, data: bytes) -> None:
        self._pipes.received(self._fd, data)

    def connection_lost(self, _: Exception | None) -> None:
        self._pipes.end(self._pipes.lost[self._fd])

    def pause_writing(self) -> None:
        self._pipes.writable.clear()

    def resume_writing(self) -> None:
        self._pipes.writable.set()


class Child:
    """One running process. Make it with `start`; whoever made it calls `stop`, however it went."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pipes: _Pipes,
        secrets: Iterable[str],
        on_stop: Callable[[int], None] | None,
    ) -> None:
        self._process = process
        self._pipes = pipes
        # Longest first: one key may begin with another. Short values are words, not keys.
        self._secrets = sorted((each for each in secrets if len(each) >= 8), key=len, reverse=True)
        self._reading = False
        self._on_stop = on_stop

    @classmethod
    async def start(  # noqa: PLR0913  # what a process has
        cls,
        argv: list[str],
        *,
        cwd: str | None = None,
        env_pass: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        umask: int = 0o022,
        mark: Mapping[str, str] | None = None,
        on_stop: Callable[[int], None] | None = None,
    ) -> Child:
        """Start `argv` without a shell, in `cwd` or the person's home. Raises `CannotStart`.

        `environ` stands in for `os.environ`; `mark` is added to the child's, so that it can be told apart.
        `on_stop` is called with its process id after `stop`.
        """
        given = os.environ if environ is None else environ
        passed = tuple(env_pass)
        folder = cwd or given.get("HOME") or str(Path.home())
        # Asked before, because the same FileNotFoundError says either.
        try:
            is_folder = Path(folder).is_dir()  # noqa: ASYNC240 - one stat, as the start itself does many
        except OSError as error:  # a forbidden folder, or a name that is too long
            reason = (error.strerror or "the system refuses it").lower()
            raise CannotStart(f"the working folder {folder[:200]} cannot be looked at: {reason}") from None
        if not is_folder:
            moved = "; where it was moved or renamed, `port42 fork` from its new place goes on there"
            raise CannotStart(f"the working folder {folder} is not there{moved if cwd else ''}")
        if (why := missing(argv[0], given, folder)) is not None:
            raise CannotStart(why)
        program = find_program(argv[0], given, folder) or argv[0]
        try:
            # From the loop's own thread, which lives as long as the daemon: PDEATHSIG is about the thread.
            process = subprocess.Popen(  # noqa: ASYNC220  # as long as a fork takes
                [program, *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=folder,
                env={**environment(given, passed), **(mark or {})},
                start_new_session=True,
                umask=umask,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "an argument holds a NUL"
            raise CannotStart(f"{argv[0]} could not be started: {why}", "crashed") from None
        pipes = _Pipes()
        child = cls(process, pipes, [given[name] for name in passed if name in given], on_stop)
        loop = asyncio.get_running_loop()
        threading.Thread(target=child._wait, args=(loop,), daemon=True).start()
        try:
            await pipes.connect(process)
        except BaseException:
            await child.stop()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            raise
        return child

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own: not every system, nor every Linux, has a descriptor to wait for."""
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._pipes.end, self._pipes.exited)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended; what it started may still run until `stop`."""
        return self._pipes.exited.done()

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
        stdin = self._stdin()
        if stdin is not None:
            stdin.write(data)
            await self._pipes.writable.wait()

    def close_stdin(self) -> None:
        stdin = self._stdin()
        if stdin is not None:
            stdin.close()

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

        Gives its exit status (negative: the signal), or None when it goes on.
        """
        if not self._reading:
            self._pipes.drop()
        await asyncio.wait([self._pipes.exited], timeout=grace)
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
        """The last of what came on stderr, secrets blotted out."""
        return self.blot(self._pipes.ring.decode("utf-8", "replace"))

    def clear_stderr(self) -> None:
        self._pipes.ring.clear()

    def blot(self, text: str) -> str:
        """`text` without the values that `env_pass` handed to the child, and without control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")

    async def _read(self, silence: float | None) -> bytes:
        """Some bytes of stdout, none at its end. Raises `Silent`."""
        pipes = self._pipes
        while not pipes.out and not pipes.lost[1].done():
            until = None if silence is None else pipes.last_output + silence
            if self.ended:
                until = pipes.now() + _LINGER
            pipes.changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await pipes.changed.wait()
            except TimeoutError:
                if self.ended:
                    break
                # stderr may have had something to say since.
                if silence is not None and pipes.now() >= pipes.last_output + silence:
                    raise Silent from None
        return pipes.take()

    async def _end(self) -> None:
        pipes = self._pipes
        # Drained to the last: an agent that blocks on a full pipe could not save its session.
        if not self._reading:
            pipes.drop()
        for each in (signal.SIGINT, signal.SIGTERM):
            if not self.ended:
                self._signal(each)
                await asyncio.wait([pipes.exited], timeout=_PATIENCE)
        # Also when the leader has exited: its group may have further processes.
        self._signal(signal.SIGKILL)
        await pipes.exited
        # The rest of stderr, with a time limit: a grandchild outside the group may hold it open for ever.
        await asyncio.wait([pipes.lost[2]], timeout=0.2)
        pipes.close()
        if self._on_stop is not None:
            self._on_stop(self.pid)

    def _stdin(self) -> asyncio.WriteTransport | None:
        """The transport of stdin, None when it is closed."""
        stdin = self._pipes.stdin
        return None if stdin is None or stdin.is_closing() or self._pipes.lost[0].done() else stdin

    def _signal(self, number: signal.Signals) -> None:
        # The group's id cannot be taken by another while it has a member; an empty one is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


@cache
def _end_with_parent() -> Callable[[], Any] | None:
    """Runs between fork and exec: on Linux the child will be killed when the daemon dies."""
    if sys.platform != "linux":
        return None
    import ctypes  # only daemons that start programs need it

    prctl = ctypes.CDLL(None).prctl
    daemon = os.getpid()

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != daemon:  # it died in between
            os._exit(1)

    return end_with_parent

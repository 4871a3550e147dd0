"""A child process that answers: started in its own group, heard to its end, and never left behind.

Shared by the `command` and `acp` back ends:

    child = await Child.start(argv, cwd=turn.cwd, env_pass=config.env_pass)   # or CannotStart
    try:
        await child.write(prompt)
        child.close_stdin()
        async for line in child.lines(silence=600):                          # or Silent, LineTooLong
            ...
        status = await child.settle(3)
    finally:
        await child.stop()                                                   # INT, TERM, KILL

- The environment is minimal: what every program needs (`PLAIN`) and what the configuration passes on.
- stderr is drained from the first byte to a bounded ring. `last_words` is its last line, for a failure;
  values passed on by `env_pass` are blotted out of it, as they may be keys.
- The child leads its own process group, so that what it started ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import cast

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
    """What of the environment `given` a child gets to see."""
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


class _Pipes(asyncio.SubprocessProtocol):
    """What the loop tells of a child: its stdout in a buffer with a limit, its stderr in a ring, its end.

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.last_output = self.now()
        if fd == 2:
            self.ring += data
            del self.ring[:-_RING]
        elif not self.dropping:
            self.out += data
            self.changed.set()
            if len(self.out) > _BUFFER:
                self._stdout().pause_reading()

    def take(self) -> bytes:
        """What is in the buffer; the child may write on."""
        data = bytes(self.out)
        self.out.clear()
        if not self.lost[1].done() and not self._stdout().is_closing():
            self._stdout().resume_reading()
        return data

    def drop(self) -> None:
        """Throw away what comes on stdout from now on."""
        self.dropping = True
        self.take()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        if not self.lost[fd].done():
            self.lost[fd].set_result(None)
        self.writable.set()
        self.changed.set()

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)
        self.writable.set()
        self.changed.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def _stdout(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self.transport.get_pipe_transport(1))


class Child:
    """One running process. Make it with `start`; whoever made it calls `stop`, however it went."""

    def __init__(self, pipes: _Pipes, secrets: Iterable[str]) -> None:
        self._pipes = pipes
        # Longest first: one key may begin with another. Short values are words, not keys.
        self._secrets = sorted((each for each in secrets if len(each) >= 8), key=len, reverse=True)
        self._reading = False

    @classmethod
    async def start(
        cls,
        argv: list[str],
        *,
        cwd: str | None = None,
        env_pass: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `argv` without a shell; `environ` stands in for `os.environ`. Raises `CannotStart`."""
        given = os.environ if environ is None else environ
        passed = tuple(env_pass)
        # Asked before, because the same FileNotFoundError says either.
        if cwd is not None and not Path(cwd).is_dir():  # noqa: ASYNC240 - one stat, as the start itself does many
            raise CannotStart(f"the working folder {cwd} is not there")
        program = find_program(argv[0], given, cwd)
        if program is None:
            raise CannotStart(f"{argv[0]} is not on the daemon's PATH")
        if any("\0" in argument for argument in argv):  # uvloop would cut it there
            raise CannotStart(f"{argv[0]} could not be started: an argument holds a NUL", "crashed")
        try:
            _, pipes = await asyncio.get_running_loop().subprocess_exec(
                _Pipes,
                program,
                *argv[1:],
                cwd=cwd,
                env=environment(given, passed),
                start_new_session=True,
            )
        except OSError as error:
            raise CannotStart(f"{argv[0]} could not be started: {error.strerror}", "crashed") from None
        return cls(pipes, [given[name] for name in passed if name in given])

    @property
    def pid(self) -> int:
        return self._pipes.transport.get_pid()

    @property
    def ended(self) -> bool:
        return self._pipes.exited.done()

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
        """What comes on stdout, as it comes, to its end. Raises `Silent` after `silence` seconds of nothing.

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
        """Let the child end by itself for `grace` seconds, what nobody reads of its output thrown away.

        Gives its exit status (negative: the signal), or None when it goes on.
        """
        if not self._reading:
            self._pipes.drop()
        await asyncio.wait([self._pipes.exited], timeout=grace)
        return self._pipes.transport.get_returncode() if self.ended else None

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

    def last_words(self) -> str | None:
        """The last line of stderr with something on it, at most 300 characters, secrets blotted out."""
        last = next((line.strip() for line in reversed(self.stderr().splitlines()) if line.strip()), None)
        return last[:300] if last else None

    def stderr(self) -> str:
        """The last of what came on stderr, secrets blotted out."""
        return self.blot(self._pipes.ring.decode("utf-8", "replace"))

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
        # Also when the leader went by itself: what it left in its group has nobody to answer to.
        self._signal(signal.SIGKILL)
        await pipes.exited
        # Its last words; not for long, as a grandchild that left the group may hold stderr for ever.
        await asyncio.wait([pipes.lost[2]], timeout=0.2)
        pipes.transport.close()

    def _stdin(self) -> asyncio.WriteTransport | None:
        """Where to write, unless the child closed it or we did."""
        stdin = cast("asyncio.WriteTransport | None", self._pipes.transport.get_pipe_transport(0))
        return None if stdin is None or stdin.is_closing() or self._pipes.lost[0].done() else stdin

    def _signal(self, number: signal.Signals) -> None:
        # The group's id cannot be taken by another while it has a member; an empty one is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

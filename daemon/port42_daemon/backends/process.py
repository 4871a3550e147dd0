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
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path

from port42_daemon.backends.interface import FailureKind
from port42_protocol.errors import FrameTooLarge
from port42_protocol.framing import LineFramer

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes a line may have: agents send whole files in one."""

PLAIN = frozenset(["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"])
PLAIN_PREFIXES = ("LC_", "XDG_", "SSL_CERT_")

_RING = 64 * 1024
_CHUNK = 64 * 1024
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


class Child:
    """One running process. Make it with `start`; whoever made it calls `stop`, however it went."""

    def __init__(self, process: Process, secrets: Iterable[str]) -> None:
        self._process = process
        # Longest first: one key may begin with another. Short values are words, not keys.
        self._secrets = sorted((each for each in secrets if len(each) >= 8), key=len, reverse=True)
        self._ring = bytearray()
        self._reading = False
        self._heard = asyncio.get_running_loop().time()
        self._stderr = asyncio.create_task(self._drain_stderr())
        self._patience: asyncio.Timeout | None = None
        self._exit = asyncio.create_task(process.wait())
        self._exit.add_done_callback(self._hurry)

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
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *argv[1:],
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=cwd,
                env=environment(given, passed),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "an argument holds a NUL"
            raise CannotStart(f"{argv[0]} could not be started: {why}", "crashed") from None
        return cls(process, [given[name] for name in passed if name in given])

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended; what it started may still run until `stop`."""
        return self._exit.done()

    async def write(self, data: bytes) -> None:
        """Put `data` on stdin, waiting while the child does not take it; one that closed it is let be."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    def close_stdin(self) -> None:
        """Say that nothing more comes; what was written is still delivered."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        self._process.stdin.close()

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
        """Let the child end by itself for `grace` seconds, its output thrown away.

        Gives its exit status (negative: the signal), or None when it goes on.
        """
        drain = asyncio.create_task(self._throw_away())
        try:
            await asyncio.wait([self._exit], timeout=grace)
        finally:
            drain.cancel()
            await asyncio.wait([drain])
        return self._process.returncode if self._exit.done() else None

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
        lines = self._ring.decode("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), None)
        return self.blot(last)[:300] if last else None

    def stderr(self) -> str:
        """The last of what came on stderr, secrets blotted out."""
        return self.blot(self._ring.decode("utf-8", "replace"))

    def blot(self, text: str) -> str:
        """`text` without the values that `env_pass` handed to the child, and on one screen."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")

    async def _read(self, silence: float | None) -> bytes:
        """Some bytes of stdout, none at its end. Raises `Silent`."""
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        loop = asyncio.get_running_loop()
        while True:
            until = None if silence is None else self._heard + silence
            if self._exit.done():
                until = loop.time() + _LINGER
            try:
                async with asyncio.timeout_at(until) as self._patience:
                    data = await self._process.stdout.read(_CHUNK)
                self._heard = loop.time()
                return data
            except TimeoutError:
                if self._exit.done():
                    return b""
                # stderr may have had something to say since.
                if silence is not None and loop.time() >= self._heard + silence:
                    raise Silent from None
            finally:
                self._patience = None

    def _hurry(self, _: asyncio.Task[int]) -> None:
        """The process ended: whoever reads waits for the end of its output only a moment longer."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + _LINGER)

    async def _throw_away(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        while not self._reading and await self._process.stdout.read(_CHUNK):
            pass

    async def _drain_stderr(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - PIPE was asked for
        while data := await self._process.stderr.read(_CHUNK):
            self._heard = asyncio.get_running_loop().time()
            self._ring += data
            del self._ring[:-_RING]

    async def _end(self) -> None:
        # Drained to the last: an agent that blocks on a full pipe could not save its session.
        drain = asyncio.create_task(self._throw_away())
        for each in (signal.SIGINT, signal.SIGTERM):
            if not self._exit.done():
                self._signal(each)
                await asyncio.wait([self._exit], timeout=_PATIENCE)
        # Also when the leader went by itself: what it left in its group has nobody to answer to.
        self._signal(signal.SIGKILL)
        await self._exit
        drain.cancel()
        # A grandchild that left the group may hold stderr open for ever.
        await asyncio.wait([self._stderr], timeout=0.2)
        self._stderr.cancel()
        await asyncio.wait([drain, self._stderr])
        # Closes the pipes, which such a grandchild would also keep.
        self._process._transport.close()  # type: ignore[attr-defined]  # Process has no close

    def _signal(self, number: signal.Signals) -> None:
        # The group's id cannot be taken by another while it has a member; an empty one is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

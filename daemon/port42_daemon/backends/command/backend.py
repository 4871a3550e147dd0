"""Back end `command`: any program, started for each turn; it reads the prompt and prints the reply."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from port42_daemon.backends.base import (
    Ask,
    Done,
    Event,
    Failure,
    Health,
    Notice,
    Started,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.backends.command import template
from port42_daemon.backends.command.parsers import (
    ClaudeParser,
    CodexParser,
    GeminiParser,
    StreamParser,
    TextParser,
)
from port42_daemon.backends.errors import ReplyCheck, failure, lost_session, telling_line
from port42_daemon.backends.process import CannotStart, Child, LineTooLong, Silent, find_program, missing
from port42_daemon.backends.programs import Programs
from port42_daemon.config import CommandBackend

_AFTER_THE_END = 3.0
"""Seconds a program may take to exit (and to save its session) after its last output."""

_REMEMBERED = 1024
_TAIL = 1000
_STREAMS: dict[str, type[StreamParser]] = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "gemini": GeminiParser,
}


@dataclass(frozen=True, slots=True)
class _Run:
    """One start of the program: its argv, what is put on its stdin, and our name for its session."""

    argv: list[str]
    stdin: str
    cwd: str | None
    native_id: str | None = None
    resumed: bool = False


class Command:
    """Runs the program once a turn, or twice when it no longer knows the session it was to resume.

    `environ` stands in for `os.environ`.
    """

    def __init__(
        self,
        config: CommandBackend,
        environ: Mapping[str, str] | None = None,
        programs: Programs | None = None,
    ) -> None:
        self._config = config
        self._programs = programs or Programs()
        self._environ = os.environ if environ is None else environ
        self._totals: dict[str, Usage] = {}

    async def probe(self) -> Health:
        """Whether the program is on the daemon's PATH, and what of its environment is not set there."""
        name = self._config.command[0]
        if (why := missing(name, self._environ)) is not None:
            return Health("missing", why)
        program = find_program(name, self._environ)
        unset = [each for each in self._config.env_pass if each not in self._environ]
        return Health(
            "ready", str(program) + (f" (not set for the daemon: {', '.join(unset)})" if unset else "")
        )

    async def aclose(self) -> None:
        """Does nothing: no process outlives its turn."""

    def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - it cannot ask
        return self._programs.limited(self._run(turn))

    async def _run(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if self._config.resume and turn.native_id:
            answered = False
            async with aclosing(self._attempt(self._resumed(turn))) as events:
                async for event in events:
                    answered = answered or isinstance(event, Text | Thought | Tool)
                    lost = isinstance(event, Done) and event.failure and lost_session(event.failure)
                    if lost and not answered:
                        break
                    yield event
                else:
                    return
            name = Path(self._config.command[0]).name
            yield Notice(f"{name} no longer knows the session; it begins a new one with the transcript")
        async with aclosing(self._attempt(self._fresh(turn))) as events:
            async for event in events:
                yield event

    def _resumed(self, turn: Turn) -> _Run:
        values = {"system": turn.system, "model": turn.model, "native_id": turn.native_id, "cwd": turn.cwd}
        argv = template.argv(self._config.resume or [], values)
        return _Run(argv, turn.message, turn.cwd, turn.native_id, resumed=True)

    def _fresh(self, turn: Turn) -> _Run:
        command = self._config.command
        native = self._config.history == "native" and template.names(command, "native_id")
        native_id = str(uuid.uuid4()) if native else None
        values = {"system": turn.system, "model": turn.model, "native_id": native_id, "cwd": turn.cwd}
        if self._config.history == "none":
            stdin = turn.message
        else:
            stdin = template.transcript(turn, None if template.names(command, "system") else turn.system)
        return _Run(template.argv(command, values), stdin, turn.cwd, native_id)

    async def _attempt(self, run: _Run) -> AsyncGenerator[Event, None]:
        try:
            child = await self._programs.start(run.argv, run.cwd, self._config.env_pass, self._environ)
        except CannotStart as reason:
            yield Done(Failure(reason.kind, str(reason)))
            return
        feeding = asyncio.create_task(_feed(child, run.stdin))
        end, reply = Done(), ReplyCheck()
        try:
            reading = self._text(child, run) if self._config.parser == "text" else self._stream(child, run)
            async with aclosing(reading) as events:
                async for event in events:
                    if isinstance(event, Done):
                        end = event
                    else:
                        for each in reply.take(event):
                            yield each
        except Silent:
            end = Done(Failure("timeout", f"no output for {self._config.timeout:g} s"))
        except LineTooLong:
            end = Done(Failure("crashed", "it sent a line of more than 16 MiB"))
        finally:
            feeding.cancel()
            await child.stop()
        end = reply.end(end, "no answer", child.stderr())
        if end.failure is not None:
            end = Done(Failure(end.failure.kind, child.blot(end.failure.message)), end.stop_reason)
        yield end

    async def _text(self, child: Child, run: _Run) -> AsyncGenerator[Event, None]:
        """All of stdout is the reply, and the exit status says whether it is whole."""
        yield Started(run.native_id)
        parser, tail = TextParser(), ""
        async with aclosing(child.chunks(self._config.timeout)) as chunks:
            async for chunk in chunks:
                for piece in parser.feed(chunk):
                    tail = (tail + piece.text)[-_TAIL:]
                    yield piece
        for piece in parser.feed(b"", last=True):
            yield piece
        status = await child.settle(_AFTER_THE_END)
        # After the end of stdout the reply is complete, whether or not the program exits.
        yield Done(_crash(child, status, None, telling_line(tail)) if status else None)

    async def _stream(self, child: Child, run: _Run) -> AsyncGenerator[Event, None]:
        """Events of each line through the final one, which counts whatever the exit status is."""
        parser = _STREAMS[self._config.parser]()
        native_id = run.native_id
        async with aclosing(child.lines(self._config.timeout)) as lines:
            async for line in lines:
                for event in parser.feed(line):
                    if isinstance(event, Done):
                        await child.settle(_AFTER_THE_END)
                        unsaid = None if event.failure or parser.has_text else parser.last_error
                        yield Done(failure(unsaid), event.stop_reason) if unsaid else event
                        return
                    if isinstance(event, Started):
                        native_id = event.native_id
                        # Only a session that is to be resumed has an id worth keeping.
                        yield event if self._config.history == "native" else Started(None, event.model)
                    elif isinstance(event, Usage) and parser.counts_whole_session:
                        for own in self._own_usage(native_id, event, resumed=run.resumed):
                            yield own
                    else:
                        yield event
        yield Done(_crash(child, await child.settle(_AFTER_THE_END), parser, parser.stray))

    def _own_usage(self, native_id: str | None, total: Usage, *, resumed: bool) -> list[Usage]:
        """This turn's part of a session's total; none when the total before it is not known any more."""
        if native_id is None:
            return [total]
        before = self._totals.pop(native_id, None) if resumed else Usage(0, 0)
        self._totals[native_id] = total
        if len(self._totals) > _REMEMBERED:
            self._totals.pop(next(iter(self._totals)))
        if before is None or before.input_tokens > total.input_tokens:
            return []
        return [Usage(total.input_tokens - before.input_tokens, total.output_tokens - before.output_tokens)]


async def _feed(child: Child, text: str) -> None:
    """Runs concurrently with reading: a program may write before it has read all of its input."""
    await child.write(text.encode("utf-8", "replace"))
    child.close_stdin()


def _crash(child: Child, status: int | None, parser: StreamParser | None, stray: str | None) -> Failure:
    """Why a program ended without completing its reply, from its own error output where there is some.

    `stray` are words on its stdout that may be about it.
    """
    if status is not None and status < 0:
        ended = f"killed by signal {-status}"
    else:
        ended = f"exit status {status}" if status else "no result"
    words = (parser.last_error if parser else None) or telling_line(child.stderr()) or stray
    return failure(f"{words} ({ended})" if words else f"the program ended early ({ended})")

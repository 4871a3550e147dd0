"""Back end `command`: any program, started for each turn; it reads the prompt and prints the reply."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from port42_daemon.backends.base import (
    Ask,
    Done,
    Event,
    Failure,
    Health,
    ModelOffer,
    Notice,
    Started,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.backends.command.claude import ClaudeParser
from port42_daemon.backends.command.codex import CodexParser
from port42_daemon.backends.command.gemini import GeminiParser
from port42_daemon.backends.command.stream import StreamParser, TextParser
from port42_daemon.backends.errors import ReplyCheck, failure, lost_session, telling_line
from port42_daemon.backends.process import CannotStart, Child, LineTooLong, Silent, find_program, missing
from port42_daemon.backends.programs import Programs
from port42_daemon.config import CommandBackend

STREAMS: dict[str, type[StreamParser]] = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "gemini": GeminiParser,
}
_AFTER_THE_END = 3.0
"""Seconds a program may take to exit (and to save its session) after its last output."""

_REMEMBERED = 1024
_TAIL = 1000
_PLACE = re.compile(r"\{(system|model|native_id|cwd)\}")
# An argument that only names something: `{model}`, `--model={model}`.
_ONLY = re.compile(r"(-[\w-]*=)?\{(system|model|native_id|cwd)\}")


class Command:
    """Runs the program once a turn, or twice when it no longer knows the session it was to resume."""

    has_modes = False
    takes_mcp_servers = False

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
        self.tool = config.parser if config.history == "native" and config.parser != "text" else None

    async def probe(self) -> Health:
        name = self._config.command[0]
        if (why := missing(name, self._environ)) is not None:
            return Health("missing", why)
        unset = ", ".join(name for name in self._config.env_pass if name not in self._environ)
        program = find_program(name, self._environ)
        return Health("ready", f"{program}; not set for the daemon: {unset}" if unset else str(program))

    async def models(self) -> ModelOffer:
        return ModelOffer(detail=f"{Path(self._config.command[0]).name} lists no models")

    async def aclose(self) -> None:
        """Does nothing: no process outlives its turn."""

    def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - it cannot ask
        return self._programs.limited(self._run(turn))

    async def _run(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if self._config.resume and turn.native_id:
            answered = False
            resumed = self._attempt(self._config.resume, turn, turn.message, turn.native_id)
            async with aclosing(resumed) as events:
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
        command = self._config.command
        stdin = turn.message
        if self._config.history != "none":
            stdin = transcript(turn, None if _names(command, "system") else turn.system)
        native = self._config.history == "native" and _names(command, "native_id")
        native_id = str(uuid.uuid4()) if native else None
        async with aclosing(self._attempt(command, turn, stdin, native_id)) as events:
            async for event in events:
                yield event

    async def _attempt(
        self, command: Sequence[str], turn: Turn, stdin: str, native_id: str | None
    ) -> AsyncGenerator[Event, None]:
        """One start of the program. `native_id` is our name for its session."""
        values = {"system": turn.system, "model": turn.model, "native_id": native_id, "cwd": turn.cwd}
        try:
            child = await self._programs.start(
                argv(command, values), turn.cwd, self._config.env_pass, self._environ, turn.depth
            )
        except CannotStart as reason:
            yield Done(Failure(reason.kind, str(reason)))
            return
        feeding = asyncio.create_task(_feed(child, stdin))
        end, reply = Done(), ReplyCheck()
        if self._config.parser == "text":
            reading = self._text(child, native_id)
        else:
            resumed = native_id is not None and native_id == turn.native_id
            reading = self._stream(child, native_id, resumed=resumed)
        try:
            async with aclosing(reading) as events:
                async for event in events:
                    if isinstance(event, Done):
                        end = event
                    else:
                        for passed_on in reply.take(event):
                            yield passed_on
        except Silent:
            end = Done(Failure("timeout", f"no output for {self._config.timeout:g} s"))
        except LineTooLong:
            end = Done(Failure("crashed", "it sent a line of more than 16 MiB"))
        finally:
            feeding.cancel()
            await child.stop()
        end = reply.end(end, "no answer", child.stderr())
        if end.failure is not None:
            end = Done(Failure(end.failure.kind, child.without_secrets(end.failure.message)), end.stop_reason)
        yield end

    async def _text(self, child: Child, native_id: str | None) -> AsyncGenerator[Event, None]:
        """All of stdout is the reply, and the exit status says whether it is whole."""
        yield Started(native_id)
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

    async def _stream(
        self, child: Child, native_id: str | None, *, resumed: bool
    ) -> AsyncGenerator[Event, None]:
        """Events of each line through the final one, which counts whatever the exit status is."""
        parser = STREAMS[self._config.parser]()
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
                        if own := self._own_usage(native_id, event, resumed=resumed):
                            yield own
                    else:
                        yield event
        status = await child.settle(_AFTER_THE_END)
        whole = status == 0 and parser.ends_with_exit and not parser.last_error
        yield Done(None if whole else _crash(child, status, parser, parser.stray))

    def _own_usage(self, native_id: str | None, total: Usage, *, resumed: bool) -> Usage | None:
        """This turn's part of a session's total; None when the total before it is not known any more."""
        if native_id is None:
            return total
        before = self._totals.pop(native_id, None) if resumed else Usage(0, 0)
        self._totals[native_id] = total
        if len(self._totals) > _REMEMBERED:
            self._totals.pop(next(iter(self._totals)))
        if before is None or before.input_tokens > total.input_tokens:
            return None
        return Usage(total.input_tokens - before.input_tokens, total.output_tokens - before.output_tokens)


def argv(template: Sequence[str], values: Mapping[str, str | None]) -> list[str]:
    """`template` with its places filled from `values`.

    An argument that only names something unset is left out with the flag before it. What is filled in
    is not looked at again: a persona may well speak of ``{model}``.
    """
    filled: list[str] = []
    for argument in template:
        only = _ONLY.fullmatch(argument)
        if only is not None and not values.get(only[2]):
            if only[1] is None and len(filled) > 1 and filled[-1].startswith("-"):
                filled.pop()
            continue
        filled.append(_PLACE.sub(lambda name: values.get(name[1]) or "", argument))
    return filled


def transcript(turn: Turn, system: str | None) -> str:
    parts = [system] if system else []
    messages = [message for message in turn.history if isinstance(message.content, str)]
    if messages:
        parts.append("The conversation so far:")
        parts += [f"[{message.role}]\n{message.content}" for message in messages]
        parts.append("The message to answer now:")
    return "\n\n".join([*parts, turn.message])


def _names(template: Sequence[str], name: str) -> bool:
    return any(f"{{{name}}}" in argument for argument in template)


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

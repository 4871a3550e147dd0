"""Tools whose sessions are captured, and the file of one that was restored."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

from port42_cli.plain_text import advice, age, size, typed
from port42_cli.views.parts import Column, Field, Fields, Line, Part, Span, Table, number
from port42_protocol.counting import count
from port42_protocol.messages.capture import CapturedTool, Restored


def tools(known: Sequence[CapturedTool], now: datetime) -> Iterator[Part]:
    """A row for each tool that is captured or found here, then the problems and what to type.

    Scripts get a line for each tool: name, on or off, agent, folder, files that were read, sessions, bytes of
    these files and of the originals that are kept, files still to be read, the last read, the problem.
    """
    here = [tool for tool in known if tool.on or tool.available]
    read: Column[CapturedTool] = Column(
        "LAST READ", lambda tool: age(tool.last_read, now) if tool.last_read else "–", "dim", expendable=2
    )
    if here:
        yield Table(here, (_NAME, _STATE, _AGENT, _SESSIONS, _SIZE, read, _PATH))
    yield Table(known, piped=_cells)
    for tool in known:
        if tool.problem:
            yield Line([(f"{tool.name}: ", "yellow"), (advice(tool.problem), "")], fit="fold")
        for folder, agent in tool.folders.items():
            yield Line([(f"{tool.name}: sessions in {folder} are those of @{agent}", "dim")], fit="fold")
    if missing := [tool.name for tool in known if tool not in here]:
        yield Line([(f"Not found here: {', '.join(missing)}", "dim")], fit="fold")
    if any(tool.available and not tool.on for tool in known):
        yield Line([(f"To capture what is off: {typed('capture on')}", "dim")])


def restored(file: Restored, cwd: str | None) -> list[Part]:
    """The file, and the tool's own command that continues the session, with the folder to type it in."""
    resume = shlex.join(file.resume) if file.resume else None
    generation = f"{file.generation} of {file.generations}" if file.generations > 1 else None
    fields = (
        Field("file", file.path),
        Field("bytes", file.bytes, "size", size(file.bytes)),
        Field("generation", generation, "generation"),
        Field("resume", resume, "to continue"),
        Field("folder", cwd if resume else None, "in the folder"),
    )
    return [Fields(fields)]


def _cells(tool: CapturedTool) -> tuple[object, ...]:
    facts = (tool.name, "on" if tool.on else "off", tool.agent, tool.path, tool.sources, tool.sessions)
    return (*facts, tool.source_bytes, tool.original_bytes, tool.waiting, tool.last_read, tool.problem)


def _short(path: str) -> str:
    """With ``~`` for this person's home folder."""
    home = os.path.expanduser("~")  # noqa: PTH111 - pathlib costs 3 ms
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path


def _state(tool: CapturedTool) -> list[Span]:
    if not tool.on:
        return [("off", "dim")]
    if not tool.scanned:
        return [("on, looking for files", "yellow")]
    if tool.waiting:
        return [(f"on, {count(tool.waiting, 'file')} to read", "yellow")]
    return [("on", "green")]


_NAME: Column[CapturedTool] = Column("TOOL", lambda tool: tool.name, "bold")
_STATE: Column[CapturedTool] = Column("STATE", _state)
_AGENT: Column[CapturedTool] = Column("AGENT", lambda tool: f"@{tool.agent}", "cyan")
_SESSIONS: Column[CapturedTool] = number("SESSIONS", lambda tool: tool.sessions, expendable=1)
_SIZE: Column[CapturedTool] = Column(
    "SIZE", lambda tool: size(tool.source_bytes) if tool.sources else "–", right=True, expendable=3
)
_PATH: Column[CapturedTool] = Column("FOLDER", lambda tool: _short(tool.path), fit="ellipsis", expendable=4)

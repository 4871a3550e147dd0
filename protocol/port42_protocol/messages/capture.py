"""Requests and results about capture: what other tools write is read into sessions as they write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.types import AgentName, CaptureTool, Folder, Folders, SessionId
from port42_protocol.request import Request

Generation = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]


class CapturedTool(Struct, frozen=True):
    """A tool whose sessions can be captured. Sizes are bytes.

    `path` is the folder that is read, or would be; `available`: it exists. The sessions are, or would be,
    those of `agent`, or in a folder of `folders` (or one below it) of the agent named there.

    `sources` are the files that were read, also where the tool has deleted them since, `source_bytes` what
    they had then; `waiting` ones have something to be read. Until its folder is `scanned`, when it is on,
    there may be more of which nothing is known. `sessions` are those captured. `original_bytes` are what the
    kept copies of the sources take.
    """

    name: str
    on: bool
    agent: str
    path: str
    folders: dict[str, str]
    available: bool
    sources: int
    sessions: int
    source_bytes: int
    original_bytes: int
    waiting: int
    last_read: str | None
    problem: str | None
    scanned: bool = False


class CaptureStatus(Struct, frozen=True):
    """All tools, on or off, and how their folders are watched.

    `problem` says why by polling, or why none is on: config.toml has been wrong since the daemon's start.
    """

    tools: tuple[CapturedTool, ...]
    watching: Literal["inotify", "polling", "off"]
    problem: str | None


class Restored(Struct, frozen=True):
    """A source that was written back to `path`; `resume` is the command that continues it in its tool.

    A source that its tool wrote anew has several generations: `generation` is the one that was written, of
    `generations`.
    """

    session_id: str
    path: str
    bytes: int
    resume: tuple[str, ...] | None
    generation: int = 1
    generations: int = 1


@dataclass(frozen=True, slots=True)
class GetCapture(Request[CaptureStatus]):
    """Which tools' sessions are captured, and which could be.

    With `count`, the files of tools that are off are counted, up to 10,000 of each, and are its `sources`.
    """

    count: bool = False


@dataclass(frozen=True, slots=True)
class SetCapture(Request[CaptureStatus]):
    """Switch the capture of a tool's sessions on or off in config.toml. What is null stays as it is there.

    Without any setting they are sessions of an agent with the tool's name, read from the tool's own folder.
    """

    name: CaptureTool
    on: bool
    agent: AgentName | None = None
    path: Folder | None = None
    folders: Folders | None = None


@dataclass(frozen=True, slots=True)
class RestoreOriginal(Request[Restored]):
    """Write the source of a captured session back to where its tool looks for it.

    A file that is there already is replaced with `force` only. `generation` counts those that are kept of a
    source that its tool wrote anew, from 1, the oldest; the default is the newest.
    Without `agent`, the session may be damaged, or not here any more.
    """

    session_id: SessionId
    agent: AgentName | None = None
    force: bool = False
    generation: Generation | None = None

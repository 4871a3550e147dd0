"""Requests that take sessions out of Port42 and bring sessions in, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.types import AgentName, Cursor, Folder, SessionId
from port42_protocol.request import Request

ExportFormat = Literal["json", "markdown", "html"]


ImportFormat = Literal["auto", "port42", "claude", "codex", "llm", "aichat", "original"]


# It names a file below `path`, so it is as long as a path may be.
Place = Annotated[
    str, Meta(min_length=1, max_length=8192, description="a next_cursor from an earlier import_sessions")
]


class ExportPage(Struct, frozen=True):
    """The next piece of the text; `redactions` counts, by kind, what was replaced in it.

    `next_cursor` asks for the next piece and is null with the last.
    """

    text: str
    next_cursor: str | None
    redactions: dict[str, int]


class ImportedSession(Struct, frozen=True):
    """One that was brought in (`new`), or had `grown` at its source; `messages` counts those added."""

    session_id: str
    agent: str
    title: str | None
    source: str
    messages: int
    change: Literal["new", "grown"]


class SkippedSource(Struct, frozen=True):
    """What was not brought in, a session or a piece of one, and why. `source` is relative to the path."""

    source: str
    reason: str


class ImportPage(Struct, frozen=True):
    """What became of some of the sources, `done` so far of `total`; `unchanged` were here already.

    `next_cursor` goes on and is null when all are done.
    """

    format: str
    imported: tuple[ImportedSession, ...]
    skipped: tuple[SkippedSource, ...]
    unchanged: int
    done: int
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ExportSession(Request[ExportPage]):
    """A piece of a session as one text; with `redact`, common secrets in it are replaced.

    The pieces of all pages, put together, are the session as it stood when the first was asked for.
    """

    session_id: SessionId
    agent: AgentName | None = None
    format: ExportFormat = "json"
    redact: bool = False
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ImportSessions(Request[ImportPage]):
    """Bring in some of the sessions at `path`, a file or folder that the daemon reads itself.

    `agent` is whose they become; without it those that name an agent (`port42`, `original`) keep theirs.
    With `dry_run` nothing is written.
    """

    path: Folder
    agent: AgentName | None = None
    format: ImportFormat = "auto"
    dry_run: bool = False
    cursor: Place | None = None

"""Requests and results about export and import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from port42_protocol.messages.types import AgentName, Cursor, Folder, SessionId
from port42_protocol.request import Request

ExportFormat = Literal["json", "markdown", "html"]


ImportFormat = Literal[
    "auto", "port42", "claude", "codex", "gemini", "opencode", "copilot", "pi", "aider", "llm", "aichat",
    "chatgpt", "claude-ai", "original",
]  # fmt: skip


# Longer than other cursors: it contains a file's path below `path`.
ImportCursor = Annotated[
    str, Meta(min_length=1, max_length=8192, description="a next_cursor from an earlier import_sessions")
]


class ExportPage(Struct, frozen=True):
    """A piece of the text; `redactions` are the numbers of replaced secrets in it, by kind.

    `next_cursor` requests the next piece and is null with the last.
    """

    text: str
    next_cursor: str | None
    redactions: dict[str, int]


class ImportedSession(Struct, frozen=True):
    """A session that was imported; `messages` is the number of added ones, of all of one `rewritten`.

    `parent` is the session whose sub-agent's session it is.
    """

    session_id: str
    agent: str
    title: str | None
    source: str
    messages: int
    change: Literal["new", "grown", "rewritten"]
    parent: str | UnsetType = UNSET


class SkippedSource(Struct, frozen=True):
    """A session or a part of one that was not imported, and why. `source` is relative to the path."""

    source: str
    reason: str


class ImportPage(Struct, frozen=True):
    """The results for some of the sources, `done` so far of `total`; `unchanged` had nothing new.

    `next_cursor` requests the next page and is null when all are done.
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
    """Get a piece of a session as text; with `redact`, common secrets in it are replaced.

    All pieces joined are the session as it was at the request for the first. Without `activities` there are
    no tool calls, thoughts, plans and permissions in it; `json`, which loses nothing, always has them.
    """

    session_id: SessionId
    agent: AgentName | None = None
    format: ExportFormat = "json"
    redact: bool = False
    cursor: Cursor | None = None
    activities: bool = True


@dataclass(frozen=True, slots=True)
class ImportSessions(Request[ImportPage]):
    """Import sessions from `path`, a file or folder that the daemon reads, a page at a time.

    They become sessions of `agent`; without it, those of formats that name an agent (`port42`, `original`)
    keep theirs. With `dry_run` nothing is written. With `again` sessions that came from there before are
    rewritten: the source as it is read today, then what was added here since; without `path` those whose
    originals capture keeps.
    """

    path: Folder | None = None
    agent: AgentName | None = None
    format: ImportFormat = "auto"
    dry_run: bool = False
    cursor: ImportCursor | None = None
    again: bool = False

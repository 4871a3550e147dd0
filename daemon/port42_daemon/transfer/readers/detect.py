"""Finds the formats and the sources at a path; each source can be read as a session.

A file is recognised by its content, not by its name or first line (of 624 real files of Claude Code 404 began
with a snapshot). Raises `Skipped` only, when nothing can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import aichat, claude, codex, files, llm, original, port42, values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.line_reader import LineReader, read_whole
from port42_protocol.messages.transfer import ImportFormat

_SUFFIXES = {
    "port42": (".json",),
    "claude": (".jsonl",),
    "codex": (".jsonl",),
    "llm": (".db",),
    "aichat": (".yaml", ".yml"),
    "original": (".json",),
}
LINE_READERS: dict[str, type[LineReader]] = {"claude": claude.Reader, "codex": codex.Reader}
"""Formats that are read a line at a time."""
_ALL_SUFFIXES = (".json", ".jsonl", ".db", ".yaml", ".yml")
_HEAD = 64 * 1024
_FIRST_LINES = 30
_FIRST_LINE_BYTES = 1024 * 1024
"""Maximum number of lines that are examined, and of bytes of each."""
_NOT_SESSIONS = frozenset(
    (
        *("agent_sessions.json", "daemon.json", "config.yaml", "roles.yaml"),
        *("history.jsonl", "session_index.jsonl"),
    )
)
"""Files of these programs that have one of the suffixes but are not sessions."""
_FOREIGN = {
    b'"projectHash"': "Gemini CLI",
    b'"chat_messages"': "claude.ai",
    b'"current_node"': "ChatGPT",
    b'"projectID"': "opencode",
}
"""Words in JSON files of programs whose formats are not supported."""
_HINT = f"--format names one of {', '.join(_SUFFIXES)}"
_CODEX_TYPES = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})


class Source(Struct, frozen=True):
    """One session to read: `key` is its position in the order of sources and its name in responses.

    `conversation` is its id in a database; `problem` is the reason why it cannot be read, if known.
    """

    key: str
    format: str
    path: Path
    conversation: str = ""
    problem: str = ""

    def session_id(self, source_id: str) -> str | None:
        """Port42's id where it does not follow from the id at the source."""
        del source_id
        return None

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents'. Raises `Skipped`."""
        path = self.path
        if self.problem:
            raise Skipped(self.problem)
        match self.format:
            case "llm":
                return llm.read(path, self.conversation, limits)
            case "aichat":
                data, modified = files.whole(path, aichat.LIMIT)
                return aichat.read(data, aichat.source_id(path), modified, limits)
            case "original":
                return original.read(files.chunks(path), limits)
            case "port42":
                return port42.read(files.lines(path))
        return read_whole(open_reader(self.format, path, limits), files.lines(path))


def open_reader(
    format_name: str, path: Path, limits: SessionsConfig, saved: bytes | None = None
) -> LineReader:
    """A reader of the file at `path`, which goes on where the one was whose `save` returned `saved`."""
    reader = LINE_READERS[format_name](path.stem, limits, saved)
    reader.take_path(path)
    return reader


def sources(path: Path, wanted: ImportFormat) -> tuple[list[str], list[Source]]:
    """The formats of what is at `path`, and its sources in the order of their keys."""
    if path.name == original.INDEX:
        path = path.parent
    if not path.is_dir():
        name = recognise(path) if wanted == "auto" else wanted
        if name is None:
            raise Skipped(f"no format is recognised; {_HINT}")
        return [name], _of_file(name, path, path.name)
    if wanted in {"auto", "original"} and (path / original.INDEX).exists():
        return ["original"], _indexed(path)
    sources: list[Source] = []
    for key in files.below(path, _ALL_SUFFIXES if wanted == "auto" else _SUFFIXES[wanted]):
        file = path / key
        if file.name in _NOT_SESSIONS:
            continue
        try:
            name = recognise(file) if wanted == "auto" else wanted
            sources += _of_file(name, file, key, in_folder=True) if name else []
        except Skipped as reason:
            if wanted != "llm":  # databases of other programs are not problems
                sources.append(Source(key, "", file, problem=str(reason)))
    formats = sorted({source.format for source in sources if source.format})
    if wanted == "auto" and not formats:
        first = f": {sources[0].key}: {sources[0].problem}" if sources else ""
        raise Skipped(f"no file of a known format is in it{first}; {_HINT}")
    return formats if wanted == "auto" else [wanted], sorted(sources, key=lambda source: source.key)


def _of_file(name: str, path: Path, key: str, *, in_folder: bool = False) -> list[Source]:
    if name != "llm":
        return [Source(key, name, path)]
    prefix = f"{key} " if in_folder else ""  # a folder may have several logs
    return [Source(prefix + row, "llm", path, row) for row in llm.conversations(path)]


def _indexed(path: Path) -> list[Source]:
    index, _ = files.whole(path / original.INDEX, files.LINE_BYTES)
    return [
        Source(key[:256], "original", path / (file or ""), problem="" if file else "its object_id is invalid")
        for key, file in sorted(original.object_paths(index).items())
    ]


def recognise(path: Path) -> str | None:
    """The format of one file; None for one without sessions.

    Raises `Skipped` for a file that cannot be read, and for known formats that are not supported.
    """
    if path.suffix == ".jsonl":
        return _recognise_lines(path)
    with files.opened(path) as file:
        head = file.read(_HEAD)
    if head.startswith(llm.MAGIC):
        return "llm" if llm.is_log(path) else None
    if port42.recognised(head.partition(b"\n")[0]):
        return "port42"
    if path.suffix in {".yaml", ".yml"}:
        return "aichat" if b"model:" in head and b"messages:" in head else None
    is_json = path.suffix == ".json"
    for word, program in _FOREIGN.items():
        if is_json and word in head:
            raise _not_read(program)
    if not is_json or b'"messages"' not in head:
        return None
    return "port42" if b'"format"' in head else "original"


def _recognise_lines(path: Path) -> str | None:
    """Truncated lines, snapshots and summaries may come first."""
    has_objects = has_lines = False
    for line in islice(files.lines(path, _FIRST_LINE_BYTES), _FIRST_LINES):
        has_lines = True
        for entry in _objects(line or b""):
            has_objects = True
            if name := _recognise_entry(entry):
                return name
    if not has_lines:
        return None
    raise Skipped(f"no format is recognised; {_HINT}" if has_objects else "no line of it is JSON")


def _objects(line: bytes) -> list[Mapping[str, Any]]:
    try:
        return [value for value in files.json_values(line.strip(b"\0 \r\n\t")) if isinstance(value, dict)]
    except Skipped:
        return []


def _recognise_entry(entry: Mapping[str, Any]) -> str | None:
    """The format of a file with this entry. Raises `Skipped` for a format that is not supported."""
    kind, message = values.short(entry.get("type")), values.mapping(entry.get("message"))
    old_codex = "record_type" in entry or ("instructions" in entry and "timestamp" in entry)
    if old_codex or ("payload" in entry and kind in _CODEX_TYPES):
        return "codex"
    if kind == "message" and "role" in entry and "content" in entry:
        return "codex"
    if "parts" in message:
        raise _not_read("Qwen Code")
    if kind == "session" and "version" in entry:
        raise _not_read("pi")
    if kind == "session.start":
        raise _not_read("Copilot CLI")
    of_claude = any(name in entry for name in ("sessionId", "leafUuid", "parentUuid", "isSnapshotUpdate"))
    return "claude" if of_claude else None


def _not_read(program: str) -> Skipped:
    return Skipped(f"it is of {program}, whose format is not read; {_HINT}")

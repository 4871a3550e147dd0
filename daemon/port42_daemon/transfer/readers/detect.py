"""Finds the formats and the sources at a path; each source can be read as a session.

A file is recognised by its content, not by its name or first line (of 624 real files of Claude Code 404 began
with a snapshot). Raises `Skipped` only, when nothing can be imported.
"""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import (
    aichat,
    aider,
    chat_exports,
    claude,
    codex,
    copilot,
    files,
    gemini,
    llm,
    opencode,
    opencode_rows,
    original,
    pi,
    port42,
    sqlite_file,
    values,
)
from port42_daemon.transfer.readers.base import NoMessages, ParsedSession, Skipped
from port42_daemon.transfer.readers.line_reader import ENDED_SECONDS, LineReader, read_whole
from port42_daemon.transfer.readers.values import LONE_SURROGATE
from port42_protocol import __version__
from port42_protocol.messages.transfer import ImportFormat
from port42_protocol.messages.types import prepared

_LINES = (".jsonl", ".jsonl" + files.ZSTD)  # as Codex compresses its own after a week
_SUFFIXES = {
    "port42": (".json",),
    "claude": _LINES,
    "codex": _LINES,
    "gemini": (".json", *_LINES),
    "copilot": _LINES,
    "pi": _LINES,
    "opencode": (".db", ".json"),
    "llm": (".db",),
    "aichat": (".yaml", ".yml"),
    "aider": (aider.NAME,),
    "chatgpt": (".json",),
    "claude-ai": (".json",),
    "original": (".json",),
}
LINE_READERS: dict[str, type[LineReader]] = {
    "claude": claude.Reader,
    "codex": codex.Reader,
    "gemini": gemini.Reader,
    "copilot": copilot.Reader,
    "pi": pi.Reader,
}
"""Formats of files that are read a line at a time."""
_READ: dict[str, Callable[[Path, str, SessionsConfig], list[ParsedSession]]] = {
    "llm": llm.read,
    "opencode": opencode.read,
    "chatgpt": chat_exports.read,
    "claude-ai": chat_exports.read,
    "aider": aider.read,
}
"""Formats of files that may have several sessions."""
_DOCUMENTS: dict[str, Callable[[Path, SessionsConfig], list[ParsedSession]]] = {
    "codex": codex.read,
    "gemini": lambda path, limits: gemini.read(files.chunks(path), path, limits),
}
"""Older forms of formats that have a line for each entry today."""
_CONVERSATIONS: dict[str, Callable[[Path], Iterable[tuple[str, str]]]] = {
    "chatgpt": chat_exports.conversations,
    "claude-ai": chat_exports.conversations,
    "aider": aider.conversations,
}
_TITLES: dict[str, Callable[[Path], str | None]] = {
    "codex": codex.title_beside,
    "copilot": copilot.title_beside,
}
"""Of formats that have a session's title in another file."""
_ALL_SUFFIXES = (aider.NAME, ".json", *_LINES, ".db", ".yaml", ".yml")
_HEAD = 64 * 1024
_FIRST_LINES = 30
_FIRST_LINE_BYTES = 1024 * 1024
"""Maximum number of lines that are examined, and of bytes of each."""
_NOT_SESSIONS = frozenset(
    (
        *("agent_sessions.json", "daemon.json", "config.yaml", "roles.yaml"),
        *("history.jsonl", "journal.jsonl", "session_index.jsonl"),
        *("workspace.yaml", "logs.json", "projects.json"),
    )
)
"""Files of these programs that have one of the suffixes but are not sessions."""
_WORDS = {
    "gemini": (b'"projectHash"', b'"messages"'),
    "chatgpt": (b'"mapping"', b'"message"', b'"parent"'),
    "claude-ai": (b'"chat_messages"', b'"uuid"'),
    "port42": (b'"format"', b'"messages"', b'"agent"', b'"client"'),
    "original": (b'"messages"', b'"agent"', b'"id"'),
}
"""Words that JSON documents of these formats have near their beginning, in the order in which they decide."""
_ZIP = b"PK\x03\x04"
_HINT = f"--format names one of {', '.join(_SUFFIXES)}"
_OTHERS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"display", "project"}), "Claude Code's list of what was typed, not a session"),
    (frozenset({"session_id", "ts", "text"}), "Codex's list of what was typed, not a session"),
    (frozenset({"session_id", "subtype"}), "what `claude -p` printed; the session itself is in ~/.claude"),
    (frozenset({"session_id", "model"}), "what `gemini` printed; the session itself is in ~/.gemini"),
    (frozenset({"thread_id", "type"}), "what `codex exec` printed; the session itself is in ~/.codex"),
    (frozenset({"sessionId", "providerData"}), "of CodeBuddy, whose format is not read"),
    (frozenset({"sessionId", "systemPayload"}), "of Qwen Code, whose format is not read"),
    (frozenset({"owner", "title", "version"}), "of Droid, whose format is not read"),
    (frozenset({"step_index", "source"}), "of Antigravity, whose format is not read"),
    (frozenset({"protocol_version", "created_at"}), "of Kimi Code, whose format is not read"),
    (frozenset({"record_type", "payload_type"}), "of Muse Code, whose format is not read"),
    (frozenset({"working_dir", "message_count"}), "of goose, whose format is not read"),
)
"""Fields of entries of other files that programs write, and what these are."""
_OTHER_DOCUMENTS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b'"chatMessages"', b'"sessionId"', b'"startTime"'), "an early version of Copilot CLI"),
    ((b'"requesterUsername"', b'"requests"'), "Copilot in VS Code"),
    ((b'"workspaceDirectory"', b'"history"', b'"sessionId"'), "Continue"),
)
"""Words that JSON documents of other programs have near their beginning, and whose these are."""
_CODEX_TYPES = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})


class Source(Struct, frozen=True):
    """One session to read: `key` is its position in the order of sources and its name in responses.

    `conversation` says which one of the file's it is, `problem` why it cannot be read, if that is known.
    `held` is the temporary file at `path`, if it is one. `version` changes when a conversation does; "" says
    nothing. `time` is the minute of Unix time in which the file was changed last.
    """

    key: str
    format: str
    path: Path
    conversation: str = ""
    problem: str = ""
    held: object = None
    version: str = ""
    time: int = 0

    def location(self) -> bytes:
        """The file, and the conversation in it."""
        return os.fsencode(self.path) + b"\0" + self.conversation.encode()

    def fingerprint(self) -> str:
        """Changes when what `read` returns does, also by another version of Port42; "" where it may not.

        That is so for a file that was changed lately: it may change again within the same tick of its clock.
        """
        try:
            status = self.path.lstat()
        except OSError:
            return ""
        if self.problem or self.held or time.time() - status.st_mtime < ENDED_SECONDS:
            return ""
        signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        beside = _TITLES[self.format](self.path) if self.format in _TITLES else None
        return f"{__version__} {self.format} {self.version or signature} {beside or ''}"

    def session_id(self, source_id: str) -> str | None:
        """Port42's id where it does not follow from the id at the source."""
        del source_id
        return None

    def restorable(self) -> bool:
        """It is there itself."""
        return False

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents'. Raises `Skipped`."""
        path = self.path
        if self.problem:
            raise Skipped(self.problem)
        if self.format in _READ:
            return _READ[self.format](path, self.conversation, limits)
        match self.format:
            case "aichat":
                data, modified = files.whole(path, aichat.LIMIT)
                return aichat.read(data, aichat.source_id(path), modified, limits)
            case "original":
                return original.read(files.chunks(path), limits)
            case "codex" | "gemini" if self._is_document():
                return _DOCUMENTS[self.format](path, limits)
            case "port42":
                return port42.read(files.lines(path))
        reader = open_reader(self.format, path, limits)
        ended = files.quiet_seconds(path) >= ENDED_SECONDS
        try:
            return read_whole(reader, files.lines(path), ended=ended)
        except NoMessages:
            if (problem := other_format(path, self.format)) is not None:
                raise Skipped(problem) from None
            raise

    def _is_document(self) -> bool:
        """Whether a session of a format that has a line for each entry today is one JSON document."""
        if self.path.name.endswith(_LINES):
            return False
        return self.format == "gemini" or codex.is_document(self.path)


def other_format(path: Path, named: str) -> str | None:
    """That the file is of another format than the one that was named, if it is."""
    with suppress(Skipped):
        name = recognise(path, is_named=True)
        return f"it is of {name}, not of {named}" if name not in {None, named} else None
    return None


def can_resume(format_name: str, saved: bytes | None) -> bool:
    """Whether today's reader understands what `save` returned."""
    try:
        if saved is not None:
            msgspec.json.decode(saved, type=prepared(LINE_READERS[format_name].state_type))
    except msgspec.DecodeError:
        return False
    return True


def open_reader(
    format_name: str, path: Path, limits: SessionsConfig, saved: bytes | None = None
) -> LineReader:
    """A reader of the file at `path`, which goes on where the one was whose `save` returned `saved`."""
    reader = LINE_READERS[format_name](files.stem(path), limits, saved)
    reader.take_path(path)
    return reader


def sources(path: Path, wanted: ImportFormat) -> tuple[list[str], list[Source]]:
    """The formats of what is at `path`, and its sources in the order of their keys."""
    if path.name == original.INDEX:
        path = path.parent
    if not path.is_dir():
        return _of_path(path, wanted)
    if wanted in {"auto", "original"} and (path / original.INDEX).exists():
        return ["original"], _indexed(path)
    sources = sorted(_of_folder(path, wanted), key=lambda source: source.key)
    formats = sorted({source.format for source in sources if source.format})
    if not sources and not (wanted == "auto" and files.below(path, _ALL_SUFFIXES)[0]):
        raise Skipped(f"no file is in it whose name ends with {' or '.join(_suffixes(wanted))}")
    if wanted == "auto" and not formats:
        first = f": {sources[0].key}: {sources[0].problem}".removesuffix(f"; {_HINT}") if sources else ""
        raise Skipped(f"no file of a known format is in it{first}; {_HINT}")
    return formats if wanted == "auto" else [wanted], sources


def _of_folder(path: Path, wanted: ImportFormat) -> list[Source]:
    keys, unread = files.below(path, _suffixes(wanted))
    sources = [Source(_shown(key), "", path / key, problem=why) for key, why in unread.items()]
    for key in keys:
        file = path / key
        if file.name in _NOT_SESSIONS or (file.suffix == files.ZSTD and file.with_suffix("").exists()):
            continue
        if LONE_SURROGATE.search(key):
            sources.append(Source(_shown(key), "", file, problem=files.NOT_UTF8))
            continue
        try:
            name = recognise(file) if wanted == "auto" else wanted
            sources += _of_file(name, file, key, in_folder=True) if name else []
        except Skipped as reason:
            if wanted != "llm":  # databases of other programs are not problems
                sources.append(Source(key, "", file, problem=str(reason)))
    return sources


def _suffixes(wanted: ImportFormat) -> tuple[str, ...]:
    return _ALL_SUFFIXES if wanted == "auto" else _SUFFIXES[wanted]


def _shown(key: str) -> str:
    return os.fsencode(key).decode(errors="replace")


def _of_path(path: Path, wanted: ImportFormat) -> tuple[list[str], list[Source]]:
    """Those of a file that a person named."""
    with files.opened(path) as file:
        head = file.read(len(_ZIP))
    if head == _ZIP:
        return _of_zip(path, wanted)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Skipped("it is in UTF-16, and only UTF-8 is read")
    name = recognise(path, is_named=True) if wanted == "auto" else wanted
    if name is None:
        raise Skipped(f"no format is recognised; {_HINT}" if head else "it is empty")
    sources = _of_file(name, path, path.name)
    if not sources:
        raise Skipped("it has no conversations")
    return [name], sources


def sources_of(name: str, path: Path) -> list[Source]:
    """The sources in the file at `path`, of that format."""
    return _of_file(name, path, path.name)


def _of_file(name: str, path: Path, key: str, *, in_folder: bool = False) -> list[Source]:
    # Codex's files have the time of their beginning in their names, and an original may go on after a fork.
    written = 0 if name == "codex" else _written(path)
    if name in _CONVERSATIONS:
        return [
            Source(
                key=f"{key} {number:06}",
                format=name,
                path=path,
                conversation=span,
                problem=problem,
                # Nothing but an append changes aider's file.
                version=span if name == "aider" else "",
                time=written,
            )
            for number, (span, problem) in enumerate(_CONVERSATIONS[name](path), 1)
        ]
    if not _is_database(path):
        version = opencode.version(path) if name == "opencode" and files.is_in_folders(path) else ""
        return [Source(key, name, path, version=version, time=written)]
    prefix = f"{key} " if in_folder else ""  # a folder may have several databases
    if name == "llm":
        rows = sorted(llm.conversations(path).items())
        return [Source(prefix + row, name, path, row, version=version, time=written) for row, version in rows]
    numbered = enumerate(opencode.conversations(path).items(), 1)
    return [
        Source(f"{prefix}{number:06} {row}", name, path, row, version=version, time=written)
        for number, (row, version) in numbered
    ]


def _written(path: Path) -> int:
    """The minute in which the file was changed last; 0 where that cannot be told.

    Files that were copied together, in whichever order, have the same.
    """
    try:
        return int(path.lstat().st_mtime // 60)
    except OSError:
        return 0


def _is_database(path: Path) -> bool:
    with files.opened(path) as file:
        return file.read(len(sqlite_file.MAGIC)) == sqlite_file.MAGIC


def _of_zip(path: Path, wanted: ImportFormat) -> tuple[list[str], list[Source]]:
    """The conversations in what a service sent."""
    sources: list[Source] = []
    with ExitStack() as unused:
        copies = [unused.enter_context(copy) for copy in chat_exports.unpacked(path)]
        for number, copy in enumerate(copies):
            name = recognise(Path(copy.name)) if wanted == "auto" else wanted
            if name in _CONVERSATIONS:
                part = f"{path.name} {number}"
                copied = _of_file(name, Path(copy.name), part)
                sources += [structs.replace(source, held=copy, time=0) for source in copied]
        if not sources:
            raise Skipped("it has no conversations.json of ChatGPT or claude.ai")
        unused.pop_all()
    return sorted({source.format for source in sources}), sources


def _indexed(path: Path) -> list[Source]:
    index, _ = files.whole(path / original.INDEX, files.LINE_BYTES)
    return [
        Source(key[:256], "original", path / (file or ""), problem="" if file else "its object_id is invalid")
        for key, file in sorted(original.object_paths(index).items())
    ]


def recognise(path: Path, *, is_named: bool = False) -> str | None:
    """The format of one file; None for one without sessions.

    `is_named`: a person named the file, so that the end of its name does not matter. Raises `Skipped` for a
    file that cannot be read, and for known formats that are not supported.
    """
    if path.name.endswith(_LINES):
        return _recognise_lines(path)
    with files.opened(path) as file:
        head = file.read(_HEAD).removeprefix(files.BOM)
    if head.startswith(sqlite_file.MAGIC):
        return _recognise_database(path)
    name = _recognise_document(path, head, is_named=is_named)
    if name is None and is_named and _values(files.without_padding(head).partition(b"\n")[0]):
        return _recognise_lines(path)
    return name


def _recognise_document(path: Path, head: bytes, *, is_named: bool) -> str | None:
    if port42.recognised(head.partition(b"\n")[0]):
        return "port42"
    if path.suffix in {".yaml", ".yml"}:
        return "aichat" if b"model:" in head and b"messages:" in head else None
    if head.lstrip().startswith(aider.HEADING):
        return "aider"
    return _recognise_json(path, head) if path.suffix == ".json" or is_named else None


def _recognise_json(path: Path, head: bytes) -> str | None:
    """Many programs have a list of ``messages``: the other words decide."""
    if b'"projectID"' in head and (opencode.EXPORT.match(head) or path.parent.parent.name == "session"):
        return "opencode"
    if codex.DOCUMENT.match(head):
        return "codex"
    for name, words in _WORDS.items():
        # Parts of messages are opencode's, without what is in all of its exports.
        if all(word in head for word in words) and not (name == "original" and b'"parts"' in head):
            return name
    for words, program in _OTHER_DOCUMENTS:
        if all(word in head for word in words):
            raise Skipped(f"it is of {program}, whose format is not read")
    return None


def _recognise_database(path: Path) -> str | None:
    try:
        with llm.Log.opened(path) as database:
            if database.has_responses or database.has_turns:
                return "llm"
            return "opencode" if opencode_rows.is_ours(database) else None
    except Skipped:
        return None


def _recognise_lines(path: Path) -> str | None:
    """Truncated lines, snapshots and summaries may come first."""
    has_values = has_lines = has_long = False
    for limit in (_FIRST_LINE_BYTES, files.LINE_BYTES):
        for line in islice(files.lines(path, limit), _FIRST_LINES):
            has_lines = True
            has_long = has_long or line is None
            for value in _values(line or b""):
                has_values = has_values or isinstance(value, dict | list)
                if isinstance(value, dict) and (name := _recognise_entry(value)):
                    return name
        if not has_long:
            break
    if not has_lines:
        return None
    raise Skipped(f"no format is recognised; {_HINT}" if has_values else "no line of it is JSON")


def _values(line: bytes) -> list[Any]:
    whole: list[Any] = []
    with suppress(Skipped):
        for value in files.json_values(files.without_padding(line)):
            whole.append(value)  # noqa: PERF402  # those before one that is damaged count
    return whole


def _recognise_entry(entry: Mapping[str, Any]) -> str | None:
    """The format of a file with this entry. Raises `Skipped` for a format that is not supported."""
    kind, message = values.short(entry.get("type")) or "", values.mapping(entry.get("message"))
    if "parts" in message:
        raise Skipped("it is of Qwen Code, whose format is not read")
    if "role" in entry and message and not kind:
        raise Skipped("it is of Cursor, whose format is not read")
    for fields, what in _OTHERS:
        is_both = "session_id" in fields and "sessionId" in entry  # newer transcripts have both names
        if fields <= entry.keys() and not is_both:
            raise Skipped(f"it is {what}")
    if _is_of_codex(entry, kind):
        return "codex"
    if "projectHash" in entry:
        return "gemini"
    # Before December 2025 pi's messages had no ids.
    if kind == "message" and "role" in message and ("parentId" in entry or "id" not in entry):
        return "pi"
    if "." in kind and "data" in entry and ("parentId" in entry or kind == "session.start"):
        return "copilot"
    return "claude" if _is_of_claude(entry, kind, message) else None


def _is_of_codex(entry: Mapping[str, Any], kind: str) -> bool:
    old = entry.get("record_type") == "state" or ("instructions" in entry and "timestamp" in entry)
    is_item = kind == "message" and "role" in entry and isinstance(entry.get("content"), list)
    return old or is_item or ("payload" in entry and kind in _CODEX_TYPES)


def _is_of_claude(entry: Mapping[str, Any], kind: str, message: Mapping[str, Any]) -> bool:
    if any(name in entry for name in ("leafUuid", "parentUuid", "isSnapshotUpdate")):
        return True
    # Other programs that keep a part of such a file leave out ids.
    is_message = kind in {"user", "assistant"} and "content" in message and "timestamp" in entry
    return is_message or (kind != "" and "sessionId" in entry)

"""The format of a path and its sources in order, each of which can be read to a session.

Only `Skipped` (nothing at the path can be imported) and `TooMany` leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port42_daemon.transfer.readers import aichat, claude, codex, files, llm, original, port42
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_protocol.messages.transfer import ImportFormat

_SUFFIXES = {
    "port42": (".json",),
    "claude": (".jsonl",),
    "codex": (".jsonl",),
    "llm": (".db",),
    "aichat": (".yaml", ".yml"),
    "original": (".json",),
}
_ALL_SUFFIXES = (".json", ".jsonl", ".db", ".yaml", ".yml")
_RECOGNISED = 1000
"""Files of a folder that are opened to recognise its format."""
_HEAD = 64 * 1024
_NOT_SESSIONS = frozenset(
    {"agent_sessions.json", "daemon.json", "history.jsonl", "config.yaml", "roles.yaml"}
)
"""Files of these programs that have one of the suffixes and are no sessions."""


@dataclass(frozen=True, slots=True)
class Source:
    """One session to read: `key` orders it among the others and is its name in answers.

    `conversation` is its id within a database. `path` is None where an index names no file.
    """

    key: str
    format: str
    path: Path | None
    conversation: str = ""

    def read(self) -> ParsedSession:
        """Raises `Skipped`."""
        path = self.path
        if path is None:
            raise Skipped("its object_id is not one")
        match self.format:
            case "claude":
                return claude.read(files.lines(path), path.stem)
            case "codex":
                return codex.read(files.lines(path), path.stem)
            case "llm":
                return llm.read(path, self.conversation)
            case "aichat":
                data = files.whole(path, aichat.LIMIT)
                return aichat.read(data, aichat.source_id(path), files.modified(path))
            case "original":
                return original.read(files.chunks(path))
            case _:
                return port42.read(files.lines(path))


def sources(path: Path, wanted: ImportFormat) -> tuple[str, list[Source]]:
    """The format of what is at `path`, and its sources in the order of their keys."""
    if path.name == original.INDEX:
        path = path.parent
    if not path.is_dir():
        name = _recognise(path) if wanted == "auto" else wanted
        if name is None:
            raise Skipped("no format is recognised; name one")
        return name, _of_file(name, path, path.name)
    if wanted in {"auto", "original"} and (path / original.INDEX).exists():
        paths = sorted(original.object_paths(files.whole(path / original.INDEX, files.LINE_BYTES)).items())
        return "original", [
            Source(key[:256], "original", path / file if file else None) for key, file in paths
        ]
    name = _recognise_folder(path) if wanted == "auto" else wanted
    found: list[Source] = []
    for file in _candidates(path, _SUFFIXES[name]):
        try:
            found += _of_file(name, path / file, file)
        except Skipped:
            continue  # another program's database
    return name, sorted(found, key=lambda source: source.key)


def _candidates(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    names = files.below(folder, suffixes)
    return [name for name in names if name.rpartition("/")[2] not in _NOT_SESSIONS]


def _recognise_folder(path: Path) -> str:
    for file in _candidates(path, _ALL_SUFFIXES)[:_RECOGNISED]:
        with suppress(Skipped):
            if name := _recognise(path / file):
                return name
    raise Skipped("no file of a known format is in it")


def _recognise(path: Path) -> str | None:
    """The format of one file, by its name and its beginning. Raises `Skipped` where it cannot be read."""
    with files.opened(path) as file:
        head = file.read(_HEAD)
    first = head.partition(b"\n")[0]
    if head.startswith(llm.MAGIC):
        return "llm" if _is_llm_log(path) else None
    if port42.recognised(first):
        return "port42"
    if path.suffix == ".json" and b'"messages"' in head:
        return "port42" if b'"format"' in head else "original"
    if path.suffix in {".yaml", ".yml"} and b"model:" in head and b"messages:" in head:
        return "aichat"
    return _recognise_entry(first) if path.suffix == ".jsonl" else None


def _is_llm_log(path: Path) -> bool:
    """Whether a SQLite database is one of llm's: other programs keep theirs in one, and so do we."""
    try:
        llm.conversations(path)
    except Skipped:
        return False
    return True


def _recognise_entry(line: bytes) -> str | None:
    try:
        entry: Any = files.json_value(line)
    except Skipped:
        return None
    if not isinstance(entry, Mapping):
        return None
    if codex.recognised(entry):
        return "codex"
    return "claude" if claude.recognised(entry) else None


def _of_file(name: str, path: Path, key: str) -> list[Source]:
    if name == "llm":
        return [Source(row, "llm", path, row) for row in llm.conversations(path)]
    return [Source(key, name, path)]

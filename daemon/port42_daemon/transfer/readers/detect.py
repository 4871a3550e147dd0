"""Which format a path is in, and its sources in order, each of which can be read to a session.

`Skipped` (there is nothing to be had at the path) and `TooMany` are the only exceptions that leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from port42_daemon.transfer.readers import aichat, claude, codex, files, llm, original, port42
from port42_daemon.transfer.readers.base import Found, Skipped
from port42_protocol.messages.transfer import ImportFormat

_SUFFIXES = {
    "port42": (".json",),
    "claude": (".jsonl",),
    "codex": (".jsonl",),
    "llm": (".db",),
    "aichat": (".yaml", ".yml"),
    "original": (".json",),
}
_EVERY = (".json", ".jsonl", ".db", ".yaml", ".yml")
_LOOKED_AT = 1000
"""Files of a folder that are looked into for what they are."""
_HEAD = 64 * 1024
_NOT_SESSIONS = frozenset(
    {"agent_sessions.json", "daemon.json", "history.jsonl", "config.yaml", "roles.yaml"}
)
"""Files of these programs that have one of the suffixes and are no sessions."""


@dataclass(frozen=True, slots=True)
class Source:
    """One session to be: `key` orders it among the others and is what a person is told."""

    key: str
    read: Callable[[], Found]


def sources(path: Path, wanted: ImportFormat) -> tuple[str, list[Source]]:
    """The format of what is at `path`, and its sources in the order of their keys."""
    if path.name == original.INDEX:
        path = path.parent
    if not path.is_dir():
        named = _recognise(path) if wanted == "auto" else wanted
        if named is None:
            raise Skipped("no format is recognised; name one")
        return named, _of_file(named, path, path.name)
    if wanted in {"auto", "original"} and (path / original.INDEX).exists():
        return "original", _indexed(path)
    named = _recognise_folder(path) if wanted == "auto" else wanted
    found = [
        one
        for name in files.below(path, _SUFFIXES[named])
        if name.rpartition("/")[2] not in _NOT_SESSIONS
        for one in _of_file(named, path / name, name, lenient=True)
    ]
    return named, sorted(found, key=lambda one: one.key)


def _recognise_folder(path: Path) -> str:
    for name in files.below(path, _EVERY)[:_LOOKED_AT]:
        if name.rpartition("/")[2] not in _NOT_SESSIONS and (found := _recognise(path / name)):
            return found
    raise Skipped("no file of a known format is in it")


def _recognise(path: Path) -> str | None:
    """The format of one file, by its name and how it begins. Raises `Skipped` for what cannot be read."""
    try:
        with files.opened(path) as file:
            head = file.read(_HEAD)
    except Skipped:
        if path.is_file():
            return None
        raise
    first = head.partition(b"\n")[0]
    if llm.recognised(head):
        return "llm" if _is_log(path) else None
    if port42.recognised(first):
        return "port42"
    if path.suffix == ".json" and b'"messages"' in head:
        return "port42" if b'"format"' in head else "original"
    if path.suffix in {".yaml", ".yml"} and aichat.recognised(head):
        return "aichat"
    return _of_line(first) if path.suffix == ".jsonl" else None


def _is_log(path: Path) -> bool:
    """Whether a SQLite database is one of llm's: others keep theirs in one, we do, too."""
    try:
        llm.conversations(path)
    except Skipped:
        return False
    return True


def _of_line(first: bytes) -> str | None:
    try:
        entry: Any = files.json_value(first)
    except Skipped:
        return None
    if not isinstance(entry, Mapping):
        return None
    if codex.recognised(entry):
        return "codex"
    return "claude" if claude.recognised(entry) else None


def _of_file(named: str, path: Path, key: str, *, lenient: bool = False) -> list[Source]:
    if named == "llm":
        try:
            return [_conversation(path, one) for one in llm.conversations(path)]
        except Skipped:
            if lenient:  # another program's database, in a folder that was searched
                return []
            raise
    return [Source(key, lambda: _READERS[named](path))]


def _conversation(path: Path, identity: str) -> Source:
    return Source(identity, lambda: llm.read(path, identity))


def _indexed(path: Path) -> list[Source]:
    def read(place: str) -> Found:
        if not place:
            raise Skipped("its object_id is not one")
        return original.read(files.whole(path / place))

    places = original.index(files.whole(path / original.INDEX))
    return [Source(key[:256], lambda place=place: read(place)) for key, place in sorted(places.items())]  # type: ignore[misc]


_READERS: dict[str, Callable[[Path], Found]] = {
    "port42": lambda path: port42.read(files.lines(path)),
    "claude": lambda path: claude.read(files.lines(path), path.stem),
    "codex": lambda path: codex.read(files.lines(path), path.stem),
    "aichat": lambda path: aichat.read(
        files.whole(path, aichat.LIMIT), aichat.source_id(path), files.modified(path)
    ),
    "original": lambda path: original.read(files.whole(path)),
}

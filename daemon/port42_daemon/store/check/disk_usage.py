"""What takes how much room in the home: bytes of files, agent by agent, and of what is nobody's."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from port42_daemon.store import trash
from port42_daemon.store.check.repair import BACKUPS
from port42_daemon.store.check.verify import owner
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage


@dataclass
class _Bytes:
    """By agent; None is nobody."""

    trash: Counter[str | None] = field(default_factory=Counter)
    leftovers: Counter[str | None] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)


def usage(home: Path, sessions: Mapping[str, tuple[int, int]], agent: str | None) -> Usage:
    """Bytes in `home`. `sessions` are each agent's: how many, and their bytes; they are not counted again.

    With `agent`, its part alone. Raises OSError.
    """
    found_bytes = _Bytes()
    for entry in _entries(home):
        _count(entry, found_bytes)
    _count_trash(home / "trash", found_bytes)
    _count_leftovers(home / "sessions", found_bytes)
    names = {*sessions, *(name for name in (*found_bytes.trash, *found_bytes.leftovers) if name is not None)}
    parts = [_part(name, sessions.get(name, (0, 0)), found_bytes) for name in names if agent in {None, name}]
    parts.sort(key=lambda part: (-part.total_bytes, part.agent))
    shared = Counter[str]() if agent else found_bytes.shared
    nobodys = 0 if agent else found_bytes.trash[None] + found_bytes.leftovers[None]
    disk = os.statvfs(home)
    return Usage(
        agents=tuple(parts),
        index_bytes=shared["index"],
        log_bytes=shared["log"],
        backup_bytes=shared["backups"],
        other_bytes=shared["other"] + nobodys,
        total_bytes=sum(part.total_bytes for part in parts) + sum(shared.values()) + nobodys,
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _part(name: str, sessions: tuple[int, int], found_bytes: _Bytes) -> AgentUsage:
    count, size = sessions
    return AgentUsage(
        agent=name,
        sessions=count,
        session_bytes=size,
        trash_bytes=found_bytes.trash[name],
        leftover_bytes=found_bytes.leftovers[name],
        total_bytes=size + found_bytes.trash[name] + found_bytes.leftovers[name],
    )


def _count(entry: os.DirEntry[str], found_bytes: _Bytes) -> None:
    if entry.name == BACKUPS:
        found_bytes.shared["backups"] += _tree(Path(entry.path))
    elif entry.is_file(follow_symlinks=False):
        kind = "index" if entry.name.startswith("index.db") else None
        kind = kind or ("log" if entry.name.startswith("daemon.log") else "other")
        found_bytes.shared[kind] += _size(entry)


def _count_trash(folder: Path, found_bytes: _Bytes) -> None:
    for entry in _entries(folder):
        match = trash.NAME.fullmatch(entry.name)
        found_bytes.trash[match["agent"] if match else None] += _size(entry)


def _count_leftovers(folder: Path, found_bytes: _Bytes) -> None:
    """What stands beside the sessions: these are not looked at, so ten thousand of them cost a moment."""
    for entry in _entries(folder):
        if entry.name.endswith(".json"):
            continue
        session_id = entry.name.removesuffix(".partial").partition(".json.")[0]
        whose = owner(folder / f"{session_id}.json", session_id)
        found_bytes.leftovers[whose] += _size(entry)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        found_bytes = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0  # gone meanwhile
    return found_bytes.st_size if stat.S_ISREG(found_bytes.st_mode) else 0


def _tree(folder: Path) -> int:
    return sum(
        _tree(Path(one.path)) if one.is_dir(follow_symlinks=False) else _size(one) for one in _entries(folder)
    )

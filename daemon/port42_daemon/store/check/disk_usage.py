"""Disk usage of the home in bytes, by agent, and of files that belong to no agent."""

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
    """By agent; None for files that belong to no agent."""

    trash: Counter[str | None] = field(default_factory=Counter)
    leftovers: Counter[str | None] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)


def usage(home: Path, sessions: Mapping[str, tuple[int, int]], agent: str | None) -> Usage:
    """Bytes in `home`. `sessions` are each agent's: how many, and their bytes; they are not counted again.

    With `agent`, its part alone. Raises OSError.
    """
    sizes = _Bytes()
    for entry in _entries(home):
        _count(entry, sizes)
    _count_trash(home / "trash", sizes)
    _count_leftovers(home / "sessions", sizes)
    names = {*sessions, *(name for name in (*sizes.trash, *sizes.leftovers) if name is not None)}
    parts = [_part(name, sessions.get(name, (0, 0)), sizes) for name in names if agent in {None, name}]
    parts.sort(key=lambda part: (-part.total_bytes, part.agent))
    shared = Counter[str]() if agent else sizes.shared
    unassigned = 0 if agent else sizes.trash[None] + sizes.leftovers[None]
    disk = os.statvfs(home)
    return Usage(
        agents=tuple(parts),
        index_bytes=shared["index"],
        log_bytes=shared["log"],
        backup_bytes=shared["backups"],
        other_bytes=shared["other"] + unassigned,
        total_bytes=sum(part.total_bytes for part in parts) + sum(shared.values()) + unassigned,
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _part(name: str, sessions: tuple[int, int], sizes: _Bytes) -> AgentUsage:
    count, size = sessions
    return AgentUsage(
        agent=name,
        sessions=count,
        session_bytes=size,
        trash_bytes=sizes.trash[name],
        leftover_bytes=sizes.leftovers[name],
        total_bytes=size + sizes.trash[name] + sizes.leftovers[name],
    )


def _count(entry: os.DirEntry[str], sizes: _Bytes) -> None:
    if entry.name == BACKUPS:
        sizes.shared["backups"] += _tree(Path(entry.path))
    elif entry.is_file(follow_symlinks=False):
        kind = "index" if entry.name.startswith("index.db") else None
        kind = kind or ("log" if entry.name.startswith("daemon.log") else "other")
        sizes.shared[kind] += _size(entry)


def _count_trash(folder: Path, sizes: _Bytes) -> None:
    for entry in _entries(folder):
        match = trash.NAME.fullmatch(entry.name)
        sizes.trash[match["agent"] if match else None] += _size(entry)


def _count_leftovers(folder: Path, sizes: _Bytes) -> None:
    """Count files beside the sessions; session files themselves need no stat, which keeps this fast."""
    for entry in _entries(folder):
        if entry.name.endswith(".json"):
            continue
        session_id = entry.name.removesuffix(".partial").partition(".json.")[0]
        whose = owner(folder / f"{session_id}.json", session_id)
        sizes.leftovers[whose] += _size(entry)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0  # gone meanwhile
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _tree(folder: Path) -> int:
    return sum(
        _tree(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else _size(entry)
        for entry in _entries(folder)
    )

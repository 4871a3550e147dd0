"""Disk usage of the home in bytes, by agent, and of files that belong to no agent."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from port42_daemon.store.check.repair import BACKUPS
from port42_daemon.store.check.verify import owner
from port42_daemon.store.trash import NAME
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage

_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
ORIGINALS = "originals"
"""Captured tools' files: `originals.db` (`transfer/capture/originals.py`), of earlier versions a folder."""


def usage(home: Path, sessions: Mapping[str, tuple[int, int]], agent: str | None) -> Usage:
    """Bytes in `home`. `sessions` are each agent's: how many, and their bytes; they are not counted again.

    With `agent`, its part alone. Raises OSError.
    """
    shared = _shared(home)
    trash, leftovers = _trash(home / "trash"), _leftovers(home / "sessions")
    parts = []
    for name in {*sessions, *trash, *leftovers}:
        if name is not None and agent in {None, name}:
            count, size = sessions.get(name, (0, 0))
            total = size + trash[name] + leftovers[name]
            parts.append(AgentUsage(name, count, size, trash[name], leftovers[name], total))
    parts.sort(key=lambda part: (-part.total_bytes, part.agent))
    shared["other"] += trash[None] + leftovers[None]
    if agent:
        shared.clear()
    disk = os.statvfs(home)
    return Usage(
        agents=tuple(parts),
        index_bytes=shared["index"],
        log_bytes=shared["log"],
        backup_bytes=shared[BACKUPS],
        other_bytes=shared["other"],
        total_bytes=sum(part.total_bytes for part in parts) + shared.total(),
        free_bytes=disk.f_bavail * disk.f_frsize,
        original_bytes=shared[ORIGINALS],
    )


def _shared(home: Path) -> Counter[str]:
    """Bytes of the files that belong to no agent, by kind."""
    shared: Counter[str] = Counter()
    for entry in _entries(home):
        if entry.name in {BACKUPS, ORIGINALS}:
            shared[entry.name] += _tree(Path(entry.path))
        elif entry.name.startswith(ORIGINALS):
            shared[ORIGINALS] += _size(entry)
        elif entry.name.startswith("index.db"):
            shared["index"] += _size(entry)
        elif entry.name.startswith("daemon.log"):
            shared["log"] += _size(entry)
        else:
            shared["other"] += _size(entry)
    return shared


def _trash(folder: Path) -> Counter[str | None]:
    sizes: Counter[str | None] = Counter()
    for entry in _entries(folder):
        match = NAME.fullmatch(entry.name)
        sizes[match["agent"] if match else None] += _size(entry)
    return sizes


def _leftovers(folder: Path) -> Counter[str | None]:
    """Files beside the sessions; session files themselves need no stat, which keeps this fast."""
    sizes: Counter[str | None] = Counter()
    for entry in _entries(folder):
        if not entry.name.endswith(".json"):
            session_id = entry.name.removesuffix(".partial").partition(".json.")[0]
            sizes[owner(folder / f"{session_id}.json", session_id)] += _size(entry)
    return sizes


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            return []
        raise


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

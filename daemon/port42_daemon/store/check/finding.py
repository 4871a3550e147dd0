"""How what was found is said, and what became of its repair."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from port42_daemon.store.check.backup import Backup
from port42_protocol.errors import RpcError
from port42_protocol.messages.doctor_and_stats import Finding


def mended(found: Finding, backup: Backup | None, repair: Callable[[Backup], str]) -> Finding:
    """The finding, repaired where there is a backup to keep what was; `repair` says what it did."""
    if backup is None:
        return found
    try:
        did = repair(backup)
    except (OSError, sqlite3.Error, RpcError) as error:
        why = _reason(error)
        return structs.replace(found, do=f"it could not be repaired: {why}")
    return structs.replace(found, what=f"{found.what}: {did}", do=None, fixed=True)


def _reason(error: Exception) -> str:
    if isinstance(error, RpcError):
        return error.message
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else "the disk refused"
    return "the index failed"


def open_to_others(places: Sequence[Path], home: Path, backup: Backup | None) -> list[Finding]:
    """A finding about files and folders that others may look into, if any of these are still there."""
    there = [place for place in places if os.path.lexists(place)]
    if not there:
        return []
    first = shown(there[0].relative_to(home)) if there[0] != home else "the home"
    more = f" and {len(there) - 1:,} more" if len(there) > 1 else ""
    found = Finding(
        level="problem",
        about="permissions",
        what=f"{first}{more} can be looked into by other users",
        do="`port42 doctor --fix` takes that from them",
        mendable=True,
    )

    def close(backup: Backup) -> str:
        for place in there:
            backup.close_to_others(place)
        return "not any more"

    return [mended(found, backup, close)]


def shown(path: Path) -> str:
    """A file's name as text that can be sent, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

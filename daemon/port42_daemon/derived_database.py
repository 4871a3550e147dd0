"""SQLite files of what can be found out again: one that cannot be used is made anew."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from port42_daemon import durable

log = logging.getLogger(__name__)

WAL = "-wal"


def opened(path: Path, version: int, tables: str) -> sqlite3.Connection:
    """The database at `path`, of which `tables` is the SQL. One of another version, or damaged, is made anew.

    It can be used in any thread, by one at a time. Raises sqlite3.Error and OSError.
    """
    try:
        return _open(path, version, tables)
    except sqlite3.DatabaseError as error:
        return made_anew(path, version, tables, error)


def made_anew(path: Path, version: int, tables: str, reason: sqlite3.Error) -> sqlite3.Connection:
    """As `opened`, without what is there, which failed with `reason`."""
    log.warning("⚠ %s is made anew: %s", path.name, reason)
    for suffix in ("", WAL, "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _open(path, version, tables)


def _open(path: Path, version: int, tables: str) -> sqlite3.Connection:
    # unix-excl: there is no -shm file, whose truncation would end the daemon.
    uri = f"{path.absolute().as_uri()}?vfs=unix-excl"
    database = sqlite3.connect(uri, timeout=1, uri=True, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes of it is found out again.
        database.execute("PRAGMA synchronous = NORMAL")
        there = database.execute("PRAGMA user_version").fetchone()[0]
        if there not in {0, version}:
            raise sqlite3.DatabaseError(f"its version is {there}")
        if there == 0:
            with database:
                database.executescript(f"{tables}PRAGMA user_version = {version}")
    except BaseException:
        database.close()
        raise
    path.chmod(durable.OWN_FILE)
    return database

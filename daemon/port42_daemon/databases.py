"""SQLite files: how they are opened. One of what can be found out again is made anew if it cannot be used."""

from __future__ import annotations

import logging
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

from port42_daemon import durable

log = logging.getLogger(__name__)

WAL = "-wal"
_CACHE = 512
"""KiB of pages that a connection keeps; SQLite's default is 2,000."""
_LOG_BYTES = 4 * 1024 * 1024
"""That stay of the write-ahead log after a large transaction."""


def opened(path: Path, version: int, tables: str) -> sqlite3.Connection:
    """The database at `path`, of which `tables` is the SQL. One of another version, or damaged, is made anew.

    It can be used in any thread, by one at a time. Raises sqlite3.Error and OSError.
    """
    try:
        return connected(path, version, tables)
    except sqlite3.DatabaseError as error:
        return made_anew(path, version, tables, error)


def made_anew(path: Path, version: int, tables: str, reason: sqlite3.Error) -> sqlite3.Connection:
    """As `opened`, without what is there, which failed with `reason`."""
    log.warning("⚠ %s is made anew: %s", path.name, reason)
    for suffix in ("", WAL, "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return connected(path, version, tables)


def connected(path: Path, version: int, tables: str, *, keeps: bool = False) -> sqlite3.Connection:
    """The database at `path`, which may be used as that of `opened`. Raises sqlite3.Error and OSError.

    `keeps`: whether it has what is nowhere else. Then a transaction is on the disk when it is committed, and
    what is deleted is overwritten, and can be given back with ``PRAGMA incremental_vacuum``.
    """
    # unix-excl: there is no -shm file, whose truncation would end the daemon.
    uri = f"{path.absolute().as_uri()}?vfs=unix-excl"
    database = sqlite3.connect(uri, timeout=1, uri=True, check_same_thread=False)
    try:
        database.execute(f"PRAGMA cache_size = {-_CACHE}")
        if keeps:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA secure_delete = ON")
            database.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        database.execute("PRAGMA journal_mode = WAL")
        # Else: what a power cut takes of it is found out again.
        database.execute(f"PRAGMA synchronous = {'FULL' if keeps else 'NORMAL'}")
        there = database.execute("PRAGMA user_version").fetchone()[0]
        if there not in {0, version}:
            raise sqlite3.DatabaseError(f"its version is {there}")
        if there == 0:
            database.executescript(f"BEGIN;{tables}PRAGMA user_version = {version};COMMIT")
    except BaseException:
        database.close()
        raise
    path.chmod(durable.OWN_FILE)
    return database


def zstandard() -> ModuleType:
    """What compresses values in them, in a third of zlib's time.

    Imported by the first who needs it: a start does not wait for it.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd

"""SQLite databases of other programs: opened read-only, and not trusted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.files import DiskFault, opened

MAGIC = b"SQLite format 3\0"
_SECONDS = 10.0
"""Maximum time for one session: reading a malicious database may not end."""
_LENGTH = 16 * 1024 * 1024


class Database:
    """An open database; queries are interrupted after `_SECONDS`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        deadline = time.monotonic() + _SECONDS
        database.text_factory = lambda data: data.decode(errors="replace")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH)
        database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        database.execute("PRAGMA trusted_schema = OFF")

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Raises `Skipped`, also for what goes wrong while it is open."""
        with opened(path):
            pass  # a regular file, not a link or a FIFO that SQLite would wait for
        try:
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
                yield cls(database)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            is_fault = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
            raise (DiskFault if is_fault else Skipped)(f"SQLite cannot read it: {str(error)[:120]}") from None

    def query(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(sql, values)

    def has(self, table: str, *columns: str) -> bool:
        """False for a view, too, which may be a query that does not end."""
        tables = self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table)
        return bool(tables.fetchone()) and {
            name for _, name, *_ in self.query(f"PRAGMA table_info({table})")
        }.issuperset(columns)

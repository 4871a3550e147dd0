"""`capture.db`: how far each source was read, and what `import` has read.

Without it sources are compared with their sessions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from port42_daemon import databases
from port42_daemon.databases import WAL
from port42_daemon.transfer.capture.tools import PACKED
from port42_daemon.transfer.readers.files import is_in_folders, messages_of
from port42_protocol.counting import count
from port42_protocol.messages.types import CaptureTool, prepared

log = logging.getLogger(__name__)

_VERSION = 3
_CREATE = """
CREATE TABLE sources (
  path BLOB PRIMARY KEY, tool TEXT NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL, problem TEXT,
  read_at TEXT, signature BLOB NOT NULL, state BLOB NOT NULL
);
CREATE TABLE beginnings (
  mark TEXT NOT NULL, tool TEXT NOT NULL, session_id TEXT NOT NULL, PRIMARY KEY (mark, tool)
) WITHOUT ROWID;
CREATE TABLE sessions (session_id TEXT PRIMARY KEY, tool TEXT NOT NULL, path BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE imported (
  location BLOB NOT NULL, agent TEXT NOT NULL, mark TEXT NOT NULL, sessions BLOB NOT NULL,
  PRIMARY KEY (location, agent)
) WITHOUT ROWID;
"""
"""`sources` has rowids: without, SQLite puts a row of more than 1 KB, as most are, on a page of its own."""
_INDEX = """
DROP INDEX IF EXISTS by_tool;
CREATE INDEX IF NOT EXISTS totals ON sources (tool, read_at, kept, size, problem);
"""
"""Has all that `Progress.totals` needs, while a row with its state takes a page or more."""

Signature = tuple[int, int, int, int]
"""Device, inode, size and mtime_ns of a file."""
NEVER: Signature = (0, 0, 0, 0)
"""Of no file: the source is read again."""


Beginning: TypeAlias = tuple[str, str, str]
"""The mark of a session's first message, the tool and the session's id."""


class Stored(Struct):
    """A session that a source is read into: its records through `last_seq` are compared already."""

    session_id: str
    source_id: str
    last_seq: int
    title: str | None = None


class SourceState(Struct):
    """How far a source was read.

    `offset` is behind the last whole line that was read; `head` and `tail` are hashes of the bytes at the
    beginning and before `offset`. `reader` is the reader's saved state, `sessions` are by its keys.
    """

    signature: Signature
    offset: int = 0
    head: bytes = b""
    tail: bytes = b""
    reader: bytes | None = None
    sessions: dict[str, Stored] = {}
    problem: str | None = None
    read_at: str | None = None
    kept: int = 0
    """Bytes that the original takes."""
    generation: int = 0
    """That of the original, if it is known."""
    rewritten: bool = False
    """Whether its tool had written it anew when it was read."""
    rest: int = 0
    """Seconds without a change after which `LineReader.take_rest` or `take_held` has more; 0: never."""

    def rest_in(self, now: float) -> float:
        """Seconds from `now` (Unix time) until then."""
        return self.signature[3] / 1e9 + self.rest - now


class Totals(Struct, frozen=True):
    """What was read of one tool: files, their bytes, sessions, and the bytes of the originals.

    Then the time of the last read, and the latest problem.
    """

    sources: int
    size: int
    sessions: int
    kept: int
    last_read: str | None
    problem: str | None


def signature_of(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def signature_at(path: Path) -> Signature:
    """The signature of the source at `path`, with what SQLite has not written into it yet. Raises OSError.

    Where opencode has a folder of a session's messages, with the time of that. Where its tool has compressed
    it, that of the compressed file.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        if path.suffix != ".jsonl":
            raise
        status = path.with_name(path.name + PACKED).lstat()
    device, inode, size, mtime_ns = signature_of(status)
    with contextlib.suppress(OSError):
        if path.suffix == ".db":
            log = path.with_name(path.name + WAL).lstat()
            return device, inode, size + log.st_size, max(mtime_ns, log.st_mtime_ns)
        if is_in_folders(path):
            mtime_ns = max(mtime_ns, messages_of(path).lstat().st_mtime_ns)
    return device, inode, size, mtime_ns


class Progress:
    """The database. A file that cannot be used is made anew. Used by one thread. Raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = databases.opened(path, _VERSION, _CREATE)
        try:
            self._database.executescript(_INDEX)
        except sqlite3.OperationalError as error:
            log.warning("⚠ the totals of captures take longer: %s: %s", path.name, error)
        except sqlite3.DatabaseError as error:
            self.renew(error)

    def renew(self, error: sqlite3.Error) -> None:
        """Make the file anew, which failed with `error`."""
        self.close()
        self._database = databases.made_anew(self._path, _VERSION, _CREATE, error)
        self._database.executescript(_INDEX)

    def close(self) -> None:
        self._database.close()

    def get(self, path: Path) -> SourceState | None:
        row = self._database.execute(
            "SELECT state FROM sources WHERE path = ?", (os.fsencode(path),)
        ).fetchone()
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(row[0], type=prepared(SourceState)) if row else None
        return None

    def put(self, sources: Sequence[tuple[Path, CaptureTool, SourceState]]) -> None:
        """Remember how far these sources are read, in one transaction."""
        rows, sessions = [], []
        for path, tool, state in sources:
            name = os.fsencode(path)
            # What has a rest is looked at again by a daemon that starts.
            signature = msgspec.msgpack.encode(NEVER if state.rest else state.signature)
            whole = msgspec.msgpack.encode(state)
            rows.append(
                (name, tool, state.signature[2], state.kept, state.problem, state.read_at, signature, whole)
            )
            sessions += [(stored.session_id, tool, name) for stored in state.sessions.values()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", sessions)

    def signatures(self, tool: CaptureTool) -> dict[bytes, bytes]:
        """The encoded signature of each source as it was read last, by its path."""
        return dict(self._database.execute("SELECT path, signature FROM sources WHERE tool = ?", (tool,)))

    def source_of(self, session_id: str) -> tuple[CaptureTool, Path] | None:
        row = self._database.execute(
            "SELECT tool, path FROM sessions WHERE session_id = ?", (session_id,)
        ).fetchone()
        return (row[0], Path(os.fsdecode(row[1]))) if row else None

    def move(self, session_id: str, by: int) -> None:
        """The session's records have got other numbers."""
        source = self.source_of(session_id)
        if source is None or (state := self.get(source[1])) is None:
            return
        for stored in state.sessions.values():
            if stored.session_id == session_id:
                stored.last_seq += by
        self.put([(source[1], source[0], state)])

    def begun_with(self, begun: Sequence[Beginning]) -> list[str]:
        """For sessions that begin, the first one that was captured with the same first message."""
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO beginnings VALUES (?, ?, ?)", begun)
        firsts = [self.original(tool, mark) for mark, tool, _ in begun]
        return [first or session_id for first, (*_, session_id) in zip(firsts, begun, strict=True)]

    def original(self, tool: str, mark: str) -> str | None:
        """The first session that was captured or imported with this mark of its first message."""
        row = self._database.execute(
            "SELECT session_id FROM beginnings WHERE mark = ? AND tool = ?", (mark, tool)
        ).fetchone()
        return row[0] if row else None

    def imported(self, location: bytes, agent: str, fingerprint: str) -> list[str] | None:
        """The sessions of a source that `agent` imported, if it had this fingerprint then."""
        row = self._database.execute(
            "SELECT sessions FROM imported WHERE location = ? AND agent = ? AND mark = ?",
            (location, agent, fingerprint),
        ).fetchone()
        return msgspec.msgpack.decode(row[0], type=list[str]) if row else None

    def remember_imported(
        self, rows: Iterable[tuple[bytes, str, str, list[str]]], begun: Iterable[Beginning]
    ) -> None:
        """Location, agent, fingerprint and sessions of sources that were imported.

        `begun`: marks of first messages, formats and ids of the sessions, those first that have copies.
        """
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO imported VALUES (?, ?, ?, ?)",
                [(*row[:3], msgspec.msgpack.encode(row[3])) for row in rows],
            )
            self._database.executemany("INSERT OR IGNORE INTO beginnings VALUES (?, ?, ?)", begun)

    def totals(self, beside: Mapping[CaptureTool, Iterable[Path]]) -> dict[CaptureTool, Totals]:
        """Of all that was read, by tool; the files `beside` their folders are no sources."""
        sessions = dict(self._database.execute("SELECT tool, count(*) FROM sessions GROUP BY tool"))
        columns = "tool, count(*), total(size), total(kept), max(read_at), count(problem)"
        rows = self._database.execute(f"SELECT {columns} FROM sources GROUP BY tool").fetchall()  # noqa: S608  # our own SQL
        totals: dict[CaptureTool, Totals] = {}
        for tool, sources, size, kept, last_read, problems in rows:
            states = [state for path in beside.get(tool, ()) if (state := self.get(path)) is not None]
            totals[tool] = Totals(
                sources - len(states),
                int(size) - sum(state.signature[2] for state in states),
                sessions.get(tool, 0),
                int(kept),
                last_read,
                self._problem(tool, problems - 1) if problems else None,
            )
        return totals

    def _problem(self, tool: CaptureTool, others: int) -> str:
        """The problem of the source that was read last, of those that have one; `others` have one, too."""
        path, problem = self._database.execute(
            "SELECT path, problem FROM sources WHERE tool = ? AND problem NOT NULL ORDER BY read_at DESC",
            (tool,),
        ).fetchone()
        more = f" (and {count(others, 'other file')})" if others else ""
        return f"{path.decode(errors='replace')}: {problem}{more}"

    def forget(self, paths: Iterable[Path]) -> None:
        with self._database:
            self._database.executemany(
                "DELETE FROM sources WHERE path = ?", [(os.fsencode(p),) for p in paths]
            )


def is_read(signatures: dict[bytes, bytes], path: str | Path, signature: Signature) -> bool:
    """Whether the source at `path` is as it was when it was read."""
    return signatures.get(os.fsencode(path)) == msgspec.msgpack.encode(signature)

"""`hub.db`: what the hub is known to have of each session. Without it everything is compared again."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from port42_daemon import databases

_VERSION = 1
_CREATE = """
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, generation INTEGER NOT NULL, seq INTEGER NOT NULL, use INTEGER NOT NULL,
  trashed INTEGER NOT NULL, purged INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  line INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE others (session_id TEXT PRIMARY KEY, owner TEXT NOT NULL, may TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE behind (session_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_SELECT = "SELECT session_id, generation, seq, use, trashed, purged, size, mtime_ns, line FROM sessions"


NO_FILE = 0, 0
"""The signature of no file: the session is looked at again."""


class Other(NamedTuple):
    """Whose a session is that another owner shares, or has shared, and what is allowed.

    `may` is ``read``, ``write`` or ``none`` (any more).
    """

    owner: str
    may: str


class Known(msgspec.Struct, frozen=True):
    """What hub and this machine both have of a session: its records through `seq`.

    `use` is the number of its last use here then, `signature` its file's size and mtime_ns if nothing else is
    in it, `line` the CRC-32 of the record `seq` as it is here, 0 where there is none. A `purged` one is
    deleted at the hub.
    """

    generation: int
    seq: int
    use: int
    trashed: bool
    purged: bool = False
    signature: tuple[int, int] = NO_FILE
    line: int = 0


class Progress:
    """The database. A file that cannot be used is made anew. Used by one thread.

    Raises sqlite3.Error and OSError.
    """

    def __init__(self, path: Path) -> None:
        self._database = databases.opened(path, _VERSION, _CREATE)
        self.machine = self._state("machine") or str(uuid.uuid4())
        self._set(machine=self.machine)

    def close(self) -> None:
        self._database.close()

    def belong_to(self, hub: str, owner: str) -> None:
        """Forget what another hub, or another owner there, was known to have."""
        belongs = f"{hub} {owner}"
        if self._state("hub") != belongs:
            with self._database:
                self._database.execute("DELETE FROM sessions")
                self._database.execute("DELETE FROM behind")
                self._database.execute("DELETE FROM others")
                self._database.execute("DELETE FROM state WHERE name != 'machine'")
            self._set(hub=belongs)

    # --- sessions ---------------------------------------------------------------------------------

    def get(self, session_ids: Sequence[str]) -> dict[str, Known]:
        """What is known of these, by their ids."""
        known = {}
        for session_id in session_ids:
            row = self._database.execute(f"{_SELECT} WHERE session_id = ?", (session_id,)).fetchone()
            if row is not None:
                known[session_id] = _known(row)
        return known

    def all(self) -> dict[str, Known]:
        return {row[0]: _known(row) for row in self._database.execute(_SELECT)}

    def put(self, known: Mapping[str, Known]) -> None:
        values = [
            (name, *msgspec.structs.astuple(state)[:5], *state.signature, state.line)
            for name, state in known.items()
        ]
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values
            )

    def forget(self, session_id: str) -> None:
        """The hub has no such session."""
        with self._database:
            self._database.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))

    def others(self) -> dict[str, Other]:
        rows = self._database.execute("SELECT session_id, owner, may FROM others")
        return {session_id: Other(owner, may) for session_id, owner, may in rows}

    def put_others(self, sessions: Mapping[str, Other]) -> None:
        values = [(name, *other) for name, other in sessions.items()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO others VALUES (?, ?, ?)", values)

    # --- how far the hub's changes are here -------------------------------------------------------

    @property
    def cursor(self) -> int:
        """The owner's change through which everything is here, or `behind`."""
        return int(self._state("cursor") or 0)

    @property
    def joining(self) -> tuple[int, str] | None:
        """Where the first walk through all sessions is (used, session_id); None before it and after it."""
        value = self._state("joining")
        used, _, session_id = (value or "").partition(" ")
        return (int(used), session_id) if session_id else None

    @property
    def joined(self) -> bool:
        """Whether the first walk is done."""
        return self._state("joined") is not None

    def advance(self, cursor: int) -> None:
        self._set(cursor=str(cursor))

    def advance_by_own(self, number: int) -> None:
        """A change of the owner was this machine's: there is nothing to bring here, if it is the next one."""
        if self.cursor == number - 1:
            self.advance(number)

    def walk(self, position: tuple[int, str] | None) -> None:
        """The first walk is there now, or done (None)."""
        if position is None:
            self._set(joined="yes")
        else:
            self._set(joining=f"{position[0]} {position[1]}")

    def behind(self) -> list[str]:
        """Sessions that changed at the hub and could not be changed here yet."""
        return [row[0] for row in self._database.execute("SELECT session_id FROM behind")]

    def mark(self, behind: Iterable[str] = (), done: Iterable[str] = ()) -> None:
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO behind VALUES (?)", [(name,) for name in behind]
            )
            self._database.executemany("DELETE FROM behind WHERE session_id = ?", [(name,) for name in done])

    # --- inside -----------------------------------------------------------------------------------

    def _state(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set(self, **values: str) -> None:
        with self._database, contextlib.closing(self._database.cursor()) as cursor:
            cursor.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(values.items()))


def _known(row: Sequence[Any]) -> Known:
    return Known(row[1], row[2], row[3], bool(row[4]), bool(row[5]), (row[6], row[7]), row[8])

"""What the index was told and has not written yet: rows of sessions, and the text of their messages."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec

from port42_daemon.store.index.sessions import Row
from port42_protocol.messages.records import Message

MOST = 2_000
_MOST_CHARACTERS = 8_000_000
"""Messages, and their text, that wait in memory; from there on they are read from their files."""
_ROWS_OF_ONE = 64


class Noted:
    """Rows in the order in which they came. Its lock is its own: an append never waits for SQLite."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, list[Row]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, row: Row) -> None:
        """One more; of many of a session one is made."""
        with self._lock:
            rows = self._rows.setdefault(row.summary.session_id, [])
            rows.append(row)
            if len(rows) > _ROWS_OF_ONE:
                self._rows[row.summary.session_id] = _merged(rows)

    def take(self) -> list[Row]:
        """All there are, which are the caller's from now on."""
        with self._lock:
            taken, self._rows = self._rows, {}
        return [row for rows in taken.values() for row in rows]

    def put_back(self, rows: Sequence[Row]) -> None:
        """What was taken could not be written: it stands before what came since."""
        with self._lock:
            since, self._rows = self._rows, {}
            for row in (*rows, *(row for later in since.values() for row in later)):
                self._rows.setdefault(row.summary.session_id, []).append(row)

    def drop(self, session_id: str) -> None:
        """The session is gone."""
        with self._lock:
            self._rows.pop(session_id, None)

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._rows.clear()


class Unfed:
    """Records by session, which are in no table yet. Its user keeps threads apart."""

    def __init__(self) -> None:
        self._records: dict[str, list[Message]] = {}
        self._messages = self._characters = 0

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._records

    def sessions(self) -> list[str]:
        """Whose records there are."""
        return list(self._records)

    def keep(self, session_id: str, records: Sequence[Message]) -> bool:
        """Keep these, too. False when it became too much: then all were let go, and the files have them."""
        self._records.setdefault(session_id, []).extend(records)
        self._messages += len(records)
        self._characters += _characters(records)
        if self._messages > MOST or self._characters > _MOST_CHARACTERS:
            self.clear()
            return False
        return True

    def take(self, session_id: str) -> list[Message]:
        """The session's, which are the caller's from now on."""
        records = self._records.pop(session_id, [])
        self._messages -= len(records)
        self._characters -= _characters(records)
        return records

    def clear(self) -> None:
        """Let go of all."""
        self._records.clear()
        self._messages = self._characters = 0


def _characters(records: Sequence[Message]) -> int:
    return sum(len(one.content) for one in records if isinstance(one.content, str))


def _merged(rows: list[Row]) -> list[Row]:
    """One row for many: the last state, with the records of all, where each follows the one before."""
    last = rows[-1]
    first = rows[0].last_seq - len(rows[0].records)
    records = tuple(record for row in rows for record in row.records)
    if first + len(records) != last.last_seq:
        records = ()
    return [msgspec.structs.replace(last, titled=any(one.titled for one in rows), records=records)]

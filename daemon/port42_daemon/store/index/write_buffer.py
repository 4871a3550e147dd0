"""Pending updates of the index from appends: rows of sessions, and the text of their messages."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from port42_daemon.store.index.sessions import SessionUpdate
from port42_protocol.messages.records import Message, Record

MAX_MESSAGES = 2_000
MAX_CHARACTERS = 8_000_000
"""Text that waits in memory; from there on it is read from the files."""


class PendingRows:
    """The last state of each session, with the records that led there.

    Its lock is its own: an append never waits for SQLite.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: dict[str, tuple[SessionUpdate, list[Record]]] = {}
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._updates)

    def add(self, update: SessionUpdate) -> None:
        with self._lock:
            self._characters += characters(update.records)
            if self._characters > MAX_CHARACTERS:  # the index is behind: it reads them from the files
                update = replace(update, records=())
            self._merge(update)

    def _merge(self, update: SessionUpdate) -> None:
        """Keep the records as long as each update follows the one before; else the file has them."""
        session_id, records = update.summary.session_id, list(update.records)
        if session_id in self._updates:
            before, earlier = self._updates[session_id]
            if not records and (before.size, before.mtime_ns) == (update.size, update.mtime_ns):
                return
            follows = update.last_seq - len(records) == before.last_seq
            if records and follows and (earlier or before.last_seq == 0):
                earlier += records
                records = earlier
            else:
                records = []
        self._updates[session_id] = update, records

    def take(self) -> list[SessionUpdate]:
        with self._lock:
            taken, self._updates, self._characters = self._updates, {}, 0
        return [replace(update, records=tuple(records)) for update, records in taken.values()]

    def put_back(self, updates: Iterable[SessionUpdate]) -> None:
        """Insert updates that could not be written before those that came since."""
        with self._lock:
            since, self._updates = self._updates, {}
            for update in updates:
                self._merge(update)
            for update, records in since.values():
                self._merge(replace(update, records=tuple(records)))

    def drop(self, session_id: str) -> None:
        with self._lock:
            self._updates.pop(session_id, None)


class PendingText:
    """Records by session, whose rows are written and whose text is not. The caller holds the write lock."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}
        self._messages = self._characters = 0

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._records

    def sessions(self) -> list[str]:
        return list(self._records)

    def add(self, session_id: str, records: Sequence[Record]) -> bool:
        """Append records. False when memory holds too many: then all are dropped, the files have them."""
        self._records.setdefault(session_id, []).extend(records)
        self._messages += len(records)
        self._characters += characters(records)
        if self._messages > MAX_MESSAGES or self._characters > MAX_CHARACTERS:
            self.clear()
            return False
        return True

    def take(self, session_id: str) -> list[Record]:
        records = self._records.pop(session_id, [])
        self._messages -= len(records)
        self._characters -= characters(records)
        return records

    def clear(self) -> None:
        self._records.clear()
        self._messages = self._characters = 0


def characters(records: Iterable[Record]) -> int:
    return sum(len(record.content) for record in records if isinstance(record, Message))

"""Pending updates of the index from appends: rows of sessions, and the text of their messages."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec

from port42_daemon.store.index.sessions import SessionUpdate
from port42_protocol.messages.records import Message, Record

MAX_MESSAGES = 2_000
MAX_CHARACTERS = 8_000_000
"""Text that waits in memory; from there on it is read from the files."""
_MAX_UPDATES_PER_SESSION = 64


class PendingRows:
    """Updates in the order in which they came. Its lock is its own: an append never waits for SQLite."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: dict[str, list[SessionUpdate]] = {}
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._updates)

    def add(self, update: SessionUpdate) -> None:
        """Append an update; many of one session are merged."""
        with self._lock:
            self._characters += _characters(update.records)
            if self._characters > MAX_CHARACTERS:  # the index is behind: it reads them from the files
                update = msgspec.structs.replace(update, records=())
            updates = self._updates.setdefault(update.summary.session_id, [])
            updates.append(update)
            if len(updates) > _MAX_UPDATES_PER_SESSION:
                self._updates[update.summary.session_id] = [_merge(updates)]

    def take(self) -> list[SessionUpdate]:
        with self._lock:
            taken, self._updates, self._characters = self._updates, {}, 0
        return [update for updates in taken.values() for update in updates]

    def put_back(self, updates: Iterable[SessionUpdate]) -> None:
        """Insert updates that could not be written before those that came since."""
        with self._lock:
            since, self._updates = self._updates, {}
            for update in (*updates, *(update for later in since.values() for update in later)):
                self._updates.setdefault(update.summary.session_id, []).append(update)

    def drop(self, session_id: str) -> None:
        with self._lock:
            self._updates.pop(session_id, None)

    def clear(self) -> None:
        self.take()


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
        self._characters += _characters(records)
        if self._messages > MAX_MESSAGES or self._characters > MAX_CHARACTERS:
            self.clear()
            return False
        return True

    def take(self, session_id: str) -> list[Record]:
        records = self._records.pop(session_id, [])
        self._messages -= len(records)
        self._characters -= _characters(records)
        return records

    def clear(self) -> None:
        self._records.clear()
        self._messages = self._characters = 0


def _characters(records: Sequence[Record]) -> int:
    return sum(len(record.content) for record in records if isinstance(record, Message))


def _merge(updates: list[SessionUpdate]) -> SessionUpdate:
    """The last state, with the records of all updates if each follows the one before."""
    last = updates[-1]
    first_seq = updates[0].last_seq - len(updates[0].records)
    records = tuple(record for update in updates for record in update.records)
    if first_seq + len(records) != last.last_seq:
        records = ()
    return msgspec.structs.replace(last, titled=any(update.titled for update in updates), records=records)

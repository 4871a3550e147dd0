"""`llm`'s log: ``logs.db``, a SQLite database that is opened to be read only.

Up to 0.30 or so a conversation's answers are rows of `responses`; newer versions keep `threads`, whose
`turns` end at the tip of a chain of `messages` with `parts` (its llm/migrations.py). Both are read, each
conversation from where it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.files import opened
from port42_protocol.messages.records import TurnRecord

_SECONDS = 5.0
"""For one query: a database can be made so that it never ends."""
_LENGTH = 16 * 1024 * 1024
_RESPONSE = ("prompt", "response", "model", "system", "datetime_utc", "duration_ms", "input_tokens")


MAGIC = b"SQLite format 3\0"


def conversations(path: Path) -> list[str]:
    """The ids of all of them, in order. Raises `Skipped`."""
    with _open(path) as log:
        ids: set[str] = set()
        if log.has_responses():
            ids |= {row[0] for row in log.query("SELECT DISTINCT conversation_id FROM responses")}
        if log.has_turns():
            ids |= {row[0] for row in log.query("SELECT DISTINCT thread_id FROM turns")}
        if not ids and not log.columns("conversations"):
            raise Skipped("it is not a log of llm's")
        return sorted(key for key in ids if isinstance(key, str) and 0 < len(key) <= 256)


def read(path: Path, source_id: str) -> ParsedSession:
    """One conversation. Raises `Skipped`."""
    session = ParsedSession(source_id)
    with _open(path) as log:
        if log.has_responses():
            _add_responses(log, session)
        if not session.records and log.has_turns():
            _add_thread(log, session)
    return session.checked()


class _Log:
    """The database; a query that takes more than `_SECONDS` is interrupted."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._deadline = 0.0
        database.text_factory = lambda data: data.decode(errors="replace")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH)
        database.set_progress_handler(lambda: time.monotonic() > self._deadline, 10_000)
        database.execute("PRAGMA trusted_schema = OFF")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self._deadline = time.monotonic() + _SECONDS
        return self._database.execute(sql, values).fetchall()

    def columns(self, table: str) -> set[str]:
        """Those of a real table: a view may be a query without an end."""
        if not self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table):
            return set()
        return {name for _, name, *_ in self.query(f"PRAGMA table_info({table})")}

    def has_responses(self) -> bool:
        return self.columns("responses") >= {"conversation_id", "prompt", "response"}

    def has_turns(self) -> bool:
        return self.columns("turns") >= {"thread_id", "tip_message_hash"}

    def name(self, table: str, key: str) -> str | None:
        """The name of a conversation or thread."""
        if not self.columns(table) >= {"id", "name"}:
            return None
        rows = self.query(f"SELECT name FROM {table} WHERE id = ?", key)  # noqa: S608  # our own name
        return values.one_line(rows[0][0]) if rows else None


def _add_responses(log: _Log, session: ParsedSession) -> None:
    session.title = log.name("conversations", session.source_id)
    there = log.columns("responses")
    names = [name if name in there else "NULL" for name in (*_RESPONSE, "output_tokens")]
    rows = log.query(
        f"SELECT {', '.join(names)} FROM responses WHERE conversation_id = ? ORDER BY rowid",  # noqa: S608  # our own names
        session.source_id,
    )
    persona = None
    for number, (prompt, reply, model, system, at, duration, sent, received) in enumerate(rows, 1):
        when, location = values.timestamp_of(at), f"response {number}"
        if isinstance(system, str) and system != persona:
            persona = system
            session.add_message("system", system, when, location=location)
        if isinstance(prompt, str):
            session.add_message("user", prompt, when, location=location)
        if isinstance(reply, str):
            turn = _turn(model, duration, sent, received)
            session.add_message("assistant", reply, when, location=location, turn=turn)


def _add_thread(log: _Log, session: ParsedSession) -> None:
    session.title = log.name("threads", session.source_id) or session.title
    turns = log.query(
        "SELECT tip_message_hash, model, duration_ms, input_tokens, output_tokens, datetime_utc FROM turns"
        " WHERE thread_id = ? ORDER BY datetime_utc, id",
        session.source_id,
    )
    seen: set[Any] = set()
    for number, (last, model, duration, sent, received, at) in enumerate(turns, 1):
        chain, tip = [], last
        while tip is not None and tip not in seen:
            seen.add(tip)
            rows = log.query("SELECT parent_hash, role FROM messages WHERE hash = ?", tip)
            chain += [(tip, role) for _, role in rows]
            tip = rows[0][0] if rows else None
        for message, role in reversed(chain):
            parts = log.query(
                "SELECT text FROM parts WHERE message_hash = ? AND type = 'text' ORDER BY position", message
            )
            if role in {"user", "assistant", "system"}:
                text = "\n\n".join(text for (text,) in parts if isinstance(text, str))
                turn = _turn(model, duration, sent, received)
                session.add_message(role, text, values.timestamp_of(at), location=f"turn {number}", turn=turn)


def _turn(model: object, duration: object, sent: object, received: object) -> TurnRecord:
    return TurnRecord(
        backend="llm",
        model=values.short(model),
        input_tokens=values.count(sent),
        output_tokens=values.count(received),
        total_ms=values.count(duration) or 0,
    )


@contextmanager
def _open(path: Path) -> Iterator[_Log]:
    with opened(path):
        pass  # a regular file, not a link or a FIFO that SQLite would wait for
    database = None
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        yield _Log(database)
    except (sqlite3.Error, ValueError, OverflowError) as error:
        raise Skipped(f"SQLite cannot read it: {str(error)[:120]}") from None
    finally:
        if database is not None:
            database.close()

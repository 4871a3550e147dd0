"""`llm`'s log: ``logs.db``, a SQLite database that is opened to be read only.

Up to 0.30 or so a conversation's answers are rows of `responses`; newer versions keep `threads`, whose
`turns` end at the tip of a chain of `messages` with `parts` (its llm/migrations.py). Both are read, each
conversation from where it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from port42_daemon.transfer.readers import base as f
from port42_daemon.transfer.readers.base import Found, Skipped
from port42_daemon.transfer.readers.files import opened
from port42_protocol.messages.records import TurnRecord

_SECONDS = 5.0
"""That one question may take: a database can be made so that it never ends."""
_LENGTH = 16 * 1024 * 1024


def recognised(data: bytes) -> bool:
    """Whether a file that begins so is a SQLite database."""
    return data.startswith(b"SQLite format 3\0")


def conversations(path: Path) -> list[str]:
    """The ids of all of them, in order. Raises `Skipped`."""
    with _asking(path) as ask:
        ids: set[str] = set()
        if _columns(ask, "responses") >= {"conversation_id", "prompt", "response"}:
            ids |= {one for (one,) in ask("SELECT DISTINCT conversation_id FROM responses")}
        if _columns(ask, "turns") >= {"thread_id", "tip_message_hash"}:
            ids |= {one for (one,) in ask("SELECT DISTINCT thread_id FROM turns")}
        if not ids and not _columns(ask, "conversations"):
            raise Skipped("it is not a log of llm's")
        return sorted(one for one in ids if isinstance(one, str) and 0 < len(one) <= 256)


def read(path: Path, source_id: str) -> Found:
    """One conversation. Raises `Skipped`."""
    found = Found(source_id)
    with _asking(path) as ask:
        if _columns(ask, "responses") >= {"conversation_id", "prompt", "response"}:
            _responses(ask, found)
        if not found.records and _columns(ask, "turns") >= {"thread_id", "tip_message_hash"}:
            _thread(ask, found)
    if not found.records:
        raise Skipped("nobody says anything in it")
    return found


_Ask = Callable[..., list[tuple[Any, ...]]]


def _responses(ask: _Ask, found: Found) -> None:
    if _columns(ask, "conversations") >= {"id", "name"}:
        for (name,) in ask("SELECT name FROM conversations WHERE id = ?", found.source_id):
            found.title = f.one_line(name)
    there = _columns(ask, "responses")
    wanted = ("prompt", "response", "model", "system", "datetime_utc", "duration_ms", "input_tokens")
    names = [name if name in there else "NULL" for name in (*wanted, "output_tokens")]
    rows = ask(
        f"SELECT {', '.join(names)} FROM responses WHERE conversation_id = ? ORDER BY rowid",  # noqa: S608  # our own names
        found.source_id,
    )
    persona = None
    for number, (prompt, reply, model, system, when, took, sent, got) in enumerate(rows, 1):
        at, place = f.moment(when), f"response {number}"
        if isinstance(system, str) and system != persona:
            persona = system
            found.say("system", system, at, place=place)
        found.say("user", prompt if isinstance(prompt, str) else "", at, place=place)
        if isinstance(reply, str):
            found.say("assistant", reply, at, place=place, turn=_turn(model, took, sent, got))


def _thread(ask: _Ask, found: Found) -> None:
    if _columns(ask, "threads") >= {"id", "name"}:
        for (name,) in ask("SELECT name FROM threads WHERE id = ?", found.source_id):
            found.title = f.one_line(name)
    turns = ask(
        "SELECT tip_message_hash, model, duration_ms, input_tokens, output_tokens, datetime_utc FROM turns"
        " WHERE thread_id = ? ORDER BY datetime_utc, id",
        found.source_id,
    )
    seen: set[Any] = set()
    for number, (last, model, took, sent, got, when) in enumerate(turns, 1):
        chain, tip = [], last
        while tip is not None and tip not in seen:
            seen.add(tip)
            rows = ask("SELECT parent_hash, role FROM messages WHERE hash = ?", tip)
            chain += [(tip, role) for _, role in rows]
            tip = rows[0][0] if rows else None
        for message, role in reversed(chain):
            parts = ask(
                "SELECT text FROM parts WHERE message_hash = ? AND type = 'text' ORDER BY position", message
            )
            if role in {"user", "assistant", "system"}:
                said = "\n\n".join(text for (text,) in parts if isinstance(text, str))
                turn = _turn(model, took, sent, got)
                found.say(role, said, f.moment(when), place=f"turn {number}", turn=turn)


def _turn(model: object, took: object, sent: object, got: object) -> TurnRecord:
    return TurnRecord(
        backend="llm",
        model=f.short(model),
        input_tokens=f.whole_number(sent),
        output_tokens=f.whole_number(got),
        total_ms=f.whole_number(took) or 0,
    )


def _columns(ask: _Ask, table: str) -> set[str]:
    """The columns of a real table: a view may be a question without an end."""
    if not ask("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table):
        return set()
    return {name for _, name, *_ in ask(f"PRAGMA table_info({table})")}


@contextmanager
def _asking(path: Path) -> Iterator[_Ask]:
    """The database, to be read only; questions that take too long or hold too much are given up."""
    with opened(path):
        pass  # an ordinary file, not a link or a FIFO that SQLite would wait at
    deadline = 0.0

    def ask(question: str, *values: Any) -> list[tuple[Any, ...]]:
        nonlocal deadline
        assert database is not None  # noqa: S101  # for mypy: it is given only once it is open
        deadline = time.monotonic() + _SECONDS
        return database.execute(question, values).fetchall()

    database = None
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        database.text_factory = lambda data: data.decode(errors="replace")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH)
        database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        database.execute("PRAGMA trusted_schema = OFF")
        yield ask
    except (sqlite3.Error, ValueError, OverflowError) as error:
        raise Skipped(f"SQLite cannot read it: {str(error)[:120]}") from None
    finally:
        if database is not None:
            database.close()

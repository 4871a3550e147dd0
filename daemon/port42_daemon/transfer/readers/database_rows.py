"""The rows of one conversation of another program's database as JSON lines, and a database made of these.

A line ``{"table":"message","columns":["id","data"]}`` comes before the lines ``["…","…"]`` of its rows.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.sqlite_file import Database
from port42_protocol.encoding import encode

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CHAIN = (
    "(WITH RECURSIVE chain (hash) AS (SELECT tip_message_hash FROM turns WHERE thread_id = ?1 UNION"
    " SELECT parent_hash FROM messages JOIN chain USING (hash)) SELECT hash FROM chain)"
)
_REPLIES = "(SELECT id FROM responses WHERE conversation_id = ?1)"
_FRAGMENTS = f"SELECT fragment_id FROM prompt_fragments WHERE response_id IN {_REPLIES}"  # noqa: S608  # our own words
_PIECES = (
    "SELECT json_extract(piece.value, '$.fragment') FROM parts,"  # noqa: S608  # our own words
    " json_each(CASE WHEN json_valid(payload) THEN payload END, '$.text_ref') AS piece"
    f" WHERE message_hash IN {_CHAIN}"
)
_TABLES: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "opencode": [
        ("session", "id = ?1", ()),
        ("message", "session_id = ?1", ()),
        ("part", "session_id = ?1", ()),
        ("todo", "session_id = ?1", ()),
        ("session_v2", "id = ?1", ()),
        ("session_message", "session_id = ?1", ()),
    ],
    "llm": [
        ("conversations", "id = ?1", ()),
        ("responses", "conversation_id = ?1", ()),
        ("tool_calls", f"response_id IN {_REPLIES}", ("responses",)),
        ("tool_results", f"response_id IN {_REPLIES}", ("responses",)),
        ("prompt_fragments", f"response_id IN {_REPLIES}", ("responses",)),
        ("prompt_attachments", f"response_id IN {_REPLIES}", ("responses",)),
        ("system_fragments", f"response_id IN {_REPLIES}", ("responses",)),
        ("threads", "id = ?1", ()),
        ("turns", "thread_id = ?1", ()),
        ("messages", f"hash IN {_CHAIN}", ("turns",)),
        ("parts", f"message_hash IN {_CHAIN}", ("turns", "messages")),
        ("fragments", f"id IN ({_FRAGMENTS})", ("prompt_fragments", "responses")),
        ("fragments", f"id IN ({_PIECES})", ("parts", "turns", "messages")),
    ],
}
"""Tables, which of their rows are a conversation's, and the other tables that are asked for that."""


def lines_of(format_name: str, path: Path, conversation: str) -> Iterator[bytes]:
    """Raises `Skipped`."""
    with Database.opened(path) as database:
        for table, condition, others in _TABLES[format_name]:
            if not all(map(database.has, (table, *others))):
                continue
            rows = database.query(f"SELECT * FROM {table} WHERE {condition}", conversation)  # noqa: S608  # our own words
            columns = [name for name, *_ in rows.description]
            yield encode({"table": table, "columns": columns}) + b"\n"
            for row in rows:
                yield encode([_stored(value) for value in row]) + b"\n"


def make_database(lines: Iterable[bytes | None], path: Path) -> None:
    """Write a database with these rows. Raises `Skipped` for lines that `lines_of` did not give."""
    insert = ""
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA synchronous = OFF")  # it is read once
            for line in lines:
                value = msgspec.json.decode(line or b"")
                if isinstance(value, list):
                    database.execute(insert, [_value(each) for each in value])
                    continue
                table, columns = value["table"], value["columns"]
                if not all(map(_NAME.fullmatch, (table, *columns))):
                    raise Skipped("what was kept of it has names that no table has")
                names = ", ".join(f'"{column}"' for column in columns)
                database.execute(f'CREATE TABLE IF NOT EXISTS "{table}" ({names})')
                places = ", ".join("?" * len(columns))
                insert = f'INSERT INTO "{table}" ({names}) VALUES ({places})'  # noqa: S608  # as looked at
    except (sqlite3.Error, msgspec.DecodeError, KeyError, TypeError):
        raise Skipped("what was kept of it is damaged") from None


def _stored(value: Any) -> Any:
    return {"base64": value} if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    return msgspec.convert(value["base64"], bytes) if isinstance(value, dict) else value

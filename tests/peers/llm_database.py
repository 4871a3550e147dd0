"""A `logs.db` as `llm` makes it: the tables of its migrations that hold conversations, old and new."""

import sqlite3
from pathlib import Path

_OLD = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
  options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT REFERENCES conversations(id),
  duration_ms INTEGER, datetime_utc TEXT, input_tokens INTEGER, output_tokens INTEGER);
"""
_NEW = """
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT,
  model TEXT, input_tokens INTEGER, output_tokens INTEGER, duration_ms INTEGER, datetime_utc TEXT);
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, text TEXT,
  payload TEXT);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, source TEXT);
"""


def old(path: Path, conversations: dict[str, list[tuple[str, str]]]) -> None:
    """Conversations by id, each of prompts and replies; one that is there grows."""
    with sqlite3.connect(path) as database:
        if not database.execute("SELECT 1 FROM sqlite_master").fetchall():
            database.executescript(_OLD)
        for identity, exchanges in conversations.items():
            database.execute("REPLACE INTO conversations VALUES (?, ?, 'm')", (identity, f"about {identity}"))
            for number, (prompt, reply) in enumerate(exchanges):
                values = (
                    f"{identity}-{number}",
                    prompt,
                    "be brief",
                    reply,
                    identity,
                    f"2026-01-15T10:0{number}:00",
                )
                database.execute(
                    "REPLACE INTO responses (id, model, prompt, system, response, conversation_id,"
                    " datetime_utc, duration_ms, input_tokens) VALUES (?1, 'm', ?2, ?3, ?4, ?5, ?6, 900, 7)",
                    values,
                )
    database.close()


def new(path: Path, thread: str, said: list[tuple[str, str]], older: int = 0) -> None:
    """One thread of ``(role, text)``, a turn at each answer but the `older` ones of before an upgrade."""
    with sqlite3.connect(path) as database:
        database.executescript(_NEW)
        database.execute("INSERT INTO threads (id, name) VALUES (?, 'a thread')", (thread,))
        for number, (role, text) in enumerate(said, 1):
            parent = f"h{number - 1}" if number > 1 else None
            database.execute("INSERT INTO messages VALUES (?, ?, ?, NULL)", (f"h{number}", parent, role))
            database.execute(
                "INSERT INTO parts (message_hash, position, type, text) VALUES (?, 0, 'text', ?)",
                (f"h{number}", text),
            )
            if role == "assistant" and number > older:
                database.execute(
                    "INSERT INTO turns (id, thread_id, parent_message_hash, tip_message_hash, model,"
                    " datetime_utc) VALUES (?, ?, ?, ?, 'm', ?)",
                    (f"t{number}", thread, parent, f"h{number}", f"2026-01-15T10:0{number}:00+00:00"),
                )
    database.close()

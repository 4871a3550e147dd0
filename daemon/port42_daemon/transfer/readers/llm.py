"""`llm`'s log: ``logs.db``, a SQLite database, which is opened read-only.

Before 0.32 a conversation's replies are rows of `responses`; newer versions have `threads`, whose `turns` end
at the tip of a chain of `messages` with `parts` (its llm/migrations.py and logs.py). The chain of a
conversation that was upgraded contains the older replies, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped
from port42_daemon.transfer.readers.files import json_value
from port42_daemon.transfer.readers.sqlite_file import Database
from port42_daemon.transfer.readers.values import MESSAGE_BYTES
from port42_protocol.messages.records import Reference

_CONVERSATIONS = 100_000
_FRAGMENTS, _FRAGMENT = 20, 262_144
"""Maximum references of one prompt, and characters of each; the text of a longer one is omitted."""
_PARTS = 10_000
_ATTACHMENT = "[attachment]"
_TURN = ("model", "duration_ms", "input_tokens", "output_tokens", "datetime_utc")


def conversations(path: Path) -> dict[str, str]:
    """The ids of all conversations, with what changes when one gets a reply. Raises `Skipped`."""
    versions: dict[str, str] = {}
    with Log.opened(path) as log:
        if not log.has_responses and not log.has_turns:
            raise Skipped("it is not a log of llm's")
        responses = [("conversation_id", "responses")] if log.has_responses else []
        for column, table in responses + ([("thread_id", "turns")] if log.has_turns else []):
            # A value may have 16 MiB.
            valid = f"typeof({column}) = 'text' AND length({column}) BETWEEN 1 AND 256"
            rows = log.query(f"SELECT {column}, count(*) FROM {table} WHERE {valid} GROUP BY 1")  # noqa: S608  # our own names
            for key, replies in islice(rows, _CONVERSATIONS):
                versions[key] = f"{versions.get(key, '')} {replies}"
    return versions


def read(path: Path, source_id: str, limits: SessionsConfig) -> list[ParsedSession]:
    """One conversation. Raises `Skipped`."""
    session = Document("llm", source_id, limits)
    with Log.opened(path) as log:
        for table in ("threads", "conversations"):
            if log.has(table, "id", "name"):
                row = log.query(f"SELECT name FROM {table} WHERE id = ?", source_id).fetchone()  # noqa: S608  # our own name
                session.info.add_title(values.one_line(row[0]) if row else None)
        if log.has_turns:
            _add_thread(log, session)
        if log.has_responses and not session.info.last_time:
            _add_responses(log, session)
    return session.finished()


class Log(Database):
    """llm's database, if it has one of the two kinds of tables."""

    def __init__(self, database: sqlite3.Connection) -> None:
        super().__init__(database)
        self.has_responses = self.has("responses", "conversation_id", "prompt", "response")
        self.has_turns = self.has("turns", "thread_id", "parent_message_hash", "tip_message_hash")

    def fragment(self, key: object) -> Reference | None:
        """A text that was attached to a prompt, such as a file."""
        if not isinstance(key, int) or not self.has("fragments", "id", "content", "source"):
            return None
        row = self.query("SELECT source, content FROM fragments WHERE id = ?", key).fetchone()
        if not row or not isinstance(row[1], str):
            return None
        source = values.short(row[0], 1000) or "fragment"
        kind: Literal["file", "url", "text"] = "text"
        if source.startswith(("/", "http://", "https://")):
            kind = "file" if source[0] == "/" else "url"
        return Reference(kind, source, row[1] if len(row[1]) <= _FRAGMENT else None)

    def responses(self, source_id: str, *names: str) -> sqlite3.Cursor:
        """The columns `names` and `_TURN` of a conversation's rows; columns that older logs lack are NULL."""
        columns = [name if self.has("responses", name) else "NULL" for name in (*names, *_TURN)]
        where = "WHERE conversation_id = ? ORDER BY rowid"
        return self.query(f"SELECT {', '.join(columns)} FROM responses {where}", source_id)  # noqa: S608  # our own names


def _add_responses(log: Log, session: Document) -> None:
    persona = None
    has_tools = log.has("tool_calls", "response_id", "tool_call_id", "name", "arguments") and log.has(
        "tool_results", "response_id", "tool_call_id", "output", "exception"
    )
    has_fragments = log.has("prompt_fragments", "fragment_id", "response_id")
    has_attachments = log.has("prompt_attachments", "response_id")
    rows = log.responses(session.info.source_id, "prompt", "response", "system", "id")
    for number, (prompt, reply, system, key, *turn) in enumerate(rows, 1):
        location, when = f"response {number}", values.timestamp_of(turn[-1])
        if isinstance(system, str) and system != persona:
            persona = system
            _add(session, "system", (system, []), turn, location)
        fragments = []
        if has_fragments:
            used = log.query("SELECT fragment_id FROM prompt_fragments WHERE response_id = ?", key)
            fragments = [fragment for (row,) in used if (fragment := log.fragment(row))]
        if has_tools:
            results = "SELECT tool_call_id, output, exception FROM tool_results WHERE response_id = ?"
            for call_id, output, exception in log.query(results, key):
                _add_result(session, call_id, output, exception, when)
        texts = [prompt] if isinstance(prompt, str) else []
        if has_attachments:
            attached = log.query("SELECT 1 FROM prompt_attachments WHERE response_id = ?", key)
            texts += [_ATTACHMENT for _ in islice(attached, _PARTS)]
        _add(session, "user", ("\n\n".join(texts), fragments), turn, location)
        if isinstance(reply, str):
            _add(session, "assistant", (reply, []), turn, location)
        if has_tools:
            calls = "SELECT tool_call_id, name, arguments FROM tool_calls WHERE response_id = ?"
            for call_id, name, arguments in log.query(calls, key):
                session.call("", _call_id(call_id), values.short(name), _json(arguments), when)


def _add_thread(log: Log, session: Document) -> None:
    """The chain of messages of each turn; in an upgraded log the first one has the older responses."""
    turns = log.query(
        "SELECT parent_message_hash, tip_message_hash, model, duration_ms, input_tokens, output_tokens,"
        " datetime_utc FROM turns WHERE thread_id = ? ORDER BY datetime_utc, id",
        session.info.source_id,
    )
    older: Iterator[Any] = log.responses(session.info.source_id) if log.has_responses else iter(())
    payload = "payload" if log.has("parts", "payload") else "NULL"
    parts = f"SELECT type, text, {payload} FROM parts WHERE message_hash = ? ORDER BY position"  # noqa: S608  # our own name
    seen: set[object] = set()
    for number, (parent, last, *turn) in enumerate(turns, 1):
        chain: list[tuple[object, object]] = []
        tip = last
        while tip is not None and tip not in seen:
            seen.add(tip)
            row = log.query("SELECT parent_hash, role FROM messages WHERE hash = ?", tip).fetchone()
            if row:
                chain.append((tip, row[1]))
            tip = row[0] if row else None
        chain.reverse()
        own = next((at for at, (message, _) in enumerate(chain) if message == parent), 0)
        facts = turn
        for at, (message, role) in enumerate(chain):
            if at >= own:
                facts = turn
            elif role == "user":
                facts = list(next(older, [None] * len(_TURN)))
            rows = list(islice(log.query(parts, message), _PARTS))
            _add_parts(log, session, (role, rows), facts, f"turn {number}")


def _add_parts(
    log: Log, session: Document, message: tuple[object, list[Any]], turn: list[Any], location: str
) -> None:
    role, rows = message
    when = values.timestamp_of(turn[-1])
    for text in (text for kind, text, _ in rows if kind == "reasoning" and isinstance(text, str)):
        session.thought("", text, when)
    _add(session, role, _content(log, rows), turn, location)
    for kind, _, payload in rows:
        fields = values.mapping(_json(payload))
        call_id = fields.get("tool_call_id")
        if kind == "tool_call":
            name = values.short(fields.get("name"))
            session.call("", _call_id(call_id), name, fields.get("arguments"), when)
        elif kind == "tool_result":
            _add_result(session, call_id, fields.get("output"), fields.get("exception"), when)


def _call_id(value: object) -> str:
    return values.short(value, 256) or "unknown"


def _add_result(
    session: Document, call_id: object, output: object, exception: object, when: str | None
) -> None:
    session.result("", _call_id(call_id), output, when, failed=exception is not None)


def _content(log: Log, parts: list[Any]) -> tuple[str, list[Reference]]:
    texts: list[str] = []
    fragments: list[Reference] = []
    for kind, text, payload in parts:
        if kind == "attachment":
            texts.append(_ATTACHMENT)
        elif kind == "text" and isinstance(text, str):
            texts.append(text)
        elif kind == "text":
            pieces = _pieces(payload)
            texts += [str(piece["literal"]).strip() for piece in pieces if "literal" in piece]
            resolved = (log.fragment(piece.get("fragment")) for piece in pieces)
            fragments += [fragment for fragment in resolved if fragment]
        if sum(map(len, texts)) > MESSAGE_BYTES:  # it is refused as it is
            break
    return "\n\n".join(texts), fragments


def _pieces(payload: object) -> list[Mapping[str, Any]]:
    """Literals and fragments of a text: ``{"text_ref":[{"fragment":1},{"literal":"…"}]}``."""
    pieces = values.mapping(_json(payload)).get("text_ref")
    return list(map(values.mapping, pieces)) if isinstance(pieces, list) else []


def _json(payload: object) -> Any:
    """The value of a column; text that is no JSON is itself."""
    if not isinstance(payload, str):
        return payload
    try:
        return json_value(payload.encode(errors="replace"))
    except Skipped:
        return payload


def _add(
    session: Document,
    role: object,
    content: tuple[str, list[Reference]],
    turn: list[Any],
    location: str,
) -> None:
    """Add a message with its turn, which has the columns `_TURN`."""
    text, fragments = content
    model, duration, sent, received, timestamp = turn
    when = values.timestamp_of(timestamp)
    if role == "user":
        references = tuple(fragments[:_FRAGMENTS])
        names = "\n".join(f"[{reference.target}]" for reference in references)
        session.prompt("", text.strip() or names, when, location, references=references or UNSET)
    elif role == "assistant":
        info = session.info
        info.model, info.total_ms = values.short(model), values.count(duration) or 0
        if sent is not None or received is not None:
            info.add_tokens(values.count(sent) or 0, values.count(received) or 0)
        session.message("", "assistant", text, when, location)
    elif role == "system":
        session.message("", "system", text, when, location)

"""The rows of opencode's database, as the messages and parts that ``opencode export`` writes.

Version 2 keeps sessions in `session_v2` and their messages in `session_message`, and does not write to the
tables of before any more. It is known here from its sources (packages/schema) only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, zip_longest
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.files import json_value
from port42_daemon.transfer.readers.sqlite_file import Database

_SESSIONS = 100_000
_ACTIVE = 20
"""Sessions, those used last, that may be written to now."""
_NONE: Mapping[str, Any] = {}
_INFO = ("id", "parentID", "directory", "title")

Message = tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]
"""A message and its parts, which are read from an open database when they are asked for."""


def is_ours(database: Database) -> bool:
    return bool(_tables(database))


def _tables(database: Database) -> dict[str, str]:
    """The tables of sessions, older ones first, with that of what is written during a reply."""
    tables = {}
    if (
        database.has("session", "id", "directory", "title", "time_updated")
        and database.has("message", "session_id", "data", "time_created")
        and database.has("part", "message_id", "session_id", "data", "time_updated")
    ):
        tables["session"] = "part"
    if database.has("session_v2", "id", "directory", "title", "time_updated") and database.has(
        "session_message", "session_id", "type", "seq", "data", "time_updated"
    ):
        tables["session_v2"] = "session_message"
    return tables


def versions(database: Database) -> dict[str, str]:
    """The sessions' ids, oldest first, with what changes when one is written to."""
    known: dict[str, tuple[str, str]] = {}
    valid = "typeof(id) = 'text' AND length(id) BETWEEN 1 AND 256"
    for table, written in _tables(database).items():
        # Ids are in the opposite order of time.
        rows = database.query(
            f"SELECT id, time_updated, time_created FROM {table} WHERE {valid} ORDER BY 2 DESC"  # noqa: S608  # our own words
        )
        # The session itself is not written to with each part of a reply.
        latest = f"SELECT count(*), max(time_updated) FROM {written} WHERE session_id = ?"  # noqa: S608  # our own words
        for at, (key, updated, created) in enumerate(list(islice(rows, _SESSIONS))):
            version = str(updated)
            if at < _ACTIVE:
                version += " {} {}".format(*database.query(latest, key).fetchone())
            known[key] = str(created), version
    return {key: known[key][1] for key in sorted(known, key=lambda key: (known[key][0], key))}


def session(database: Database, session_id: str) -> tuple[dict[str, Any], list[Message]]:
    """What there is about a session, and its messages. Raises `Skipped`."""
    newest: tuple[dict[str, Any], list[Message]] | None = None
    for table in _tables(database):
        columns = "id, parent_id, directory, title, time_created"
        row = database.query(f"SELECT {columns} FROM {table} WHERE id = ?", session_id).fetchone()  # noqa: S608  # our own names
        if row is not None:
            read = _messages if table == "session_v2" else _older
            messages = list(read(database, session_id))
            if messages or newest is None:
                info = dict(zip(_INFO, row, strict=False))
                newest = {**info, "time": {"created": row[-1]}}, messages
    if newest is None:
        raise Skipped("it is not there any more")
    return newest


def _older(database: Database, session_id: str) -> Iterator[Message]:
    messages = database.query(
        "SELECT id, data FROM message WHERE session_id = ? ORDER BY time_created, id", session_id
    )
    for key, data in messages:
        parts = database.query("SELECT data FROM part WHERE message_id = ? ORDER BY id", key)
        yield _json(data), (_json(part) for (part,) in parts)


def _messages(database: Database, session_id: str) -> Iterator[Message]:
    """Of version 2; what the program tells the model, and a change of the model, are none."""
    rows = database.query(
        "SELECT type, id, data FROM session_message WHERE session_id = ? ORDER BY seq", session_id
    )
    for kind, key, data in rows:
        fields = _json(data)
        times = values.mapping(fields.get("time"))
        match kind:
            case "user":
                yield {"role": "user", "time": times}, _prompt(fields)
            case "assistant":
                yield _reply(fields, times), _parts(database, key)
            case "shell":
                if fields.get("status") != "running":
                    times = {"completed": times.get("created"), **times}
                yield {"role": "assistant", "time": times}, [_shell(str(key), fields, times)]
            case "compaction" if isinstance(fields.get("summary"), str):
                if fields.get("status", "completed") == "completed":
                    about = {
                        "role": "assistant",
                        "summary": True,
                        "time": {"completed": times.get("created")},
                    }
                    yield about, [{"type": "text", "text": fields["summary"]}]


def _prompt(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = fields.get("files")
    attached = map(values.mapping, files if isinstance(files, list) else ())
    return [
        {"type": "text", "text": fields.get("text")},
        *(
            {"type": "file", "filename": file.get("name") or file.get("uri"), "mime": file.get("mime")}
            for file in attached
        ),
    ]


def _reply(fields: Mapping[str, Any], times: Mapping[str, Any]) -> dict[str, Any]:
    about = {"role": "assistant", "time": times, "modelID": values.mapping(fields.get("model")).get("id")}
    about |= {name: fields[name] for name in ("finish", "tokens") if name in fields}
    if error := values.mapping(fields.get("error")):
        kind = values.short(error.get("type")) or "error"
        name = "MessageAbortedError" if "abort" in kind or "interrupt" in kind else kind
        about["error"] = {"name": name, "data": {"message": error.get("message")}}
    return about


def _parts(database: Database, key: object) -> Iterator[Mapping[str, Any]]:
    row = database.query("SELECT data FROM session_message WHERE id = ?", key).fetchone()
    fields = _json(row[0]) if row else {}
    times, content = values.mapping(fields.get("time")), fields.get("content")
    items = [*map(values.mapping, content if isinstance(content, list) else ())]
    for item, following in zip_longest(items, items[1:], fillvalue=_NONE):
        own = values.mapping(item.get("time"))
        if item.get("type") == "tool":
            yield _tool(item, own, times)
        else:
            # A text has no time of its own: it has ended when what follows it begins.
            next_begins = values.mapping(following.get("time")).get("created")
            until = next_begins or (times.get("created") if following else None)
            yield {**item, "time": {"end": own.get("completed") or until or times.get("completed")}}


def _tool(item: Mapping[str, Any], own: Mapping[str, Any], times: Mapping[str, Any]) -> Mapping[str, Any]:
    state = values.mapping(item.get("state"))
    result = {
        **state,
        "output": state.get("content") or state.get("output"),
        "error": values.mapping(state.get("error")).get("message") or state.get("content"),
        "time": {
            "start": own.get("ran") or own.get("created"),
            "end": own.get("completed") or times.get("completed"),
        },
    }
    return {"type": "tool", "callID": item.get("id"), "tool": item.get("name"), "state": result}


def _shell(key: str, fields: Mapping[str, Any], times: Mapping[str, Any]) -> Mapping[str, Any]:
    """A command that the person ran."""
    output = fields.get("output")
    state = {
        "status": "running" if fields.get("status") == "running" else "completed",
        "input": {"command": fields.get("command")},
        "output": values.mapping(output).get("text", output),
        "metadata": {"exit": fields.get("exit")},
        "time": {"start": times.get("created"), "end": times.get("completed")},
    }
    return {"type": "tool", "callID": key, "tool": "shell", "state": state}


def _json(data: object) -> Mapping[str, Any]:
    return values.mapping(json_value(data.encode())) if isinstance(data, str) else {}

"""opencode's sessions: ``~/.local/share/opencode/opencode.db``, or what ``opencode export`` writes.

Before 1.2 each session, message and part was a file: ``storage/session/<project>/<session>.json``,
``storage/message/<session>/<message>.json`` and ``storage/part/<message>/<part>.json``. Ids are in the order
of time. What is still being written is left out until it has ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from port42_daemon.config import SessionsConfig
from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import opencode_rows, values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped
from port42_daemon.transfer.readers.files import (
    BOM,
    LINE_BYTES,
    DiskFault,
    below,
    chunks,
    json_value,
    messages_of,
    opened,
    whole,
)
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_daemon.transfer.readers.opencode_rows import Message
from port42_daemon.transfer.readers.sqlite_file import Database

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
EXPORT = re.compile(rb'\s*\{\s*"info"\s*:')
"""The beginning of an exported session."""
_UNTITLED = re.compile(r"(?:New|Child) session - \d")
_ENDED = ("completed", "error")


def conversations(path: Path) -> dict[str, str]:
    """The ids of a database's sessions, oldest first, with what changes when one is written to.

    Raises `Skipped`.
    """
    with Database.opened(path) as database:
        if not opencode_rows.is_ours(database):
            raise Skipped("it is not opencode's database")
        return opencode_rows.versions(database)


def version(session: Path) -> str:
    """Changes when one of a session's files does, of which the latest message and its parts grow."""
    times: list[int] = []
    parts = session.parents[2] / "part"
    with suppress(OSError):
        times.append(session.lstat().st_mtime_ns)
        messages = sorted(messages_of(session).iterdir())
        times.append(len(messages))
        for message in messages[-2:]:  # a prompt may come behind the beginning of its reply
            times.append(message.lstat().st_mtime_ns)
            with os.scandir(parts / message.stem) as entries:
                times += sorted(entry.stat(follow_symlinks=False).st_mtime_ns for entry in entries)
    return blake2b(" ".join(map(str, times)).encode(), digest_size=16).hexdigest()


def read(path: Path, session_id: str, limits: SessionsConfig) -> list[ParsedSession]:
    """The session with this id in a database, or that of a file. Raises `Skipped`."""
    if session_id:
        return _read_database(path, session_id, limits)
    with opened(path) as file:
        is_export = EXPORT.match(file.read(256).removeprefix(BOM)) is not None
    if is_export:
        return _read_export(chunks(path), limits)
    data, _ = whole(path, LINE_BYTES)
    info = values.mapping(json_value(data))
    return _read(info, _files(path.parents[2], str(info.get("id"))), limits)


def _read_database(path: Path, session_id: str, limits: SessionsConfig) -> list[ParsedSession]:
    with Database.opened(path) as database:
        info, messages = opencode_rows.session(database, session_id)
        return _read(info, messages, limits)


def _read_export(data: Iterable[bytes], limits: SessionsConfig) -> list[ParsedSession]:
    document = Document("opencode", "", limits)
    items = JsonDocument(data, LINE_BYTES)
    _add_all(document, _exported(document, items), None)
    document.usage("", None)
    _describe(document, values.mapping(values.mapping(json_value(items.rest)).get("info")))
    return document.finished()


def _read(
    info: Mapping[str, Any], messages: Iterable[Message], limits: SessionsConfig
) -> list[ParsedSession]:
    document = Document("opencode", "", limits)
    _describe(document, info)
    known = list(messages)
    replies = [message for message, _ in known if message.get("role") == "assistant"]
    _add_all(document, known, replies[-1] if replies else None)
    document.info.is_answered = _is_answer(known[-1][0]) if known else False
    if document.info.is_answered:  # otherwise a message follows that the latest tokens were needed for
        document.usage("", None)
    return document.finished()


def _is_answer(message: Mapping[str, Any]) -> bool:
    """Whether a prompt's last message has ended; one that ends with tool calls is followed by another."""
    has_ended = values.mapping(message.get("time")).get("completed") is not None
    goes_on = message.get("finish") == "tool-calls" and not message.get("error")
    return message.get("role") == "assistant" and has_ended and not goes_on


def _describe(document: Document, info: Mapping[str, Any]) -> None:
    about = document.info
    about.source_id = values.short(info.get("id"), 256) or ""
    if not about.source_id:
        raise Skipped("it has no id")
    about.parent = values.short(info.get("parentID"), 256)
    about.cwd = values.folder(info.get("directory"))
    about.created_at = _time(values.mapping(info.get("time")).get("created")) or about.created_at
    title = values.one_line(info.get("title"))
    if title and not _UNTITLED.match(title):
        about.add_title(title)


def _files(storage: Path, session_id: str) -> Iterator[Message]:
    for _, message in _folder(storage / "message", session_id):
        yield message, (part for _, part in _folder(storage / "part", str(message.get("id"))))


def _folder(parent: Path, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The JSON files in one of its folders, by name, which is an id in a file and may be anything."""
    if not _ID.fullmatch(name) or (parent / name).is_symlink():
        return
    try:
        keys, _ = below(parent / name, (".json",))
    except DiskFault:
        raise
    except Skipped:  # there is none
        return
    for key in keys:
        data, _ = whole(parent / name / key, LINE_BYTES)
        yield key, values.mapping(json_value(data))


def _exported(document: Document, items: JsonDocument) -> Iterator[Message]:
    for number, item in enumerate(items.items(), 1):
        if item is None:
            document.problem(f"message {number}", "it is longer than 16 MiB")
            continue
        message = values.mapping(json_value(item))
        parts = message.get("parts")
        yield (
            values.mapping(message.get("info")),
            map(values.mapping, parts if isinstance(parts, list) else ()),
        )


def _add_all(document: Document, messages: Iterable[Message], latest: Mapping[str, Any] | None) -> None:
    """Add the messages; `latest` is the reply that may still be written."""
    for number, (info, parts) in enumerate(messages, 1):
        location = f"message {number}"
        if info.get("role") == "user":
            _add_prompt(document, parts, values.mapping(info.get("time")).get("created"), location)
        elif info.get("role") != "assistant":
            document.problem(location, "it has no role that is known")
        elif not _add_reply(document, info, parts, location, may_grow=info is latest):
            return


def _add_prompt(
    document: Document, parts: Iterable[Mapping[str, Any]], created: object, location: str
) -> None:
    texts = []
    for part in parts:
        text = part.get("text")
        if part.get("type") == "text" and isinstance(text, str) and part.get("synthetic") is not True:
            texts.append(text)
        elif part.get("type") == "file":
            texts.append(f"[{values.one_line(part.get('filename') or part.get('mime')) or 'file'}]")
    text = "\n\n".join(filter(None, texts))
    document.prompt("", text, _time(created), location, _mark(created, 0, text))


def _add_reply(
    document: Document,
    info: Mapping[str, Any],
    parts: Iterable[Mapping[str, Any]],
    location: str,
    *,
    may_grow: bool,
) -> bool:
    """Add the parts that have ended; False when the message has not."""
    about, times = document.info, values.mapping(info.get("time"))
    about.model = values.short(info.get("modelID")) or about.model
    has_ended, has_tokens = not may_grow or times.get("completed") is not None, False
    for number, part in enumerate(parts):
        if not has_ended and not _is_ended(part):
            return False
        if part.get("type") == "step-finish":
            has_tokens = _add_tokens(document, part) or has_tokens
        elif info.get("summary") is True:
            if part.get("type") == "text":
                text = part.get("text")
                summary = document.bounded(text if isinstance(text, str) else "")
                document.event("", COMPACTED, _ended_at(part, times), content=summary)
        else:
            _add_part(document, part, (number, location), times)
    if has_ended and not has_tokens:
        _add_tokens(document, info)
    if error := values.mapping(info.get("error")):
        text = values.mapping(error.get("data")).get("message") or error.get("name")
        if error.get("name") != "MessageAbortedError" and isinstance(text, str):
            document.message("", "error", text, _time(times.get("completed")), location)
    return has_ended


def _add_part(
    document: Document, part: Mapping[str, Any], where: tuple[int, str], times: Mapping[str, Any]
) -> None:
    when, text = _ended_at(part, times), part.get("text")
    match part.get("type"):
        case "text" if isinstance(text, str) and part.get("synthetic") is not True:
            mark = _mark(times.get("created"), where[0], text)
            document.message("", "assistant", text, when, where[1], mark)
        case "reasoning" if isinstance(text, str):
            document.thought("", text, when)
        case "tool":
            _add_call(document, part, where[1])


def _add_call(document: Document, part: Mapping[str, Any], location: str) -> None:
    state = values.mapping(part.get("state"))
    times, given = values.mapping(state.get("time")), state.get("input")
    call_id, name = values.short(part.get("callID"), 256) or location, values.short(part.get("tool"))
    start, end = _time(times.get("start")), _time(times.get("end"))
    document.call("", call_id, name, given, start)
    if state.get("status") not in _ENDED:
        document.interrupt("", end)
        return
    code = values.mapping(state.get("metadata")).get("exit")
    failed = state.get("status") == "error" or code not in (0, None)
    output = state.get("error") if state.get("status") == "error" else state.get("output")
    document.result("", call_id, output, end, failed=failed)
    if name == "todowrite":
        document.plan("", values.mapping(given).get("todos"), end)


def _add_tokens(document: Document, source: Mapping[str, Any]) -> bool:
    """Reported behind a text: a reply that was added already gets them as an event of its own."""
    tokens = values.mapping(source.get("tokens"))
    cache = values.mapping(tokens.get("cache"))
    counts = [tokens.get("input"), cache.get("read"), cache.get("write")]
    sent = sum(values.count(number) or 0 for number in counts)
    received = (values.count(tokens.get("output")) or 0) + (values.count(tokens.get("reasoning")) or 0)
    if not sent and not received:
        return False
    document.info.add_tokens(sent, received)
    if document.info.ends_with_reply:
        document.usage("", None)
    return True


def _is_ended(part: Mapping[str, Any]) -> bool:
    match part.get("type"):
        case "text" | "reasoning":
            return values.mapping(part.get("time")).get("end") is not None
        case "tool":
            return values.mapping(part.get("state")).get("status") in _ENDED
    return True


def _ended_at(part: Mapping[str, Any], times: Mapping[str, Any]) -> str | None:
    end = values.mapping(part.get("time")).get("end")
    return _time(end) or _time(times.get("completed")) or _time(times.get("created"))


def _mark(created: object, number: int, text: str) -> str:
    """A fork copies messages with other ids, but with their times."""
    return f"{created} {number} {text[:100]}" if isinstance(created, int) else ""


def _time(milliseconds: object) -> str | None:
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool):
        return values.timestamp_of(milliseconds / 1000)
    return None

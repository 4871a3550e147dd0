"""Records of tool calls and thoughts from what a back end or a tool's file says: bounded, and text only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from msgspec import UNSET, UnsetType

from port42_daemon.config import SessionsConfig
from port42_protocol.activity import one_line
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Location, PlanEntry, ThoughtRecord, ToolRecord
from port42_protocol.messages.types import ToolKind

_TOO_DEEP = "[nested too deeply]"
_LOCATIONS, _PLAN_ENTRIES, _ENTRY_CHARS = 32, 100, 1000
_KINDS = frozenset(get_args(ToolKind))
_DATA_URL = re.compile(r"data:([\w.+-]{1,40}/[\w.+-]{1,80});base64,([A-Za-z0-9+/=\s]{64,})")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = bytes([*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_CUT = "\n[… {:,} bytes left out …]\n"
_NAMED_KINDS: dict[str, ToolKind] = {
    "bash": "execute", "shell": "execute", "exec": "execute", "terminal": "execute", "command": "execute",
    "read": "read", "view": "read", "cat": "read", "open": "read",
    "edit": "edit", "write": "edit", "patch": "edit", "replace": "edit", "create": "edit",
    "grep": "search", "glob": "search", "search": "search", "find": "search", "list": "search",
    "fetch": "fetch", "web": "fetch", "browse": "fetch",
    "delete": "delete", "remove": "delete", "move": "move", "rename": "move",
    "think": "think", "task": "think", "agent": "think", "todo": "think", "plan": "think",
}  # fmt: skip
_STEP_FIELDS = ("content", "step", "text", "title", "description", "subject")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PATH_FIELDS = ("file_path", "path", "filePath", "notebook_path", "absolute_path", "target_file", "filename")
_TITLE_FIELDS = (
    "command", "cmd", "description", "query", "pattern", "url", "prompt", "name", *_PATH_FIELDS,
)  # fmt: skip


def tool_record(  # noqa: PLR0913  # the fields of a record
    *,
    id: str,  # noqa: A002  # the field's name
    timestamp: str,
    state: Literal["done", "failed", "interrupted"],
    limits: SessionsConfig,
    name: str | None = None,
    title: str | None = None,
    kind: str | None = None,
    input: object = None,  # noqa: A002
    output: object = None,
    duration_ms: int | None = None,
    locations: Iterable[Location] = (),
    question: int | UnsetType = UNSET,
) -> ToolRecord:
    """A tool call's record. What is not given is derived from `name` and `input`, as far as they say it."""
    given, given_omitted = shorten(text_of(input), limits.tool_input_bytes)
    result, result_omitted = shorten(text_of(output), limits.tool_output_bytes)
    fields = input if isinstance(input, dict) else {}
    name = one_line(name or "", 100) or None
    return ToolRecord(
        seq=0,
        timestamp=timestamp,
        id=one_line(id, 256),
        name=name or UNSET,
        title=one_line(title or title_of(input) or name or "tool call"),
        kind=kind if kind in _KINDS else kind_of(name),  # type: ignore[arg-type]  # it is one of them
        state=state,
        input=given or UNSET,
        output=result or UNSET,
        duration_ms=UNSET if duration_ms is None else max(0, min(duration_ms, 2**53 - 1)),
        locations=tuple(locations)[:_LOCATIONS] or _locations(fields) or UNSET,
        input_omitted=given_omitted or UNSET,
        output_omitted=result_omitted or UNSET,
        question=question,
    )


def thought_record(
    text: str, timestamp: str, limits: SessionsConfig, question: int | UnsetType = UNSET
) -> ThoughtRecord | None:
    """None for a thought without text."""
    content, omitted = shorten(text_of(text), limits.tool_output_bytes)
    if not content.strip():
        return None
    return ThoughtRecord(
        seq=0, timestamp=timestamp, content=content, omitted=omitted or UNSET, question=question
    )


def plan_entries(entries: object) -> tuple[PlanEntry, ...]:
    """The steps of a plan in any of the forms tools have: ``content`` or ``step``, and a ``status``."""
    steps: list[PlanEntry] = []
    for entry in entries[: 2 * _PLAN_ENTRIES] if isinstance(entries, list) else ():
        fields = entry if isinstance(entry, dict) else {"content": entry}
        text = next(filter(None, map(fields.get, _STEP_FIELDS)), None)
        if isinstance(text, str) and text.strip() and len(steps) < _PLAN_ENTRIES:
            state = str(fields.get("status", "pending")).replace("-", "_")
            known: Any = state if state in {"in_progress", "completed"} else "pending"
            steps.append(PlanEntry(one_line(text, _ENTRY_CHARS), "completed" if state == "done" else known))
    return tuple(steps)


def update_tasks(tasks: dict[str, tuple[str, str]], result: object) -> bool:
    """Take over what a tool of Claude Code says of its tasks: their subjects and states, by their ids.

    `result` is the structured result of TaskCreate, TaskUpdate or TaskList. Returns whether that changed any.
    """
    before = dict(tasks)
    match result:
        case {"task": {"id": str(number), "subject": str(subject)}}:
            tasks[number] = (subject, "pending")
        case {"tasks": list(listed)}:
            for task in listed:
                match task:
                    case {"id": str(number), "subject": str(subject), "status": str(state)}:
                        tasks[number] = (subject, state)
        case {"taskId": str(number), "statusChange": {"to": str(state)}} if number in tasks:
            tasks[number] = (tasks[number][0], state)
    while len(tasks) > _PLAN_ENTRIES:
        del tasks[next(iter(tasks))]
    return tasks != before


@lru_cache(maxsize=256)
def kind_of(name: str | None) -> ToolKind:
    """ACP's kind of a tool, from the words of its name (``read_file``, ``WebFetch``)."""
    for word in _WORDS.findall(name or ""):
        if kind := _NAMED_KINDS.get(word.casefold()):
            return kind
    return "other"


def shorten(text: str, limit: int) -> tuple[str, int]:
    """Head and tail of `text` in about `limit` bytes of UTF-8, and how many bytes were left out between."""
    if len(text) <= limit and text.isascii():
        return text, 0
    text = encodable(text)
    data = text.encode()
    if len(data) <= limit:
        return text, 0
    head = data[: limit * 3 // 4].decode(errors="ignore")
    tail = data[len(data) - limit // 4 :].decode(errors="ignore")
    omitted = len(data) - len(head.encode()) - len(tail.encode())
    return head + _CUT.format(omitted) + tail, omitted


def encodable(text: str) -> str:
    """The text, with a replacement for each half of an emoji. To encode is faster than to search."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text)
    return text


def placeholder(media_type: object, size: int) -> str:
    """What stands for bytes that are no text."""
    return f"[{one_line(str(media_type or 'binary'), 100)}, {size:,} bytes]"


def text_of(value: object) -> str:
    """Text, JSON, or the content blocks of ACP, MCP and the model APIs as text; binary as a placeholder."""
    try:
        return _text_of(value)
    except RecursionError:
        return _TOO_DEEP


def _text_of(value: object) -> str:
    match value:
        case None:
            return ""
        case str() if _is_text(value):
            return _without_data(value)
        case str() | bytes():
            return placeholder("binary", len(value))
        case list() if value and all(isinstance(block, dict) and "type" in block for block in value):
            return "\n".join(filter(None, map(_block, value)))
        case dict() if isinstance(value.get("type"), str) and value["type"] in _BLOCKS:
            return _block(value)
    return _without_data(_json(value))


_BLOCKS = frozenset((
    "text", "input_text", "output_text", "image", "input_image", "audio", "resource", "resource_link",
    "content", "diff", "terminal",
))  # fmt: skip


def _block(block: Mapping[str, Any]) -> str:
    """One content block."""
    match block:
        case {"text": str(inner)} | {"type": "content", "content": inner} | {"image_url": str(inner)}:
            return text_of(inner)
        case {"type": "diff", "path": path, "newText": new}:
            return f"{path}\n{text_of(new)}"
        case {"resource": {"text": str(text)} as resource}:
            return f"{resource.get('uri', '')}\n{text_of(text)}"
        case (
            {"source": {"data": str(data), **about}}
            | {"resource": {"blob": str(data), **about}}
            | {"data": str(data), **about}
        ):
            media_type = about.get("media_type") or about.get("mimeType") or block.get("type")
            return placeholder(media_type, _decoded_size(data))
    return _without_data(_json(block))


def _is_text(value: str) -> bool:
    # No regular expression goes through all of a text: 16 MiB take it a second, and it holds the event loop.
    data = value.encode("utf-8", "surrogatepass")
    return len(data.translate(None, _UNPRINTABLE)) == len(data)


def _without_data(text: str) -> str:
    """The text with a placeholder for each data URL."""
    return _DATA_URL.sub(_data_url, text) if ";base64," in text else text


def _data_url(match: re.Match[str]) -> str:
    return placeholder(match[1], _decoded_size(match[2]))


def _decoded_size(encoded: str) -> int:
    return len(encoded.rstrip("=")) * 3 // 4


def _json(value: object) -> str:
    try:
        return encode(value).decode()
    except RecursionError:
        return _TOO_DEEP
    except (TypeError, ValueError, UnicodeEncodeError):
        return repr(value)


def title_of(given: object) -> str:
    """The argument that says most of what a call does; empty if there is none."""
    fields = given if isinstance(given, dict) else {}
    for value in map(fields.get, _TITLE_FIELDS):
        if isinstance(value, str) and value.strip():
            return one_line(value)
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            return one_line(" ".join(value))
    return ""


def _locations(fields: Mapping[str, Any]) -> tuple[Location, ...]:
    for path in map(fields.get, _PATH_FIELDS):
        if isinstance(path, str) and path:
            return () if "\n" in path else (Location(path[:4096]),)
    return ()

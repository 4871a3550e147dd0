"""aichat's sessions: ``sessions/<name>.yaml`` of a model and messages (its src/config/session.rs).

They have no times: every message gets the time of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped

if TYPE_CHECKING:
    from yaml import Event

LIMIT = 16 * 1024 * 1024
"""Maximum bytes of YAML: parsing takes a hundred times as long as for JSON."""
_NESTING = 64
_VALUE = 8
"""What a value counts besides its characters."""


def source_id(path: PurePath) -> str:
    """The session's name, with the folder of an agent's sessions: ``coder/refactoring``."""
    parts = path.with_suffix("").parts
    if "sessions" not in parts[:-1]:
        return parts[-1]
    position = len(parts) - 1 - parts[::-1].index("sessions")
    name = "/".join(parts[position + 1 :])
    of_agent = position >= 2 and parts[position - 2] == "agents"
    return f"{parts[position - 1]}/{name}" if of_agent else name


def read(data: bytes, name: str, when: float, limits: SessionsConfig) -> list[ParsedSession]:
    """The session of one file. Raises `Skipped`."""
    value = _parse(data)
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise Skipped("it has no list of messages")
    document = Document("aichat", name, limits)
    document.info.add_title(values.one_line(name.rpartition("/")[2]))
    document.info.created_at = values.timestamp_of(when)
    document.info.model = values.short(value.get("model"))
    compressed = value.get("compressed_messages")
    earlier = compressed if isinstance(compressed, list) else []
    room = _Room()
    for number, item in enumerate([*earlier, *value["messages"]], 1):
        message, location = values.mapping(item), f"message {number}"
        role, content = values.role_of(message.get("role")), message.get("content")
        if message.get("role") == "tool":
            _add_calls(document, values.mapping(content), location, room)
        elif role is None:
            document.problem(location, "it has no role that is known")
        else:
            document.message("", role, values.text_of(content, pictures=True), None, location)
    return document.finished()


def _add_calls(document: Document, content: Mapping[str, Any], location: str, room: _Room) -> None:
    """The assistant's text before tool calls, and their results, are one item (MessageContentToolCalls)."""
    document.message("", "assistant", values.text_of(content.get("text"), pictures=True), None, location)
    results = content.get("tool_results")
    for result in map(values.mapping, results) if isinstance(results, list) else ():
        call = values.mapping(result.get("call"))
        call_id = values.short(call.get("id")) or location
        given, output = call.get("arguments"), result.get("output")
        if not room.holds([given, output]):
            document.problem(location, f"its tool calls have more than {LIMIT:,} bytes")
            given = output = None
        document.call("", call_id, values.short(call.get("name")), given, None)
        document.result("", call_id, output, None)


class _Room:
    """For what tools were given and gave: by aliases a few lines of YAML can be more than the memory."""

    def __init__(self) -> None:
        self._left = LIMIT

    def holds(self, value: object) -> bool:
        waiting = [value]
        while waiting and self._left > 0:
            item = waiting.pop()
            self._left -= _VALUE
            if isinstance(item, str):
                self._left -= len(item)
            elif isinstance(item, list):
                waiting += item
            elif isinstance(item, dict):
                waiting += [*item, *item.values()]
        return self._left > 0


def _parse(data: bytes) -> Any:
    """The first document with all its scalars as text. Raises `Skipped`."""
    # Imported here: no other format needs it.
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = yaml.parse(data, Loader=loader)
        first = next((event for event in events if isinstance(event, yaml.NodeEvent)), None)
        return _value(first, events, {}, 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Skipped(f"not YAML{f' at line {mark.line + 1}' if mark else ''}") from None
    except (KeyError, TypeError):
        raise Skipped("not YAML: it has an alias of nothing, or a key that is not text") from None


def _value(event: Event | None, events: Iterator[Event], anchors: dict[str | None, Any], depth: int) -> Any:
    """The value that begins with `event`, in linear time and memory. Raises KeyError or TypeError.

    On hostile files a YAML loader takes quadratic time (base-60 numbers, nested merges) and memory of two
    hundred times the size of the file (nodes), and overflows the C stack (recursion).
    """
    import yaml

    if depth > _NESTING:
        raise Skipped(f"it is nested deeper than {_NESTING} levels")
    value: Any = None
    match event:
        case yaml.AliasEvent():
            value = anchors[event.anchor]
        case yaml.ScalarEvent():
            value = anchors[event.anchor] = event.value
        case yaml.SequenceStartEvent():
            value = anchors[event.anchor] = []
            while not isinstance(item := next(events), yaml.CollectionEndEvent):
                value.append(_value(item, events, anchors, depth + 1))
        case yaml.MappingStartEvent():
            value = anchors[event.anchor] = {}
            while not isinstance(key := next(events), yaml.CollectionEndEvent):
                name = _value(key, events, anchors, depth + 1)
                value[name] = _value(next(events), events, anchors, depth + 1)
    return value

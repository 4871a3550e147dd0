"""JSON-RPC without I/O: requests to lines, lines to responses and events."""

from __future__ import annotations

import json
from typing import Any, Required, TypedDict, cast

import jsonrpcclient

from port42_client.errors import BadInput, NoDaemon

JsonObject = dict[str, Any]

_NO_JSON_RPC = "what answered does not speak JSON-RPC 2.0"


class Session(TypedDict):
    """The used fields of a `messages.Summary` as JSON has it; decoding costs a command msgspec (5 ms)."""

    session_id: str
    agent: str
    title: str | None
    message_count: int
    tags: list[str]


class Option(TypedDict):
    """A `messages.PermissionOption` as JSON has it."""

    id: str
    name: str
    kind: str


class Event(TypedDict, total=False):
    """A `messages.SessionEvent` as JSON has it, for the same reason as `Session`."""

    kind: Required[str]
    session_id: str
    agent: str
    message: JsonObject
    position: int
    machine: str
    text: str
    tool_id: str
    tool_kind: str
    state: str
    backend: str
    permission_id: str
    options: list[Option]
    input: str
    input_omitted: int
    locations: list[JsonObject]


def encode(request: JsonObject) -> bytes:
    """A line without its end. Raises `BadInput`."""
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # a lone surrogate stands for a byte of the command line that is not UTF-8
        raise BadInput("what was given is not UTF-8 text") from None
    except ValueError:
        raise BadInput("NaN and Infinity are not JSON numbers") from None


def decode_line(line: bytes) -> JsonObject | None:
    """The object in a line; None for the response to a batch, which is never sent. Raises `NoDaemon`."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, list):
        return None
    if not isinstance(message, dict):
        raise NoDaemon(_NO_JSON_RPC)
    return message


def result_in(message: JsonObject) -> Any:
    """The result in an answer. Raises `DaemonError`, and `NoDaemon` for what is no answer."""
    try:
        answer = jsonrpcclient.parse(message)
    except (ValueError, TypeError, KeyError, AttributeError):
        answer = None
    if isinstance(answer, jsonrpcclient.Ok):
        return answer.result
    if isinstance(answer, jsonrpcclient.Error) and isinstance(answer.message, str):
        from port42_client import daemon_errors  # only where there is an error

        data = answer.data if isinstance(answer.data, dict) else None  # JSON-RPC allows any value
        raise daemon_errors.of(answer.code, answer.message, data)
    raise NoDaemon(_NO_JSON_RPC)


def event_in(message: JsonObject) -> Event:
    """The params of a notification; one of a method that is not known here is of the kind ``unknown``."""
    event = message.get("params")
    if message.get("method") != "session_event" or not isinstance(event, dict) or "kind" not in event:
        return {"kind": "unknown"}
    return cast("Event", event)

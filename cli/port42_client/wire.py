"""JSON-RPC without I/O: requests to lines, lines to responses and events."""

from __future__ import annotations

import json
from typing import Any, Required, TypedDict, cast

import jsonrpcclient

from port42_client.errors import BadInput, NoDaemon

JsonObject = dict[str, Any]


class Option(TypedDict):
    """A `messages.PermissionOption` as JSON has it."""

    id: str
    name: str
    kind: str


class Event(TypedDict, total=False):
    """A `messages.SessionEvent` as JSON has it: `kind` is always there, the fields are those of its kind.

    Not decoded, so that a piped `possess` needs no msgspec (5 ms), and ``--json`` prints what came.
    """

    kind: Required[str]
    session_id: str
    agent: str
    message: JsonObject
    position: int
    text: str
    tool_id: str
    state: str
    permission_id: str
    options: list[Option]


def encode(request: JsonObject) -> bytes:
    """A line without its end. Raises `BadInput`."""
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        # Bytes that are not UTF-8 reach us from the command line as lone surrogates.
        raise BadInput("what was given is not UTF-8 text") from None
    except ValueError:
        raise BadInput("NaN and Infinity are not JSON numbers") from None


def decode_line(line: bytes) -> JsonObject | None:
    """The object in a line; None for the response to a batch, which is never sent. Raises `NoDaemon`."""
    try:
        message = json.loads(line)
    except ValueError:
        raise _no_json_rpc() from None
    if isinstance(message, list):
        return None
    if not isinstance(message, dict):
        raise _no_json_rpc()
    return message


def answer_in(message: JsonObject) -> jsonrpcclient.Ok | jsonrpcclient.Error:
    """The answer that has an id. Raises `NoDaemon`."""
    try:
        answer = jsonrpcclient.parse(message)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _no_json_rpc() from None
    if not isinstance(answer, jsonrpcclient.Ok | jsonrpcclient.Error):
        raise _no_json_rpc()
    return answer


def event_in(message: JsonObject) -> Event:
    """The params of a notification; one of a method that is not known here is of the kind ``unknown``."""
    event = message.get("params")
    if message.get("method") != "session_event" or not isinstance(event, dict) or "kind" not in event:
        return {"kind": "unknown"}
    return cast("Event", event)


def _no_json_rpc() -> NoDaemon:
    return NoDaemon("what answered does not speak JSON-RPC 2.0")

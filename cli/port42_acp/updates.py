"""What an editor is shown of a session: its events, as `session/update`s in the same order. No I/O."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from port42_client.wire import Event, JsonObject
from port42_protocol.activity import call_line, edit_in
from port42_protocol.messages.records import (
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    PlanEntry,
    PlanRecord,
    Record,
    Reference,
    SystemMessage,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
)

_STATUS = {"running": "in_progress", "done": "completed", "failed": "failed", "interrupted": "failed"}
_WRITTEN = ("content", "file_text")
"""The names that tools give to the text of a file that they write."""

_OPTION_KINDS = ("allow_once", "allow_always", "reject_once", "reject_always")


class Updates:
    """The updates of one session. The pieces of a text are shown as they come, the rest with its record.

    `rejoin` says that events come from another connection, where a text that is not recorded yet begins
    again; `skip_pieces` that some were lost, and the rest of this text comes with its record.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._has_thought = False
        self._begins_again = False
        self._skips = False
        self._counts: dict[str, int] = {}
        self._calls = _Calls()

    def rejoin(self) -> None:
        self._begins_again, self._skips = True, False

    def skip_pieces(self) -> None:
        self._skips = True

    def begin_turn(self) -> None:
        """A question was recorded: the ids of tool calls are new ones from here on."""
        self._calls.begin_turn()

    def event(self, event: Event) -> list[JsonObject]:
        """The updates for an event that is not about a record."""
        match event["kind"]:
            case "text":
                return self._piece(event["text"])
            case "thought" if not self._skips:
                self._has_thought = True
                return [self._chunk("agent_thought_chunk", event["text"])]
            case "tool":
                return [self._tool(event)]
            case "waiting":
                return [self.notice(f"Turns of this session that are waited for: {event['position']}.")]
            case "notice":
                return [self.notice(event["text"])]
            case "ended":
                self._text.clear()
                self._has_thought = self._skips = False
        return []

    def record(self, record: Record) -> list[JsonObject]:
        updates: list[JsonObject] = []
        match record:
            case UserMessage():
                self.begin_turn()
                self._end("user_message_chunk")
                blocks = [_text(record.content), *map(_reference, record.references or ())]
                updates = [self._content("user_message_chunk", block) for block in blocks]
            case AssistantMessage():
                updates = self._whole(record.content)
            case ErrorMessage():
                updates = [self.notice(f"The turn failed: {record.content}")]
            case SystemMessage():
                updates = [self.notice(record.content)]
            case ThoughtRecord():
                shown, self._has_thought = self._has_thought, False
                updates = [] if shown else [self._chunk("agent_thought_chunk", record.content)]
                self._end("agent_thought_chunk")
            case ToolRecord():
                updates = [self._call(record)]
            case PlanRecord():
                updates = [{"sessionUpdate": "plan", "entries": [*map(_step, record.entries)]}]
            case EventRecord(event="renamed", title=str(title)):
                updates = [{"sessionUpdate": "session_info_update", "title": title}]
        return updates

    def notice(self, text: str) -> JsonObject:
        """ACP has no notices: they are shown as a thought, which is no part of the agent's reply."""
        return {
            "sessionUpdate": "agent_thought_chunk",
            "content": _text(f"Port42: {text}\n"),
            "messageId": f"notice-{self._end('notice')}",
        }

    def permission(self, event: Event) -> JsonObject:
        """The `toolCall` and `options` of a permission request, with what would be done."""
        known = event.get("tool_id")
        call = self._calls.known(known) if known else None
        kind, arguments = event.get("tool_kind"), _json(event.get("input", ""))
        locations = event.get("locations", [])
        changes = _changes(kind, arguments, locations[0]["path"] if locations else None)
        return {
            "toolCall": {
                "toolCallId": call or f"permission-{event['permission_id']}",
                "title": event["text"],
                "status": "pending",
                **({"kind": kind} if kind else {}),
                **({"rawInput": arguments} if arguments is not None else {}),
                **({"locations": locations} if locations else {}),
                **({"content": changes} if changes else {}),
            },
            "options": [
                {"optionId": option["id"], "name": option["name"], "kind": _option_kind(option["kind"])}
                for option in event["options"]
            ],
        }

    def _piece(self, text: str) -> list[JsonObject]:
        if self._skips:
            return []
        if self._begins_again:
            self._begins_again = False
            shown = "".join(self._text)
            text = text.removeprefix(shown)
        self._text.append(text)
        return [self._chunk("agent_message_chunk", text)] if text else []

    def _whole(self, content: str) -> list[JsonObject]:
        """The rest of a text, or all of one of which no piece was shown."""
        shown = "".join(self._text)
        self._text.clear()
        self._skips = self._begins_again = False
        rest = "" if shown.startswith(content) and shown else content.removeprefix(shown)
        updates = [self._chunk("agent_message_chunk", rest)] if rest else []
        self._end("agent_message_chunk")
        return updates

    def _tool(self, event: Event) -> JsonObject:
        call_id, is_new = self._calls.begin(event["tool_id"], running=event["state"] == "running")
        return {
            "sessionUpdate": "tool_call" if is_new else "tool_call_update",
            "toolCallId": call_id,
            "title": event["text"],
            "status": _STATUS[event["state"]],
            **({"kind": event["tool_kind"]} if event.get("tool_kind") else {}),
        }

    def _call(self, record: ToolRecord) -> JsonObject:
        call_id, is_new = self._calls.end(record.id)
        arguments = _json(record.input or "")
        path = record.locations[0].path if record.locations else None
        update: JsonObject = {
            "sessionUpdate": "tool_call" if is_new else "tool_call_update",
            "toolCallId": call_id,
            "title": call_line(record.name or None, record.title),
            "kind": record.kind,
            "status": _STATUS[record.state],
            "content": [*_changes(record.kind, arguments, path), *_output(record)],
            "locations": [
                {"path": location.path} | ({"line": location.line} if location.line is not None else {})
                for location in record.locations or ()
            ],
        }
        if arguments is not None:
            update["rawInput"] = arguments
        return update

    def _chunk(self, kind: str, text: str) -> JsonObject:
        return self._content(kind, _text(text))

    def _content(self, kind: str, block: JsonObject) -> JsonObject:
        message_id = f"{kind.removesuffix('_chunk')}-{self._counts.get(kind, 0)}"
        return {"sessionUpdate": kind, "content": block, "messageId": message_id}

    def _end(self, kind: str) -> int:
        """The next chunk of that kind belongs to another message."""
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        return number


class _Calls:
    """The ids of tool calls in the editor: an agent may use one again in a later turn."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._ended: set[str] = set()
        self._used: dict[str, int] = {}

    def begin_turn(self) -> None:
        self._ids.clear()
        self._ended.clear()

    def known(self, tool_id: str) -> str | None:
        return self._ids.get(tool_id)

    def begin(self, tool_id: str, *, running: bool) -> tuple[str, bool]:
        """The id in the editor, and whether it is new there. What comes after an end changes nothing."""
        return self._id(tool_id, again=running and tool_id in self._ended)

    def end(self, tool_id: str) -> tuple[str, bool]:
        call = self._id(tool_id, again=tool_id in self._ended)
        self._ended.add(tool_id)
        return call

    def _id(self, tool_id: str, *, again: bool) -> tuple[str, bool]:
        if tool_id in self._ids and not again:
            return self._ids[tool_id], False
        self._ended.discard(tool_id)
        times = self._used[tool_id] = self._used.get(tool_id, 0) + 1
        self._ids[tool_id] = tool_id if times == 1 else f"{tool_id}#{times}"
        return self._ids[tool_id], True


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _step(entry: PlanEntry) -> JsonObject:
    return {"content": entry.content, "priority": "medium", "status": entry.state}


def _reference(reference: Reference) -> JsonObject:
    """What was attached to a message: a text as such, all else by its address."""
    target = reference.target
    uri = f"file://{quote(target)}" if target.startswith("/") else target
    if reference.type == "text":
        return {"type": "resource", "resource": {"uri": uri, "text": reference.content or ""}}
    uri = f"port42:{target}" if reference.type == "session" else uri
    return {"type": "resource_link", "uri": uri, "name": PurePosixPath(target).name or target}


def _json(text: str) -> Any:
    """Arguments of a call; as text where they are none, or were shortened."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text


def _changes(kind: str | None, arguments: Any, path: str | None) -> list[JsonObject]:
    """An edit as two texts, of which the editor shows the difference; a whole file has no first one."""
    if kind != "edit" or not isinstance(arguments, dict) or path is None:
        return []
    if edit := edit_in(arguments):
        before, after = edit
        return [{"type": "diff", "path": path, "oldText": before, "newText": after}]
    written = next((arguments[name] for name in _WRITTEN if isinstance(arguments.get(name), str)), None)
    return [] if written is None else [{"type": "diff", "path": path, "oldText": None, "newText": written}]


def _output(record: ToolRecord) -> list[JsonObject]:
    text = record.output or ("interrupted" if record.state == "interrupted" else "")
    return [{"type": "content", "content": _text(text)}] if text else []


def _option_kind(kind: str) -> str:
    if kind in _OPTION_KINDS:
        return kind
    return "allow_once" if kind.startswith("allow") else "reject_once"

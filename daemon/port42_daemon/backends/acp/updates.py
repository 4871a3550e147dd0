"""Converts an agent's messages: ACP's updates to events, permission options to a choice. No I/O.

Parsing is lenient, because agents differ: what is not understood is ignored.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from msgspec import structs

from port42_daemon.activity import plan_entries
from port42_daemon.backends.acp.connection import Refused, fields, objects
from port42_daemon.backends.base import (
    ACTIVITIES,
    Event,
    Failure,
    FailureKind,
    Permission,
    Plan,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.backends.errors import kind_of_words, one_line, words_of
from port42_daemon.config import Permissions
from port42_protocol.messages.events import PermissionOption
from port42_protocol.messages.records import Location, PlanEntry
from port42_protocol.messages.types import ToolKind

AUTH_REQUIRED = -32000
_LOOKS_ONLY = frozenset(("read", "search", "fetch", "think"))
_TOOLS_KEPT, _ID_CHARS = 1000, 1000
"""Tool calls of one turn whose titles are remembered."""

_IDENTIFIER = re.compile(r"[a-z][a-zA-Z0-9_-]{0,63}")
_GEMINI_ID = re.compile(r"([a-z]\w{0,63})__\1_\d{1,20}_\d{1,9}")
_OUTPUT_FIELDS = ("output", "aggregated_output", "formatted_output", "content", "stdout", "error", "message")
"""Where opencode, Codex and Copilot have the text in ``rawOutput``."""
_TOOL_KINDS = frozenset(get_args(ToolKind))
_TOOL_STATES: dict[Any, Any] = {"completed": "done", "failed": "failed"}
_FAILURES: dict[Any, FailureKind] = {
    "authentication_failed": "needs_auth",
    "oauth_org_not_allowed": "needs_auth",
    "rate_limit": "rate_limit",
    "overloaded": "rate_limit",
}
"""claude-agent-acp's ``data.errorKind``, which says more than its code, always -32603."""


class Updates:
    """Reads the updates of one turn: an update of a tool call names only what changed."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._steps: tuple[PlanEntry, ...] = ()
        self._last = ""
        self._message: Any = None

    def read(self, update: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                events += self._text(update)
            case "agent_thought_chunk":
                events += [Thought(text)] if (text := _words(update.get("content"))) else []
            case "tool_call" | "tool_call_update":
                events += self._tool(update)
            case "plan":
                events += self._plan(update.get("entries"))
            case "usage" | "usage_update":
                events += [counted] if (counted := usage(update)) else []
        # user_message_chunk is our own message echoed; the others are about an editor's menus.
        if any(isinstance(event, ACTIVITIES) for event in events):
            self.end_piece()
        return events

    def end_piece(self) -> None:
        """Text that follows is not put apart from the text before."""
        self._last = ""

    def begin(self, call: dict[str, Any]) -> list[Event]:
        """The events for a call that a permission request is about: what was not known of it.

        Its title there is a question's, and its content is what would be done, not what came of it.
        """
        known = self.known(call.get("toolCallId"))
        if known is None:
            return self.read({"sessionUpdate": "tool_call"} | call)
        if known.input:  # Copilot's request has others, for its own question
            return []
        details = {"toolCallId": known.id, "rawInput": call.get("rawInput") or _edit(call)}
        return self.read({"sessionUpdate": "tool_call_update"} | details)

    def known(self, tool_id: Any) -> Tool | None:
        return self._tools.get(tool_id) if isinstance(tool_id, str) else None

    def _text(self, update: dict[str, Any]) -> list[Event]:
        text = _words(update.get("content"))
        if not text:
            return []
        message = update.get("messageId")
        apart = self._last and message != self._message
        if apart and not self._last.endswith("\n") and not text.startswith("\n"):
            text = "\n\n" + text
        self._last, self._message = text, message
        return [Text(text)]

    def _plan(self, entries: Any) -> list[Event]:
        steps = plan_entries(entries)
        if not steps or steps == self._steps:
            return []
        self._steps = steps
        return [Plan(steps)]

    def _tool(self, update: dict[str, Any]) -> list[Event]:
        tool_id = update.get("toolCallId")
        if not isinstance(tool_id, str) or len(tool_id) > _ID_CHARS:
            return []
        if not (before := self._tools.get(tool_id) or self._begun(tool_id)):
            return []
        title, status = update.get("title"), update.get("status")
        given = update.get("rawInput") or (None if before.input else _edit(update))
        tool = Tool(
            tool_id,
            one_line(title) if isinstance(title, str) and title.strip() else before.title,
            _TOOL_STATES.get(status, "running") if isinstance(status, str) else before.state,
            _name(update) or before.name,
            tool_kind(update.get("kind")) or before.kind,
            given or before.input,
            None,
            tuple(
                Location(location["path"], _count(location.get("line")))
                for location in objects(update.get("locations"))
                if isinstance(location.get("path"), str)
            )
            or before.locations,
        )
        if before.state != "running" and tool.state != "running":
            return []  # the call ended before
        begun = tool_id not in self._tools
        output = _output(update, begun=begun and tool.state == "running")
        # What is large is not kept longer than the call runs.
        ended = tool.state != "running"
        self._tools[tool_id] = structs.replace(tool, input=None, locations=()) if ended else tool
        events: list[Event] = []
        if begun or tool != before or output is not None:
            events.append(
                structs.replace(
                    tool,
                    input=None if tool.input == before.input else tool.input,
                    output=output,
                    locations=() if tool.locations == before.locations else tool.locations,
                )
            )
        # Not every agent tells its plan as one: opencode has a tool for it.
        return [*events, *self._plan(fields(given).get("todos"))]

    def _begun(self, tool_id: str) -> Tool | None:
        """A tool call that was not known; None where too many run."""
        if len(self._tools) >= _TOOLS_KEPT:
            ended = next((known for known, tool in self._tools.items() if tool.state != "running"), None)
            if ended is None:
                return None
            del self._tools[ended]
        return Tool(tool_id, "a tool", "running")


def _name(update: dict[str, Any]) -> str | None:
    """The tool's own name, which the protocol has no field for.

    Claude's agent tells it, opencode's first title is the name, and Gemini's ids begin with it.
    """
    name = fields(fields(update.get("_meta")).get("claudeCode")).get("toolName")
    title = update.get("title")
    if name is None and update.get("sessionUpdate") == "tool_call" and isinstance(title, str):
        name = title if _IDENTIFIER.fullmatch(title) else None
    if name is None and (match := _GEMINI_ID.fullmatch(str(update.get("toolCallId")))):
        name = match[1]
    return name if isinstance(name, str) else None


def _edit(update: dict[str, Any]) -> dict[str, str] | None:
    """The arguments of an edit that is told only as a difference, as Gemini's agent does."""
    for block in objects(update.get("content")):
        match block:
            case {"type": "diff", "path": str(path), "newText": str(after)}:
                before = block.get("oldText")
                return {"path": path, "oldText": before if isinstance(before, str) else "", "newText": after}
    return None


def _output(update: dict[str, Any], *, begun: bool) -> Any:
    """What a tool call gave so far; None when the update has nothing of it."""
    raw = update.get("rawOutput")
    for name in _OUTPUT_FIELDS:
        if isinstance(text := fields(raw).get(name), str):
            return text
    # A terminal is the client's, and we offer none. Text in the first update describes the call.
    ignored = ("terminal", "content") if begun else ("terminal",)
    blocks = [block for block in objects(update.get("content")) if block.get("type") not in ignored]
    return blocks if blocks and (raw is None or isinstance(raw, dict)) else raw


def tool_kind(value: Any) -> ToolKind | None:
    return value if isinstance(value, str) and value in _TOOL_KINDS else None  # type: ignore[return-value]  # it is one


def usage(value: dict[str, Any]) -> Usage | None:
    """Tokens of the turn as the agent counts them, those read from its cache among the input.

    ACP says both the turn's and the session's; Claude's and Codex's agents mean the turn's. That of opencode
    1.18.33 sends those of the model's last answer in it, and nothing of those with tool calls before that.
    """
    sent, got, total = (_count(value.get(name)) for name in ("inputTokens", "outputTokens", "totalTokens"))
    if sent is None or got is None:
        return None
    cached = sum(_count(value.get(name)) or 0 for name in ("cachedReadTokens", "cachedWriteTokens"))
    thought = _count(value.get("thoughtTokens")) or 0
    if total is not None and sent + cached + got <= total:  # the cached ones are counted apart
        sent += cached
        got += thought if sent + got + thought <= total else 0
    return Usage(sent, got)


def permission(params: dict[str, Any], known: Updates) -> Permission:
    call = fields(params.get("toolCall"))
    tool_id, title = call.get("toolCallId"), call.get("title")
    tool = known.known(tool_id)
    return Permission(
        title=(one_line(title) if isinstance(title, str) else "") or (tool.title if tool else "use a tool"),
        kind=tool_kind(call.get("kind")) or (tool.kind if tool else None) or "other",
        options=tuple(
            PermissionOption(
                option["optionId"], one_line(str(option.get("name", ""))), str(option.get("kind", ""))
            )
            for option in objects(params.get("options"))
            if isinstance(option.get("optionId"), str)
        ),
        tool_id=tool_id if isinstance(tool_id, str) else None,
    )


def granted(policy: Permissions, request: Permission) -> bool:
    return policy == "allow" or (policy == "read-only" and request.kind in _LOOKS_ONLY)


def choice(request: Permission, *, allow: bool) -> str | None:
    """The option that allows once, or rejects; None where the agent offers none.

    ``allow_always`` is never chosen here: the agent would keep it, beyond what is configured.
    """
    kinds = ("allow_once",) if allow else ("reject_once", "reject_always")
    return next((entry.id for kind in kinds for entry in request.options if entry.kind == kind), None)


def words_of_refusal(refused: Refused) -> str:
    data = fields(refused.data)
    details = data.get("details")
    if not isinstance(details, str):
        details = words_of(data.get("error")) or words_of(data or refused.data)
    return f"{refused.message}: {details}" if details and details != refused.message else refused.message


def failure_of(refused: Refused, name: str, logins: str, words: str) -> Failure:
    details = fields(refused.data)
    kind = _FAILURES.get(details.get("errorKind") if isinstance(details.get("errorKind"), str) else None)
    if kind is None and (spoken := kind_of_words(words)) != "crashed":
        kind = spoken
    if refused.code == AUTH_REQUIRED or kind == "needs_auth":
        offers = f" (it offers: {logins})" if logins else ""
        return Failure("needs_auth", f"{name} is not signed in: {words}{offers}")
    return Failure(kind or "refused", f"{name} refused: {words}")


def transcript(turn: Turn) -> str:
    messages = "\n\n".join(f"{record.role}: {record.content}" for record in turn.history)
    return f"The conversation so far:\n\n{messages}\n\nIt goes on with this message:"


def _words(content: Any) -> str:
    match content:
        case list():
            return "".join(map(_words, content))
        case {"type": "text", "text": str(text)} | {"type": "resource", "resource": {"text": str(text)}}:
            return text
        case {"type": "resource_link", "uri": str(uri)}:
            return uri
        case {"type": "image" | "audio" | "resource" as kind}:
            return f"[{kind}]"
    return ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

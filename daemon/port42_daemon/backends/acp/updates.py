"""Converts an agent's messages: ACP's updates to events, permission options to a choice. No I/O.

Parsing is lenient, because agents differ: what is not understood is ignored.
"""

from __future__ import annotations

from typing import Any

from port42_daemon.backends.acp.connection import Refused, fields, objects
from port42_daemon.backends.base import (
    Event,
    Failure,
    FailureKind,
    Permission,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.backends.errors import kind_of_words, one_line, words_of
from port42_daemon.config import Permissions
from port42_protocol.messages.events import PermissionOption

AUTH_REQUIRED = -32000
_LOOKS_ONLY = frozenset(("read", "search", "fetch", "think"))
_TOOLS_KEPT = 1000
"""Tool calls of one turn whose titles are remembered."""

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
        self._tools: dict[str, tuple[Tool, str]] = {}
        self._last = ""
        self._apart = False
        self._message: Any = None

    def read(self, update: dict[str, Any]) -> Event | None:
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                return self._text(update)
            case "agent_thought_chunk":
                return Thought(text) if (text := _words(update.get("content"))) else None
            case "tool_call" | "tool_call_update":
                return self._tool(update)
            case "plan":
                return _plan(update.get("entries"))
            case "usage" | "usage_update":
                return usage(update)
        # user_message_chunk is our own message echoed; the others are about an editor's menus.
        return None

    def known(self, tool_id: Any) -> tuple[str, str]:
        if not isinstance(tool_id, str) or tool_id not in self._tools:
            return "", "other"
        tool, kind = self._tools[tool_id]
        return tool.title, kind

    def _text(self, update: dict[str, Any]) -> Text | None:
        text = _words(update.get("content"))
        if not text:
            return None
        # Text before and after a tool call are two messages of one reply: "Let me look.Found it."
        message = update.get("messageId")
        apart = self._last and (self._apart or message != self._message)
        if apart and not self._last.endswith("\n") and not text.startswith("\n"):
            text = "\n\n" + text
        self._last, self._message, self._apart = text, message, False
        return Text(text)

    def _tool(self, update: dict[str, Any]) -> Tool | None:
        tool_id = update.get("toolCallId")
        if not isinstance(tool_id, str) or (tool_id not in self._tools and len(self._tools) >= _TOOLS_KEPT):
            return None
        before, kind = self._tools.get(tool_id, (None, "other"))
        title = update.get("title")
        title = one_line(title) if isinstance(title, str) and title.strip() else before and before.title
        status = update.get("status")
        state = _TOOL_STATES.get(status, "running") if isinstance(status, str) else before and before.state
        tool = Tool(tool_id, title or "a tool", state or "running")
        kind = update["kind"] if isinstance(update.get("kind"), str) else kind
        self._tools[tool_id] = tool, kind
        self._apart = True
        return tool if tool != before else None


def usage(value: dict[str, Any]) -> Usage | None:
    """Tokens of the turn as the agent counts them, those read from its cache among the input.

    ACP says both the turn's and the session's; Claude's and Codex's agents mean the turn's.
    """
    sent, got, total = (_count(value.get(name)) for name in ("inputTokens", "outputTokens", "totalTokens"))
    if sent is None or got is None:
        return None
    cached = sum(_count(value.get(name)) or 0 for name in ("cachedReadTokens", "cachedWriteTokens"))
    apart = total is not None and sent + cached + got <= total
    return Usage(sent + cached if apart else sent, got)


def permission(params: dict[str, Any], known: Updates) -> Permission:
    call = fields(params.get("toolCall"))
    title, kind = call.get("title"), call.get("kind")
    known_title, known_kind = known.known(call.get("toolCallId"))
    return Permission(
        title=(one_line(title) if isinstance(title, str) else "") or known_title or "use a tool",
        tool=kind if isinstance(kind, str) else known_kind,
        options=tuple(
            PermissionOption(
                option["optionId"], one_line(str(option.get("name", ""))), str(option.get("kind", ""))
            )
            for option in objects(params.get("options"))
            if isinstance(option.get("optionId"), str)
        ),
    )


def granted(policy: Permissions, request: Permission) -> bool:
    return policy == "allow" or (policy == "read-only" and request.tool in _LOOKS_ONLY)


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


def _plan(entries: Any) -> Tool | None:
    steps = objects(entries)
    if not steps:
        return None
    done = sum(entry.get("status") == "completed" for entry in steps)
    now = next((entry.get("content") for entry in steps if entry.get("status") == "in_progress"), None)
    title = f"plan: {done} of {len(steps)} done" + (f", {one_line(now)}" if isinstance(now, str) else "")
    return Tool("plan", title, "done" if done == len(steps) else "running")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

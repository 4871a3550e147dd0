"""Which words of a text in Claude Code's transcripts are the person's."""

from __future__ import annotations

import re
from typing import Any

# Elements that the program adds to the user's text or replaces it with.
_PROGRAM = (
    r"(?:system-reminder|ide_[a-z_]{1,40}|local-command-[a-z]{1,20}|bash-[a-z]{1,20}|user-memory-input"
    r"|new-diagnostics|task-notification|teammate-message|cross-session-message|agent-message"
    r"|post-tool-use-hook|user-prompt-submit-hook)"
)
_OPENING = re.compile(rf"\s*<({_PROGRAM})(?:\s[^<>]{{0,500}})?>")
_CLOSING = re.compile(rf"</({_PROGRAM})>\s*\Z")
_INTERRUPTED = re.compile(r"\s*\[Request interrupted by user[^\]\n]{0,40}\]\s*")
_OF_ANOTHER = "Another Claude session sent a message"
_OF_A_TASK = re.compile(r'\{"task_id":"[^"]{1,100}","tool_use_id":"')
_REFUSED = "The user doesn't want to proceed with this tool use."
_INSTEAD = "To tell you how to proceed, the user said:"
_NOTE = "\n\nNote: The user's next message may contain"
_QUESTIONS = "The user wants to clarify these questions."


def command_of(text: str) -> str | None:
    """A slash command as it was typed, with its arguments."""
    name = element(text, "command-name") if text.lstrip().startswith("<command-") else None
    if name is None:
        return None
    return f"/{name.strip().removeprefix('/')} {element(text, 'command-args') or ''}".strip()


def element(text: str, name: str) -> str | None:
    _, opened, rest = text.partition(f"<{name}>")
    inner, closed, _ = rest.partition(f"</{name}>")
    return inner if opened and closed else None


def typed(text: str) -> str:
    """The text without the program's elements."""
    if ("[" in text and _INTERRUPTED.fullmatch(text)) or text.startswith(_OF_ANOTHER):
        return ""
    if text.startswith("{") and _OF_A_TASK.match(text):
        return ""
    if "<" not in text:
        return text
    begin, end = 0, len(text)
    while opening := _OPENING.match(text, begin, end):
        closed_at = text.find(f"</{opening[1]}>", opening.end(), end)
        if closed_at < 0 or opening[1] == "task-notification":  # the path of its output follows it
            return ""
        begin = closed_at + len(opening[1]) + 3
    while closing := _CLOSING.search(text, max(begin, end - 60), end):
        start = text.rfind(f"<{closing[1]}>", begin, end)
        if start < 0:
            break
        end = start
    return text if (begin, end) == (0, len(text)) else text[begin:end].strip()


def refusal(output: Any) -> tuple[Any, str]:
    """A tool's output without what the person said instead of permitting the call, and that."""
    if not isinstance(output, str) or not output.startswith(_REFUSED):
        return output, ""
    head, _, words = output.partition(_INSTEAD)
    words = words.partition(_NOTE)[0].strip()
    return (output, "") if words.startswith(_QUESTIONS) else (head.strip(), words)

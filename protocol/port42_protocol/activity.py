"""Tool calls, thoughts, plans and permissions in one line: how every part shows and retells them."""

from __future__ import annotations

from collections.abc import Sequence

from port42_protocol.messages.records import (
    Activity,
    PermissionRecord,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
)

_LONGEST = 200


def one_line(text: str, longest: int = _LONGEST) -> str:
    """The text in one line, without control characters, with an ellipsis when it is longer."""
    text = text[: 4 * longest]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def join_texts(texts: Sequence[str]) -> str:
    """The reply of a turn: its texts between activities that say something, with an empty line between."""
    visible = [text for text in texts if text.strip()]
    return "\n\n".join(visible) if visible else "".join(texts)


def call_line(name: str | None, title: str) -> str:
    """A tool call in a line: its title, with the tool's name unless that is in it."""
    return f"{name}: {title}" if name and name.casefold() not in title.casefold() else title


def describe(record: Activity) -> str:
    """What the agent did, in a line; of a tool call that failed, the last line of its output too."""
    match record:
        case ToolRecord():
            return f"{call_line(record.name or None, record.title)} ({_outcome(record)})"
        case ThoughtRecord():
            return one_line(record.content)
        case PlanRecord(entries=entries):
            done = sum(entry.state == "completed" for entry in entries)
            current = next((entry.content for entry in entries if entry.state == "in_progress"), "")
            return one_line(f"{done} of {len(entries)} steps done" + (f"; now: {current}" if current else ""))
        case PermissionRecord():
            return f"{record.title}: {record.chosen or 'not allowed'} (by {record.by})"
    raise TypeError(type(record))


def _outcome(record: ToolRecord) -> str:
    if record.state == "failed" and isinstance(record.output, str):
        lines = record.output.strip().splitlines()
        return f"failed: {one_line(lines[-1])}" if lines else "failed"
    return record.state

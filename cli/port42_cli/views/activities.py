"""What an agent did: tool calls, thoughts, plans and permissions, each folded to a line or opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from port42_cli.views.parts import Block, Line, Part, Span
from port42_protocol.activity import describe, one_line, opened
from port42_protocol.messages.records import Activity, ThoughtRecord, ToolRecord

Detail = Literal["hidden", "folded", "full"]
"""How activities are shown."""

_MARKS = {"tool": "▸", "thought": "💭", "plan": "☰", "permission": "?"}
_STATES = {"failed": "red", "interrupted": "yellow"}
_DIFF = {"+": "green", "-": "red", "@": "dim"}


def line(record: Activity) -> list[Span]:
    style, took = "dim", ""
    if isinstance(record, ThoughtRecord):
        style = "italic dim"
    elif isinstance(record, ToolRecord):
        style = _STATES.get(record.state, style)
        if isinstance(record.duration_ms, int) and record.duration_ms >= 50:
            took = f" · {record.duration_ms / 1000:.1f} s"
    return [(f"{_MARKS[record.role]} {describe(record)}", style), (took, "dim")]


def thought(text: str) -> list[Span]:
    """A thought in the same line, before it is recorded."""
    return [(f"{_MARKS['thought']} {one_line(text)}", "italic dim")]


def parts(record: Activity) -> Iterator[Part]:
    """What `opened` gives, for a terminal."""
    for name, text in opened(record):
        yield Line([(f"  {name}", "dim")])
        if name == "change":
            for row in text.split("\n"):
                yield Line([(f"  {row}", _DIFF.get(row[:1], ""))], fit="fold")
            yield Line("")
        else:
            yield Block(text)

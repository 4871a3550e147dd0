"""What an agent did: tool calls, thoughts, plans and permissions, each folded to a line or opened."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Literal

from port42_cli.views.parts import Block, Line, Part, Span
from port42_protocol.activity import describe, one_line
from port42_protocol.messages.records import (
    Activity,
    Location,
    PermissionRecord,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
)

Detail = Literal["hidden", "folded", "full"]
"""How activities are shown."""

_MARKS = {"tool": "▸", "thought": "💭", "plan": "☰", "permission": "?"}
_STATES = {"failed": "red", "interrupted": "yellow"}
_STEPS = {"completed": "[x]", "in_progress": "[>]", "pending": "[ ]"}
_DIFF = {"+": "green", "-": "red", "@": "dim"}
_EDITS = (("old_string", "new_string"), ("old_str", "new_str"), ("oldText", "newText"), ("old", "new"))
"""The names that tools give to a text that is replaced, and to what replaces it."""


def line(record: Activity) -> list[Span]:
    style = "italic dim" if isinstance(record, ThoughtRecord) else "dim"
    if isinstance(record, ToolRecord):
        style = _STATES.get(record.state, style)
    took = ""
    if isinstance(record, ToolRecord) and isinstance(record.duration_ms, int):
        took = f" · {record.duration_ms / 1000:.1f} s"
    return [(f"{_MARKS.get(record.role, '▸')} {describe(record)}", style), (took, "dim")]


def thought(text: str) -> list[Span]:
    """A thought in the same line, before it is recorded."""
    return [(f"{_MARKS['thought']} {one_line(text)}", "italic dim")]


def opened(record: Activity) -> Iterator[tuple[str, str]]:
    """All of an activity: the name of each part and its text. The lines of a ``change`` begin as a diff's."""
    match record:
        case ToolRecord():
            if record.locations:
                yield "files", "\n".join(map(_location, record.locations))
            if record.input:
                yield from _input(record.input, record.input_omitted or 0)
            if record.output:
                yield _counted("output", record.output_omitted or 0), record.output
        case ThoughtRecord():
            yield _counted("thought", record.omitted or 0), record.content
        case PlanRecord():
            yield "plan", "\n".join(f"{_STEPS[step.state]} {step.content}" for step in record.entries)
        case PermissionRecord():
            yield "options", ", ".join(record.options)


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


def _input(text: str, omitted: int) -> Iterator[tuple[str, str]]:
    """JSON as an argument a line, an edit as a change; other text, and JSON that was cut, as it is."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        yield _counted("input", omitted), text
        return
    change = _change(fields)
    values = {name: value if isinstance(value, str) else _json(value) for name, value in fields.items()}
    if values:
        yield (
            "input",
            "\n".join(
                f"{name}:\n{value}" if "\n" in value else f"{name}: {value}" for name, value in values.items()
            ),
        )
    if change:
        yield "change", change


def _change(fields: dict[str, object]) -> str:
    """The difference between the two texts of an edit, which it takes out of `fields`."""
    for before, after in _EDITS:
        old, new = fields.get(before), fields.get(after)
        if isinstance(old, str) and isinstance(new, str):
            del fields[before], fields[after]
            rows = difflib.unified_diff(old.splitlines(), new.splitlines(), n=3, lineterm="")
            return "\n".join(list(rows)[2:])  # without the names of files
    return ""


def _location(location: Location) -> str:
    return location.path if location.line is None else f"{location.path}:{location.line}"


def _counted(name: str, omitted: int) -> str:
    return f"{name} ({omitted:,} bytes left out)" if omitted else name


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

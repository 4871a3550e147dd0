"""Tool calls, thoughts, plans and permissions as text, in one line or in full: how every part shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from port42_protocol.messages.records import (
    Activity,
    Location,
    PermissionRecord,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
)

_LONGEST = 200
_STEPS = {"completed": "[x]", "in_progress": "[>]", "pending": "[ ]"}
_EDITS = (("old_string", "new_string"), ("old_str", "new_str"), ("oldText", "newText"), ("old", "new"))
"""The names that tools give to a text that is replaced, and to what replaces it."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """The text in one line, without control characters, with an ellipsis when it is longer."""
    text = text[: 4 * longest]
    if text.isprintable():
        if " " not in text and len(text) <= longest:  # the only white space that is printable
            return text
    else:
        text = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def join_texts(texts: Sequence[str]) -> str:
    """The reply of a turn: its texts between activities that say something, with an empty line between."""
    visible = [text for text in texts if text.strip()]
    return "\n\n".join(visible) if visible else "".join(texts)


def call_line(name: str | None, title: str) -> str:
    """A tool call in a line: its title, with the tool's name unless that is in it."""
    words = {title.casefold(), *re.split(r"\W+", title.casefold())}
    return f"{name}: {title}" if name and name.casefold() not in words else title


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


def opened(record: Activity) -> Iterator[tuple[str, str]]:
    """All of an activity: the name of each part and its text. The lines of a ``change`` begin as a diff's."""
    match record:
        case ToolRecord():
            if record.locations:
                yield "files", "\n".join(map(_location, record.locations))
            if record.input:
                yield from opened_input(record.input, record.input_omitted or 0)
            if record.output:
                yield _counted("output", record.output_omitted or 0), record.output
        case ThoughtRecord():
            yield _counted("thought", record.omitted or 0), record.content
        case PlanRecord():
            yield "plan", "\n".join(f"{_STEPS[step.state]} {step.content}" for step in record.entries)
        case PermissionRecord():
            yield "options", ", ".join(record.options)


def opened_input(text: str, omitted: int) -> Iterator[tuple[str, str]]:
    """The arguments of a tool call, of which `omitted` bytes are left out.

    JSON is an argument a line, an edit a change; other text, and JSON that was cut, is as it is.
    """
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


def edit_in(arguments: Mapping[str, object]) -> tuple[str, str] | None:
    """The text that an edit replaces, and what replaces it, from a tool's arguments."""
    if (names := _edit_names(arguments)) is None:
        return None
    before, after = (str(arguments[name]) for name in names)
    return before, after


def _edit_names(arguments: Mapping[str, object]) -> tuple[str, str] | None:
    for names in _EDITS:
        if all(isinstance(arguments.get(name), str) for name in names):
            return names
    return None


def _change(fields: dict[str, object]) -> str:
    """The difference between the two texts of an edit, which it takes out of `fields`."""
    if (names := _edit_names(fields)) is None:
        return ""
    # Imported here: most commands and the daemon's start need none.
    import difflib

    before, after = (str(fields.pop(name)).splitlines() for name in names)
    rows = difflib.unified_diff(before, after, n=3, lineterm="")
    return "\n".join(list(rows)[2:])  # without the names of files


def _location(location: Location) -> str:
    return location.path if location.line is None else f"{location.path}:{location.line}"


def _counted(name: str, omitted: int) -> str:
    return f"{name} ({omitted:,} bytes left out)" if omitted else name


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

"""Activities in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_protocol.activity import describe, one_line
from port42_protocol.messages.records import (
    Activity,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
)

AT = "2026-11-23T03:37:11.042Z"


def tool(**fields: object) -> ToolRecord:
    return ToolRecord(**{"seq": 1, "timestamp": AT, "id": "1", "title": "ls", "state": "done"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (tool(), "ls (done)"),
        (tool(name="Bash"), "Bash: ls (done)"),
        (tool(name="read", title="Read a.py"), "Read a.py (done)"),
        (tool(name="Read", title="/a/README.md"), "Read: /a/README.md (done)"),
        (tool(name="mcp.list", title="mcp.list"), "mcp.list (done)"),
        (tool(state="failed"), "ls (failed)"),
        (tool(state="failed", output=" \n"), "ls (failed)"),
        (tool(state="failed", output="Traceback\nValueError: no\n"), "ls (failed: ValueError: no)"),
        (tool(state="interrupted", output="half"), "ls (interrupted)"),
        (ThoughtRecord(seq=1, timestamp=AT, content="first\n\nthen"), "first then"),
        (PlanRecord(seq=1, timestamp=AT, entries=()), "0 of 0 steps done"),
        (
            PlanRecord(
                seq=1, timestamp=AT, entries=(PlanEntry("a", "completed"), PlanEntry("b", "in_progress"))
            ),
            "1 of 2 steps done; now: b",
        ),
        (PermissionRecord(seq=1, timestamp=AT, title="rm x", by="nobody"), "rm x: not allowed (by nobody)"),
        (
            PermissionRecord(seq=1, timestamp=AT, title="rm x", chosen="Allow once", by="cli"),
            "rm x: Allow once (by cli)",
        ),
    ],
)
def test_a_line_tells_what_was_done_and_how_it_ended(record: Activity, line: str) -> None:
    assert describe(record) == line


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_of_at_most_that_length(text: str, longest: int) -> None:
    line = one_line(text, longest)
    assert len(line) <= longest
    assert line.isprintable()

"""Tool calls, thoughts, plans and permissions, as terminals and scripts get them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.drawing import drawn, drawn_lines, piped

from port42_cli.views import transcript as subject
from port42_protocol.messages.records import (
    EventRecord,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
)

TIME = "2026-11-23T11:00:00.000Z"


def tool(**changes):
    facts = {"seq": 3, "timestamp": TIME, "id": "t1", "name": "Bash", "title": "npm test", "state": "done"}
    return ToolRecord(**(facts | changes))


THOUGHT = ThoughtRecord(seq=2, timestamp=TIME, content="Let me see.\nWhere was it?")
PLAN = PlanRecord(
    seq=4,
    timestamp=TIME,
    entries=(PlanEntry("read", "completed"), PlanEntry("write", "in_progress"), PlanEntry("test")),
)
PERMISSION = PermissionRecord(
    seq=5, timestamp=TIME, title="rm -r build", options=("Allow", "Reject"), chosen="Allow", by="cli"
)


def test_activities_are_folded_to_a_line_each():
    question = UserMessage(seq=6, content="and now?", timestamp=TIME)
    records = [THOUGHT, tool(duration_ms=1200), PLAN, PERMISSION, question]
    assert drawn_lines(subject.messages(records)) == [
        "💭 Let me see. Where was it?  2 · 2026-11-23 11:00",
        "▸ Bash: npm test (done) · 1.2 s  3 · 2026-11-23 11:00",
        "☰ 1 of 3 steps done; now: write  4 · 2026-11-23 11:00",
        "? rm -r build: Allow (by cli)  5 · 2026-11-23 11:00",
        "",
        "user  6 · 2026-11-23 11:00",
        "  and now?",
        "",
    ]


def test_scripts_get_a_line_under_the_role():
    failed = tool(state="failed", output="ok\nE: no such file")
    assert piped(subject.messages([THOUGHT, failed, PLAN])) == [
        f"[2] thought {TIME}\nLet me see. Where was it?\n",
        f"[3] tool {TIME} failed\nBash: npm test (failed: E: no such file)\n",
        f"[4] plan {TIME}\n1 of 3 steps done; now: write\n",
    ]


def test_hidden_activities_leave_nothing():
    assert piped(subject.messages([THOUGHT, tool(), PLAN, PERMISSION], "hidden")) == []
    assert drawn(subject.messages([THOUGHT, tool(), PLAN, PERMISSION], "hidden")) == ""


def test_in_full_input_output_and_files_are_shown():
    call = tool(
        input=json.dumps({"command": "npm test", "env": {"CI": "1"}, "script": "a\nb"}),
        output="1 passed",
        output_omitted=5000,
        locations=(Location("/src/a.py", 3), Location("/src/b.py")),
    )
    assert drawn_lines(subject.messages([call], "full"))[1:] == [
        "  files",
        "  /src/a.py:3",
        "  /src/b.py",
        "",
        "  input",
        "  command: npm test",
        '  env: {"CI": "1"}',
        "  script:",
        "  a",
        "  b",
        "",
        "  output (5,000 bytes left out)",
        "  1 passed",
        "",
    ]
    assert piped(subject.messages([call], "full")) == [
        f"[3] tool {TIME}\nBash: npm test (done)\nfiles:\n/src/a.py:3\n/src/b.py\ninput:\ncommand: npm test\n"
        'env: {"CI": "1"}\nscript:\na\nb\noutput (5,000 bytes left out):\n1 passed\n'
    ]


def test_in_full_an_edit_is_a_change():
    edit = tool(
        input=json.dumps({"file_path": "/a.py", "old_string": "one\ntwo", "new_string": "one\nthree"})
    )
    assert drawn_lines(subject.messages([edit], "full"))[1:] == [
        "  input",
        "  file_path: /a.py",
        "",
        "  change",
        "  @@ -1,2 +1,2 @@",
        "   one",
        "  -two",
        "  +three",
        "",
    ]
    coloured = drawn(subject.messages([edit], "full"), color_system="standard", force_terminal=True)
    assert "\x1b[31m  -two" in coloured
    assert "\x1b[32m  +three" in coloured


def test_in_full_plans_thoughts_and_permissions_have_all_their_text():
    lines = drawn_lines(subject.messages([THOUGHT, PLAN, PERMISSION], "full"))
    for words in ("  Where was it?", "  [x] read", "  [>] write", "  [ ] test", "  Allow, Reject"):
        assert words in lines


def test_what_was_rolled_back_is_counted():
    event = EventRecord(seq=7, event="rolled_back", timestamp=TIME, prompts=2)
    assert piped(subject.messages([event])) == [f"[7] event {TIME}\nrolled back 2 prompts\n"]
    assert drawn_lines(subject.messages([event]))[0].startswith("rolled back 2 prompts")


def test_a_compaction_has_its_summary_in_full_only():
    event = EventRecord(seq=7, event="compacted", timestamp=TIME, content="what was before")
    assert piped(subject.messages([event])) == [f"[7] event {TIME}\ncompacted\n"]
    assert piped(subject.messages([event], "full")) == [f"[7] event {TIME}\ncompacted\nwhat was before\n"]
    assert "what was before" in drawn(subject.messages([event], "full"))


HOSTILE = "x\x1b[2J\x9b31m\u202e[red]y[/red]\r\n\tz"


@pytest.mark.parametrize("detail", ["folded", "full"])
@pytest.mark.parametrize("width", [20, 80])
def test_hostile_texts_neither_move_the_cursor_nor_are_markup(detail, width):
    records = [
        tool(
            title=HOSTILE,
            name=HOSTILE,
            input=json.dumps({HOSTILE: HOSTILE, "old_string": HOSTILE, "new_string": "y"}),
            output=HOSTILE,
            locations=(Location(HOSTILE),),
        ),
        ThoughtRecord(seq=2, timestamp=HOSTILE, content=HOSTILE),
        PlanRecord(seq=3, timestamp=TIME, entries=(PlanEntry(HOSTILE, "in_progress"),)),
        PermissionRecord(
            seq=4, timestamp=TIME, title=HOSTILE, options=(HOSTILE,), chosen=HOSTILE, by=HOSTILE
        ),
    ]
    page = drawn(subject.messages(records, detail), width)
    assert not set("\x1b\x9b\u202e\r") & set(page)
    assert max(map(len, page.splitlines())) <= width


@given(st.text(max_size=60), st.text(max_size=200), st.sampled_from(["folded", "full"]))
def test_any_text_is_shown(title, text, detail):
    call = tool(title=title, input=text, output=text)
    drawn(subject.messages([call], detail), 40)
    assert piped(subject.messages([call], detail))[0].startswith("[3] tool ")

"""Sessions that the tools themselves wrote: the same work gives the same records, whichever tool did it."""

from __future__ import annotations

import pytest
from peers.tool_sessions import (
    LIMITS,
    STOCK,
    TOOLS,
    beginning,
    read_all,
    titled_first,
    tokens,
    told,
)

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_protocol.messages.records import PlanRecord, ToolRecord


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("gemini/tools", "gemini"),
        ("gemini-0.17/json", "gemini"),
        ("copilot/tools", "copilot"),
        ("pi/tools", "pi"),
    ],
)
def test_a_turn_with_tools_is_read_as_it_happened(folder, name):
    [named], _ = sources(TOOLS / folder, "auto")
    session = beginning(TOOLS / folder, "Take stock of the mill.")
    stock = STOCK.copy()
    if folder == "gemini-0.17/json":  # it refused two commands in one
        stock[3] = "tool: ls -1 && cat grain.txt failed"
    # Tools that run at the same time stand in the order of their ends.
    assert sorted(told(session)) == sorted(stock)
    assert [line for line in told(session) if "README.md" not in line] == [
        line for line in stock if "README.md" not in line
    ]
    assert named == name
    # The old version reported those of several answers as one.
    assert tokens(session) == ((4800, 320) if "0.17" in folder else (7200, 480))
    assert session.info.cwd == (None if "0.17" in folder else "/home/ada/mill")
    outputs = [record.output for record in session.records if isinstance(record, ToolRecord)]
    assert outputs[0].startswith(("README.md\ndot.png\ngrain.txt\n", "Command rejected"))
    assert "No such file" in outputs[-1]
    assert all(record.duration_ms is not None for record in session.records if isinstance(record, ToolRecord))


@pytest.mark.parametrize(("folder", "count"), [("gemini/plan", 3), ("opencode/all", 3)])
def test_a_plan_is_a_record_at_each_change(folder, count):
    session = beginning(TOOLS / folder, "Plan the week.")
    plans = [record.entries for record in session.records if isinstance(record, PlanRecord)]
    assert len(plans) == count
    assert [(entry.content, entry.state) for entry in plans[1]] == [
        ("Sift the rye", "completed"),
        ("Grind the rye", "in_progress"),
        ("Pack the flour", "pending"),
    ]


@pytest.mark.parametrize(
    "folder", ["gemini/subagent", "copilot/subagent", "opencode/all", "opencode-1.1/all"]
)
def test_a_sub_agent_is_a_session_of_its_parent(folder):
    sessions = read_all(TOOLS / folder)
    [child] = [session for session in sessions.values() if session.info.parent]
    parent = sessions[child.info.parent]
    assert told(child)[:3] == [
        "user: Count the sacks in the cellar and report.",
        "assistant: I count.",
        "tool: ls -1 *.txt *.md | wc -l done",
    ]
    assert "assistant: There are 2 sacks in the cellar." in told(child)
    assert not any("one final chance" in line for line in told(child))
    assert "sub-agent count the sacks." in told(parent)[0]
    assert told(parent)[-1] == "assistant: The sub-agent counted 2 sacks."
    assert len(told(parent)) == 4


# --- Codex ----------------------------------------------------------------------------------------


def test_codex_typed_to_interrupted_renamed_and_compacted():
    session = titled_first(TOOLS / "codex/fork", "Mill books")
    lines = told(session)
    assert lines[2:11] == [
        "user: Grind slowly.",
        "assistant: It takes a while.",
        "tool: exec_command done",
        "user: And barley?",
        "user: Grind very slowly.",
        "assistant: It takes long.",
        "tool: exec_command failed",
        "user: And oats?",
        "assistant: Two kilos of oats came in today.",
    ]
    # The summary is not the model's word to the person.
    assert lines[11].startswith("compacted: Another language model started")
    assert lines[12:] == ["user: And how much wheat?", "assistant: 4 kilos of wheat."]
    assert tokens(session) == (7200, 480)


def test_codex_with_a_picture_and_a_refusal():
    sessions = [told(session) for session in read_all(TOOLS / "codex/various").values()]
    assert sessions == [
        ["user: [image]\n\nLook at the picture.", "assistant: The picture is a single red dot."],
        ["user: Break the stone.", "error: The stone is broken"],
    ]


# --- Gemini CLI -----------------------------------------------------------------------------------


def test_gemini_resumed_is_one_session_though_it_begins_another_file():
    path = TOOLS / "gemini/resumed-later"
    _, [first, second] = sources(path, "auto")
    [session] = first.read(LIMITS)
    assert told(session) == [
        "user: How many kilos of rye are there?",
        "assistant: There are 10 kilos of rye in the bin.",
        "user: And barley?",
        "assistant: No barley is left.",
        "user: And oats?",
        "assistant: Two kilos of oats came in today.",
    ]
    assert tokens(session) == (3600, 240)
    with pytest.raises(Skipped, match="no messages"):
        second.read(LIMITS)


def test_gemini_compressed_interrupted_and_with_a_shell_command():
    [session] = read_all(TOOLS / "gemini/tui").values()
    lines = told(session)
    at = next(number for number, line in enumerate(lines) if line.startswith("compacted: <state_snapshot>"))
    assert lines[at - 1] == STOCK[-1]
    assert lines[at + 1 :] == [
        "user: And oats, tell me.",
        "assistant: Two kilos of oats came in today.",
        "user: Grind very slowly.",
        "assistant: It takes long.",
        "tool: sleep 60; echo ground interrupted",
        "tool: echo hello done",
    ]


# --- pi -------------------------------------------------------------------------------------------


def test_pi_named_compacted_and_typed_to_while_it_works():
    [session] = read_all(TOOLS / "pi/tui").values()
    assert session.info.title == "Mill books"
    lines = told(session)
    assert lines[2:8] == [
        "tool: echo hello from the shell done",
        "user: Grind slowly.",
        "assistant: It takes a while.",
        "tool: sleep 6; echo ground done",
        "user: And barley?",
        "assistant: No barley is left.",
    ]
    assert lines[8].startswith("compacted: ## Goal")


def test_a_fork_of_pis_begins_with_the_marks_of_the_original():
    original, fork = read_all(TOOLS / "pi/fork").values()
    assert fork.marks[:4] == original.marks
    assert len(fork.marks) == 6
    assert original.info.first_mark == fork.info.first_mark != ""
    assert (fork.info.forked_from, fork.info.shared) == (original.info.source_id, 4)

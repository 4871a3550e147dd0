"""Codex's rollouts: the user's words without what Codex and editors add, and what else a file tells."""

from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import codex
from port42_daemon.transfer.readers.base import SubAgent
from port42_daemon.transfer.readers.detect import Source
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import Message

WHEN = "2026-02-03T04:05:06.000Z"
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,x"}


def meta(**fields):
    return {"timestamp": WHEN, "type": "session_meta", "payload": {"id": "s1", "cwd": "/home/ada", **fields}}


def message(role, *parts):
    content = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts]
    return {
        "timestamp": WHEN,
        "type": "response_item",
        "payload": {"type": "message", "role": role, "content": content},
    }


def event(kind, **fields):
    return {"timestamp": WHEN, "type": "event_msg", "payload": {"type": kind, **fields}}


def read(*items):
    lines = (json.dumps(item).encode() for item in items)
    [session] = read_whole(codex.Reader("rollout", SessionsConfig()), lines)
    return session


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            ["# Context from my IDE setup:\n\n## Open tabs:\n- a.c\n\n## My request for Codex:\nReef it.\n"],
            "Reef it.",
        ),
        (["Reef it.", "<image>", IMAGE, "</image>"], "Reef it.\n\n[image]"),
        ([IMAGE], "[image]"),
        (["What is `<image>`?"], "What is `<image>`?"),
    ],
)
def test_the_users_words(parts, text):
    assert texts(read(meta(), message("user", *parts))) == [("user", text)]


@pytest.mark.parametrize(
    "text",
    [
        "<environment_context>\n</environment_context>",
        "# AGENTS.md instructions for x",
        "# Context from my IDE setup:\n\n## Open tabs:\n- a.c\n",
    ],
)
def test_what_codex_tells_the_model_is_no_message(text):
    assert texts(read(meta(), message("user", text), message("user", "hi"))) == [("user", "hi")]


def test_a_rollout_without_its_first_line_has_the_id_that_its_name_has(tmp_path):
    path = tmp_path / "rollout-2026-03-01T10-00-00-019c0000-0000-7000-8000-000000000001.jsonl"
    path.write_text(json.dumps(message("user", "hi")) + "\n")
    [session] = Source("x", "codex", path).read(SessionsConfig())
    assert session.info.source_id == "019c0000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("folder", ["<cwd>/home/ada/boat</cwd>", "Current working directory: /home/ada/boat"])
def test_the_folder_of_an_old_rollout(folder):
    old = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    context = {
        **old,
        "content": [{"type": "input_text", "text": f"<environment_context>\n{folder}\n"}],
    }
    session = read(
        {"id": "s1", "timestamp": WHEN, "instructions": None}, {"record_type": "state"}, context, old
    )
    assert (session.info.cwd, session.info.source_id, texts(session)) == (
        "/home/ada/boat",
        "s1",
        [("user", "hi")],
    )


@pytest.mark.parametrize("source", [{"subagent": {"thread_spawn": {}}}, {"subagent": "review"}, "subagent"])
def test_a_sub_agent(source):
    with pytest.raises(SubAgent):
        read(meta(source=source), message("user", "hi"))


def test_a_sub_agents_session_names_its_parent():
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "p"}}}
    assert read(meta(source=spawned), message("user", "hi")).info.parent == "p"


def total(sent, received, **latest):
    counts = {"input_tokens": sent, "output_tokens": received}
    return event("token_count", info={"total_token_usage": counts, "last_token_usage": latest or counts})


def tokens_of(session):
    turns = [record.turn for record in session.records if getattr(record, "turn", UNSET) is not UNSET]
    return [(turn.input_tokens, turn.output_tokens) for turn in turns if turn.input_tokens]


def test_tokens_are_reported_as_totals():
    reply = message("assistant", {"type": "output_text", "text": "yes"})
    session = read(meta(), message("user", "hi"), reply, total(10, 2), total(10, 2), reply, total(25, 5))
    assert tokens_of(session) == [(10, 2), (15, 3)]


def test_a_review_has_totals_of_its_own_and_the_sessions_go_on_after_it():
    reply = message("assistant", {"type": "output_text", "text": "yes"})
    review = (total(4, 1), total(9, 3, input_tokens=5, output_tokens=2), reply)
    session = read(
        meta(), message("user", "hi"), total(50, 5), reply, *review, total(50, 5), total(70, 6), reply
    )
    assert tokens_of(session) == [(50, 5), (4, 1), (5, 2), (20, 1)]


def test_tokens_of_a_turn_that_was_stopped_are_counted():
    session = read(meta(), message("user", "hi"), total(10, 2), event("turn_aborted", reason="interrupted"))
    assert tokens_of(session) == [(10, 2)]


def test_an_error_event_is_an_error_message():
    assert texts(read(meta(), message("user", "hi"), event("error", message="usage limit")))[1:] == [
        ("error", "usage limit")
    ]


# --- what the agent did ---------------------------------------------------------------------------


def item(kind, **fields):
    return {"timestamp": WHEN, "type": "response_item", "payload": {"type": kind, **fields}}


def activities(session):
    return [record for record in session.records if not isinstance(record, Message)]


@pytest.mark.parametrize(
    ("output", "text", "state"),
    [
        ('{"output":"a.py\\n","metadata":{"exit_code":0,"duration_seconds":0.1}}', "a.py\n", "done"),
        ('{"output":"no","metadata":{"exit_code":2}}', "no", "failed"),
        ("Exit code: 0\nWall time: 0 seconds\nOutput:\na.py\n", "a.py\n", "done"),
        ("Chunk ID: 07\nProcess exited with code 1\nOriginal token count: 1\nOutput:\nno", "no", "failed"),
        ("Output:\nof its own", "Output:\nof its own", "done"),
        ({"content": [{"type": "input_text", "text": "no"}], "success": False}, "no", "failed"),
    ],
)
def test_a_commands_result(output, text, state):
    call = item("function_call", name="shell", arguments='{"command":["bash","-lc","ls"]}', call_id="c")
    [record] = activities(
        read(meta(), message("user", "hi"), call, item("function_call_output", call_id="c", output=output))
    )
    assert (record.id, record.name, record.title) == ("c", "shell", "bash -lc ls")
    assert (record.output, record.state) == (text, state)


def test_a_patch_says_its_files():
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** Add File: b.py\n+z\n*** End Patch\n"
    call = item("custom_tool_call", name="apply_patch", input=patch, call_id="c")
    output = item("custom_tool_call_output", call_id="c", output="Exit code: 0\nOutput:\nok")
    [record] = activities(read(meta(), message("user", "hi"), call, output))
    assert (record.title, record.kind, record.input) == ("a.py, b.py", "edit", patch)
    assert [location.path for location in record.locations] == ["a.py", "b.py"]


def test_reasoning_plans_searches_and_compactions():
    plan = json.dumps({"plan": [{"step": "Reef", "status": "in_progress"}]})
    session = read(
        meta(),
        message("user", "hi"),
        item("reasoning", summary=[{"type": "summary_text", "text": "It blows."}]),
        item("reasoning", summary=[], encrypted_content="x"),
        item("function_call", name="update_plan", arguments=plan, call_id="c"),
        item("web_search_call", id="w", action={"type": "search", "query": "wind"}),
        {"timestamp": WHEN, "type": "compacted", "payload": {"message": "So far: …"}},
        event("turn_aborted", reason="interrupted"),
    )
    thought, steps, search, compacted, call = activities(session)
    assert (thought.content, steps.entries[0].content) == ("It blows.", "Reef")
    assert (search.title, compacted.content) == ("wind", "So far: …")
    assert (call.name, call.state) == ("update_plan", "interrupted")

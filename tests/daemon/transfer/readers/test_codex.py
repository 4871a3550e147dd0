"""Codex's rollouts: the user's words without what Codex and editors add, and what else a file tells."""

from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import codex
from port42_daemon.transfer.readers.base import Skipped, SubAgent
from port42_daemon.transfer.readers.detect import Source, sources
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
        (["<environment_context>\n</environment_context>", "Reef it."], "Reef it."),
        (["Reef it.", "<skill>\n<name>reefing</name>\n</skill>"], "Reef it."),
        (
            ["\n# Files mentioned by the user:\n\n## a.png: /a.png\n\nBeware.\n## My request:\nReef it.\n"],
            "Reef it.",
        ),
        (["# In app browser:\n- It is open.\n\n## My request for Codex:\n\n## Reef it."], "## Reef it."),
        (["## My request for Codex:\nReef it.", IMAGE], "Reef it.\n\n[image]"),
        (["# Files pasted by the user:\n\n## a b.md: C:/a b.md\n## c.md: /c.md\n"], "[a b.md]\n[c.md]"),
        (["<in-app-browser-context>\nx\n</in-app-browser-context>\nReef it."], "Reef it."),
        (["<image name=[Image #1]>\n</image>\nReef it."], "Reef it."),
    ],
)
def test_the_users_words(parts, text):
    assert texts(read(meta(), message("user", *parts))) == [("user", text)]


@pytest.mark.parametrize(
    "text",
    [
        "<environment_context>\n</environment_context>",
        "# AGENTS.md instructions for x",
        "<user_action>\n  <context>User initiated a review task.</context>\n</user_action>\n",
        '<codex_internal_context source="goal">\nGo on.\n</codex_internal_context>',
        "<external_editor>a.c</external_editor>",
        "Warning: apply_patch was requested via exec_command. Use the apply_patch tool instead.",
        "# Context from my IDE setup:\n\n## Open tabs:\n- a.c\n",
        "<recommended_plugins>\nx\n</recommended_plugins>",
    ],
)
def test_what_codex_tells_the_model_is_no_message(text):
    assert texts(read(meta(), message("user", text), message("user", "hi"))) == [("user", "hi")]


def test_a_rollout_without_its_first_line_has_the_id_that_its_name_has(tmp_path):
    path = tmp_path / "rollout-2026-03-01T10-00-00-019c0000-0000-7000-8000-000000000001.jsonl"
    path.write_text(json.dumps(message("user", "hi")) + "\n")
    [session] = Source("x", "codex", path).read(SessionsConfig())
    assert session.info.source_id == "019c0000-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    "folder",
    [
        "<cwd>/home/ada/boat</cwd>",
        "Current working directory: /home/ada/boat",
        '<environments>\n<environment id="a">\n<cwd>/home/ada/boat</cwd>',
    ],
)
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


def test_the_folder_that_a_turn_has():
    turn = {"timestamp": WHEN, "type": "turn_context", "payload": {"cwd": "/home/ada/boat"}}
    assert read(meta(cwd=None), turn, message("user", "hi")).info.cwd == "/home/ada/boat"


def test_a_session_that_is_one_document(tmp_path):
    """As the first versions wrote it."""
    reply = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Reefed."}]}
    items = [message("user", "Reef it.")["payload"], reply]
    session = {"timestamp": WHEN, "id": "s1", "instructions": "Say {so}."}
    path = tmp_path / "rollout-2025-05-01-s1.json"
    path.write_text(json.dumps({"session": session, "items": items}, indent=2))
    (tmp_path / "auth.json").write_text("{}")
    formats, found = sources(tmp_path, "auto")
    [read_session] = found[0].read(SessionsConfig())
    assert (formats, len(found), read_session.info.source_id) == (["codex"], 1, "s1")
    assert [record.timestamp for record in read_session.records] == [WHEN, WHEN]
    assert texts(read_session) == [("user", "Reef it."), ("assistant", "Reefed.")]
    path.write_text(json.dumps({"session": session, "items": 5}))
    with pytest.raises(Skipped, match="not a session of Codex"):
        found[0].read(SessionsConfig())


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


@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("has_ordinals", [True, False])
def test_a_sub_agents_session_is_without_the_copy_of_its_parents(has_ordinals, continues):
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "p"}}}
    start = {"subagent_history_start_ordinal": 4} if has_ordinals else {}
    reply = message("assistant", {"type": "output_text", "text": "yes"})
    copied = [meta(id="p"), message("user", "sail"), total(500, 50, input_tokens=500, output_tokens=50)]
    totals = (507, 52) if continues else (7, 2)
    own = [message("user", "Reef it."), total(*totals, input_tokens=7, output_tokens=2), reply]
    lines = [meta(source=spawned, timestamp=WHEN, **start), *copied, *own]
    for ordinal, line in enumerate(lines):
        line.update({"ordinal": ordinal} if has_ordinals else {})
        if line in copied and not has_ordinals:
            line["timestamp"] = "2026-02-03T04:05:05.999Z"
    session = read(*lines)
    assert texts(session) == [("user", "Reef it."), ("assistant", "yes")]
    assert tokens_of(session) == [(7, 2)]


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


def test_a_command_that_the_person_ran():
    text = (
        "<user_shell_command>\n<command>\nmake\n</command>\n<result>\n"
        "Exit code: 2\nDuration: 0.1 seconds\nOutput:\nno rule\n</result>\n</user_shell_command>"
    )
    session = read(meta(), message("user", text), message("user", "hi"))
    [call] = activities(session)
    assert (call.title, call.kind, call.output, call.state) == ("make", "execute", "no rule", "failed")
    assert texts(session) == [("user", "hi")]


def test_pictures_that_were_made_and_tools_that_were_looked_for():
    made = item("image_generation_call", id="i", revised_prompt="a boat", result="iVBORw0KGgo=")
    asked = item("tool_search_call", call_id="s", arguments={"query": "mail"})
    found = item("tool_search_output", call_id="s", tools=[{"name": "mail"}])
    picture, search = activities(read(meta(), message("user", "hi"), made, asked, found))
    assert (picture.name, json.loads(picture.input), picture.output) == (
        "image_generation",
        {"prompt": "a boat"},
        "[image]",
    )
    assert (search.name, search.state) == ("tool_search", "done")


def test_a_tool_of_an_mcp_server_has_the_servers_name():
    """As Codex 0.171 writes it, with the time before what the tool returned."""
    call = item("function_call", call_id="m", name="search", namespace="mcp__port42", arguments="{}")
    time, text = "Wall time: 0.1300 seconds\nOutput:", "Quoted history"
    parts = [{"type": "input_text", "text": part} for part in (time, text)]
    [record] = activities(
        read(meta(), message("user", "hi"), call, item("function_call_output", call_id="m", output=parts))
    )
    assert (record.name, record.output) == ("mcp__port42__search", text)


@pytest.mark.parametrize("head", ["", "Message Type: NEW_TASK\nSender: /root\nPayload:\n"])
def test_what_one_agent_asks_of_another_is_the_prompt_of_the_others_session(head):
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "p"}}}
    asks = item("agent_message", author="/root", content=[{"type": "input_text", "text": f"{head}Reef it."}])
    assert texts(read(meta(source=spawned), asks)) == [("user", "Reef it.")]
    assert texts(read(meta(), message("user", "hi"), asks)) == [("user", "hi")]


def test_a_name_that_the_rollout_has():
    named = event("thread_name_updated", thread_id="s1", thread_name="The boat")
    assert read(meta(), message("user", "hi"), named).info.title == "The boat"


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


def test_a_summary_as_the_model_is_told_it_is_no_message():
    told = "Another language model started to solve this problem and produced a summary. It is:\nSo far: …"
    compacted = {"timestamp": WHEN, "type": "compacted", "payload": {"message": "So far: …"}}
    for lines, count in (([message("user", told)], 1), ([compacted, message("user", told), compacted], 2)):
        session = read(meta(), message("user", "sail"), *lines, message("user", "where to?"))
        assert texts(session) == [("user", "sail"), ("user", "where to?")]
        assert [record.event for record in activities(session)] == ["compacted"] * count

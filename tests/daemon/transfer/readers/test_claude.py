"""Claude Code's entries: the model's words, the session, and what the agent did."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from peers.claude_transcript import SESSION, File, activities, result, texts, tool

from port42_daemon.transfer.readers.base import SubAgent


def test_of_an_entry_with_values_of_other_types_the_rest_is_read():
    file = File().user(["junk", 7, {"type": "text", "text": "Hoist the sail."}, {"type": 5}], cwd=3)
    file.assistant("Up.", {"type": "tool_use", "id": ["x"], "name": "Bash", "input": {"command": "ls"}})
    file.entries[-1]["message"]["usage"] = {"input_tokens": "many", "output_tokens": 9}
    file.entries[-1]["message"]["model"] = {}
    session = file.read()
    assert texts(session) == [("user", "Hoist the sail."), ("assistant", "Up.")]
    _, reply, call = session.records
    assert (reply.turn.model, reply.turn.input_tokens, reply.turn.output_tokens) == (None, 0, 9)
    assert (call.name, call.id, call.title) == ("Bash", "unknown", "ls")
    assert session.problems == []


@pytest.mark.parametrize("of_sub_agent", [{}, {"isSidechain": True, "agentId": "abc"}])
def test_a_copy_of_an_entry_in_the_same_file_counts_once(of_sub_agent):
    file = File().user("sail").user("look", **of_sub_agent).assistant(tool("t"), **of_sub_agent)
    file.user([result("t", "ok")], **of_sub_agent).assistant("done", **of_sub_agent)
    once = [list(session.records) for session in file.read_all()]
    for number in (9, 4, 3, 1, 0):
        file.entries.insert(number, file.entries[min(number, 4)])
    assert [list(session.records) for session in file.read_all()] == once


# --- the model's ----------------------------------------------------------------------------------


def test_an_error_of_the_api_is_an_error():
    file = (
        File()
        .user("sail")
        .assistant("API Error: 529", model="<synthetic>", isApiErrorMessage=True, error="overloaded")
    )
    file.assistant("No response requested.", model="<synthetic>")
    session = file.read()
    assert texts(session) == [("user", "sail"), ("error", "API Error: 529")]
    assert list(session.records)[1].kind == "rate_limit"
    file.assistant(
        "API Error: 400", isApiErrorMessage=True, error="unknown", apiErrorType="invalid_request_error"
    )
    assert list(file.read().records)[-1].kind == "refused"


USAGE = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(0, 50),
        "cache_read_input_tokens": st.integers(0, 900),
        "output_tokens": st.integers(0, 99),
    }
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), USAGE), max_size=8))
def test_tokens_are_those_of_each_answers_last_entry(entries):
    """However an answer is cut into entries, and where it has no words."""
    file, whole = File().user("sail"), {}
    for answer, speaks, usage in sorted(entries, key=lambda entry: entry[0]):
        part = "words" if speaks else {"type": "tool_use", "id": "t", "name": "Bash", "input": {}}
        sent = usage["input_tokens"] + usage["cache_read_input_tokens"]
        before = whole.get(answer, (0, 0))
        whole[answer] = (max(sent, before[0]), max(usage["output_tokens"], before[1]))
        file.assistant(part, answer=answer, usage=usage)
    turns = [record.turn for record in file.read().records if record.role in {"assistant", "event"}]
    assert sum(turn.input_tokens or 0 for turn in turns) == sum(sent for sent, _ in whole.values())
    assert sum(turn.output_tokens or 0 for turn in turns) == sum(received for _, received in whole.values())


# --- the session ----------------------------------------------------------------------------------


def test_an_archived_file_has_the_sessions_own_id():
    assert File().user("x").read("transcript").info.source_id == SESSION
    assert File("resumed-in-b").user("x").read(SESSION).info.source_id == "resumed-in-b"
    two = File("old-a").user("x")
    two.entries += File("new-b").user("y").entries
    assert two.read("new-b").info.source_id == "new-b"


def test_titles_of_this_session_only_and_a_persons_first():
    file = File().add("summary", summary="Another boat", leafUuid="elsewhere").user("sail")
    assert file.read().info.title is None
    file.add("summary", summary="This boat", leafUuid="a2")
    assert file.read().info.title == "This boat"
    file.add("ai-title", aiTitle="A boat")
    assert file.read().info.title == "A boat"
    file.add("custom-title", customTitle="Ada's boat").add("ai-title", aiTitle="Boats")
    session = file.read()
    assert (session.info.title, set(session.info.titles)) == (
        "Ada's boat",
        {"This boat", "A boat", "Ada's boat", "Boats"},
    )


@pytest.mark.parametrize(
    "plan",
    [
        "# A second mast\n\nOne is not enough.",
        "A second mast\n\nOne is not enough.",
        "**A second mast**\r\n\r\nOne is not enough.",
        "---\n# Plan\n\n## Context\nA second mast",
    ],
)
def test_a_plan_gives_its_title(plan):
    assert File().user(f"Implement the following plan:\n\n{plan}").read().info.title == "A second mast"


def test_where_the_model_said_nothing_are_no_words():
    file = (
        File().user("sail").assistant("(no content)", tool("t")).user([result("t", "ok")]).assistant("going")
    )
    assert texts(file.read()) == [("user", "sail"), ("assistant", "going")]


def test_a_sub_agents_entries_are_a_session_of_its_own():
    file = File().user("sail").assistant(tool("t", "Task", description="Watch", prompt="look out"))
    file.add("user", isSidechain=True, parentUuid=None, message={"content": "look out"})
    file.assistant("a reef", isSidechain=True, parentUuid="a3").assistant("anchored")
    main, agent = file.read_all()
    assert agent.info.title == "Watch"
    assert texts(main) == [("user", "sail"), ("assistant", "anchored")]
    assert texts(agent) == [("user", "look out"), ("assistant", "a reef")]
    assert (main.info.parent, agent.info.parent) == (None, SESSION)
    [alone] = File().user("x").assistant("y").read_all("agent-1")
    assert (alone.info.source_id, alone.info.parent) == (f"{SESSION}/1", SESSION)


@pytest.mark.parametrize("agent", ["acompact-1a", "aprompt_suggestion-1a"])
def test_what_the_program_asks_its_own_sub_agents_is_no_session(agent):
    file = File().user("Sum up.", isSidechain=True, agentId=agent)
    with pytest.raises(SubAgent):
        file.assistant("So far: …", isSidechain=True, agentId=agent).read(f"agent-{agent}")


def test_a_question_aside_is_a_session_without_the_copy_of_its_parent():
    agent = {"isSidechain": True, "agentId": "aside_question-1a"}
    aside = "<system-reminder>This is a side question from the user. …</system-reminder>\n\nHow deep is it?"
    file = File().user("sail", **agent).assistant("going", **agent).user(aside, **agent)
    session = file.assistant("Two fathoms.", **agent).read("agent-aside_question-1a")
    assert texts(session) == [("user", "How deep is it?"), ("assistant", "Two fathoms.")]


def test_a_windows_folder_is_kept():
    assert File().user("x", cwd="C:\\Users\\Ada").read().info.cwd == "C:\\Users\\Ada"


@pytest.mark.parametrize(
    "piece", ["<system-reminder>", "<command-name>", "</system-reminder>", "<ide_a", "[Request "]
)
def test_hostile_words_take_linear_time_to_look_through(piece):
    """As long as a message may be: with quadratic time this would not end within the test's limit."""
    text = (piece * 4_000_000)[: 4 * 1024 * 1024 - 8]
    file = File().user("<system-reminder>" + text).user(text + "</system-reminder>").user("last")
    assert texts(file.read())[-1] == ("user", "last")


# --- what the agent did ---------------------------------------------------------------------------


def test_a_tool_call_is_a_record_at_its_end_with_what_it_was_given_and_gave():
    file = File().user("sail").assistant(tool("t1", command="ls", description="list"))
    file.assistant(tool("t2", "Read", file_path="/home/ada/a.py")).user([result("t2", "x = 1")])
    file.user([result("t1", "a.py", is_error=True)]).assistant("done")
    read, listed = activities(file.read())
    assert (read.id, read.name, read.state, read.output) == ("t2", "Read", "done", "x = 1")
    assert (read.kind, read.locations[0].path) == ("read", "/home/ada/a.py")
    assert (listed.id, listed.title, listed.state, listed.output) == ("t1", "ls", "failed", "a.py")
    assert (json.loads(listed.input)["command"], listed.duration_ms) == ("ls", 3000)
    assert [record.role for record in file.read().records] == ["user", "tool", "tool", "assistant"]


def test_a_result_that_stands_before_its_call_is_that_calls():
    file = File().user("sail").user([result("t1", "a.py")]).assistant(tool("t1", command="ls"))
    [call] = activities(file.read())
    assert (call.name, call.title, call.state, call.output) == ("Bash", "ls", "done", "a.py")
    file = File().user("sail").user([result("t1", "a.py")]).user("and?")  # the call is in a part that is gone
    [call] = activities(file.read())
    assert (call.name, call.state, call.output) == (UNSET, "done", "a.py")


def test_what_runs_when_the_next_prompt_comes_was_interrupted():
    file = File().user("sail").assistant(tool("t1", command="sleep 9"))
    assert file.read(ended=False).messages == len(file.read(ended=False).records) == 1
    [call] = activities(file.read())
    assert (call.state, call.title) == ("interrupted", "sleep 9")
    [call] = activities(file.user("stop").read())
    assert (call.state, call.timestamp) == ("interrupted", "2026-02-03T04:05:03.000Z")


def test_words_typed_while_a_tool_runs_do_not_end_it():
    file = File().user("sail").assistant(tool("t1", command="make"))
    file.queue("enqueue", "and test").queue("remove").user([result("t1", "built")])
    assert [(record.role, getattr(record, "state", None)) for record in file.read().records][1:] == [
        ("user", None),
        ("tool", "done"),
    ]


def test_a_picture_in_a_result_is_a_placeholder():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    [call] = activities(File().user("x").assistant(tool("t")).user([result("t", [image])]).read())
    assert call.output == "[image/png, 8 bytes]"


def test_a_long_output_that_the_program_put_into_a_file_is_read_from_the_details():
    file = File().user("count").assistant(tool("t", command="seq 9999"))
    preview = "<persisted-output>\nOutput too large. Full output saved to: /x"
    file.user([result("t", preview)], toolUseResult={"stdout": "1\n2\n3", "stderr": ""})
    [call] = activities(file.read())
    assert call.output == "1\n2\n3"


def test_thoughts_plans_and_compactions():
    todos = [{"content": "Hoist", "status": "completed"}, {"content": "Reef", "status": "in_progress"}]
    file = File().user("sail").assistant({"type": "thinking", "thinking": "It blows."})
    file.assistant(tool("t", "TodoWrite", todos=todos)).user([result("t", "ok")])
    file.user("Summary: …", isCompactSummary=True)
    thought, plan, call, compacted = activities(file.read())
    assert thought.content == "It blows."
    assert [(entry.content, entry.state) for entry in plan.entries] == [
        ("Hoist", "completed"),
        ("Reef", "in_progress"),
    ]
    assert (call.name, compacted.event, compacted.content) == ("TodoWrite", "compacted", "Summary: …")


def test_tasks_are_a_plan():
    file = File().user("sail").assistant(tool("t1", "TaskCreate", subject="Reef"))
    file.user([result("t1", "created")], toolUseResult={"task": {"id": "1", "subject": "Reef"}})
    file.assistant(tool("t2", "TaskUpdate", taskId="1", status="completed"))
    file.user(
        [result("t2", "updated")],
        toolUseResult={"taskId": "1", "statusChange": {"from": "pending", "to": "completed"}},
    )
    plans = [record for record in activities(file.read()) if record.role == "plan"]
    assert [plan.entries[0].state for plan in plans] == ["pending", "completed"]


def test_tokens_of_a_turn_without_last_words_are_an_event():
    file = File().user("sail").assistant(tool("t"), usage={"input_tokens": 7, "output_tokens": 2})
    file.user([result("t", "ok")])
    call, usage = activities(file.user("again").read())
    assert (call.role, usage.event, usage.turn.input_tokens, usage.turn.output_tokens) == (
        "tool",
        "usage",
        7,
        2,
    )


def test_a_first_prompt_that_is_written_behind_its_reply_comes_first():
    """As Claude Code 2.1 writes the first turn of a session at a terminal."""
    file = File().assistant("going", tool("t"), parentUuid="a3").add("mode").user("sail", parentUuid=None)
    assert texts(file.user([result("t", "ok")]).read()) == [("user", "sail"), ("assistant", "going")]
    cut_off = File().assistant("going", parentUuid="a3")
    assert texts(cut_off.read()) == [("assistant", "going")]


def test_a_fork_is_one_of_the_session_that_asked_for_the_replies_which_it_copied():
    """As `claude --resume ID --fork-session` writes it, in which no other entry tells of the original."""
    original = "7d0c1b9e-0000-4000-8000-00000000000b"
    fork = File().user("sail").assistant("going", requestSessionId=original)
    fork.user("where to?").assistant("home", answer="n", requestSessionId=SESSION)
    info = fork.read().info
    assert (info.forked_from, info.shared) == (original, 2)
    assert File().user("sail").assistant("going", requestSessionId=SESSION).read().info.forked_from is None


@pytest.mark.parametrize(
    ("origin", "is_said"),
    [
        ({"kind": "human"}, True),
        ({"kind": "channel", "server": "chat"}, True),
        ({"kind": "unclassified"}, True),
        ({"kind": "of-tomorrow"}, True),
        ({"kind": ["odd"]}, True),
        ({"kind": "task-notification", "subkind": "scheduled-trigger"}, True),
        ({"kind": "task-notification"}, False),
        ({"kind": "peer", "from": "uds:x"}, False),
        ({"kind": "coordinator"}, False),
        ({"kind": "observer"}, False),
        ({"kind": "observer-activity"}, False),
        ({"kind": "auto-continuation"}, False),
    ],
)
def test_only_what_is_known_to_be_no_person_is_left_out(origin, is_said):
    session = File().user("rye?").assistant("ten").user("wheat?", origin=origin).read()
    assert texts(session) == [
        ("user", "rye?"),
        ("assistant", "ten"),
        *([("user", "wheat?")] if is_said else []),
    ]

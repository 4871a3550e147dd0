"""A turn's records from its back end's events: in order, nothing lost and nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.backends.base import Permission, Tool
from port42_daemon.backends.decoding import whole
from port42_daemon.config import SessionsConfig
from port42_daemon.turns.transcript import LIMIT, Transcript
from port42_protocol.activity import join_texts
from port42_protocol.messages.events import PermissionOption
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
)

PERMISSION = Permission("Write a file", "edit", (PermissionOption("yes", "Allow", "allow_once"),))
IDS = st.sampled_from(["a", "b", "c"])
TEXTS = st.text(st.characters(categories=("L", "N", "Zs", "Cs"), max_codepoint=0x1F9FF), max_size=6)
EVENTS = st.one_of(
    st.tuples(st.just("text"), TEXTS),
    st.tuples(st.just("thought"), TEXTS),
    st.tuples(st.just("tool"), IDS, st.sampled_from(["running", "done", "failed"])),
    st.tuples(st.just("plan"), IDS),
    st.tuples(st.just("permission"), st.sampled_from(["yes", None])),
    st.tuples(st.just("compacted")),
)


def transcript() -> Transcript:
    return Transcript(7, SessionsConfig())


def take(log: Transcript, event: tuple) -> tuple[str, list]:
    """The text that is shown, and the records."""
    match event:
        case ("text", text):
            return log.add_text(text)
        case ("thought", text):
            return "", log.add_thought(whole(text))
        case ("tool", tool_id, state):
            return "", log.change_tool(Tool(tool_id, f"tool {tool_id}", state))[1]
        case ("plan", step):
            return "", log.change_plan((PlanEntry(step),))
        case ("permission", chosen):
            return "", log.answer_permission(PERMISSION, chosen, "cli")
    return "", log.compact("a summary")


@given(st.lists(EVENTS, max_size=30))
def test_any_events_become_records_in_their_order_and_nothing_is_lost_or_twice(events):
    log, shown, records = transcript(), "", []
    for event in events:
        text, complete = take(log, event)
        shown += text
        records += complete
    text, complete = log.finish_text()
    rest = [*complete, *log.end()]
    shown += text
    records += rest
    pieces = [record.content for record in records if isinstance(record, AssistantMessage)]
    assert pieces == log.texts
    assert "".join([*pieces, *log.text]) == shown == whole("".join(e[1] for e in events if e[0] == "text"))
    assert log.reply == join_texts([*pieces, "".join(log.text)])
    assert all(record.question == 7 for record in records if not isinstance(record, EventRecord))
    assert all(piece.strip() for piece in pieces)

    # Calls: one record for each that began, in the order of their ends; what still runs is interrupted.
    running, ended, expected = set(), set(), []
    for event in events:
        if event[0] == "tool":
            _, tool_id, state = event
            if state == "running":
                running.add(tool_id)
            elif tool_id in running or tool_id not in ended:
                running.discard(tool_id)
                ended.add(tool_id)
                expected.append((tool_id, state))
    calls = [(record.id, record.state) for record in records if isinstance(record, ToolRecord)]
    assert calls[: len(expected)] == expected
    assert sorted(calls[len(expected) :]) == sorted((tool_id, "interrupted") for tool_id in running)

    # Plans that say the same are one; permissions and compactions are all there.
    steps = [event[1] for event in events if event[0] == "plan"]
    changes = [step for index, step in enumerate(steps) if index == 0 or steps[index - 1] != step]
    plans = [record.entries[0].content for record in records if isinstance(record, PlanRecord)]
    assert plans == changes
    chosen = [record.chosen for record in records if isinstance(record, PermissionRecord)]
    assert chosen == [event[1] and "Allow" for event in events if event[0] == "permission"]
    compacted = [record.event for record in records if isinstance(record, EventRecord)]
    assert len(compacted) == sum(event[0] == "compacted" for event in events)


@given(
    st.lists(
        st.tuples(st.sampled_from(["text", "thought"]), st.text("abc", min_size=1, max_size=4)), max_size=12
    )
)
def test_texts_and_thoughts_are_split_where_the_other_comes(events):
    log, records = transcript(), []
    for event in events:
        records += take(log, event)[1]
    records += log.end()
    told = [(record.role, record.content) for record in records]
    if log.text:
        told.append(("assistant", "".join(log.text)))
    merged: list[tuple[str, str]] = []
    for kind, text in events:
        role = "assistant" if kind == "text" else "thought"
        if merged and merged[-1][0] == role:
            merged[-1] = (role, merged[-1][1] + text)
        else:
            merged.append((role, text))
    # The last text and the last thought can be complete in any order: nothing came between them.
    assert told == merged


def test_white_space_between_calls_is_no_message_of_its_own():
    log = transcript()
    log.add_text("Let me look.")
    records = [
        record for state in ("running", "done") for record in log.change_tool(Tool("t", "ls", state))[1]
    ]
    log.add_text("\n\n")
    records += log.change_tool(Tool("u", "cat", "done"))[1]
    log.add_text("Done.")
    assert [record.role for record in records] == ["assistant", "tool", "tool"]
    assert "".join(log.text) == "\n\nDone."
    assert log.reply == "Let me look.\n\n\n\nDone."


def test_a_call_is_recorded_with_all_that_was_said_of_it():
    log = transcript()
    log.change_tool(Tool("t", "Read", "running", name="Read", input={"file_path": "/srv/a.py"}))
    log.change_tool(Tool("t", "", "running", kind="read"))
    (record,) = log.change_tool(Tool("t", "Read a.py", "failed", output="no such file"))[1]
    assert (record.title, record.name, record.kind, record.state) == ("Read a.py", "Read", "read", "failed")
    assert (record.output, record.locations[0].path) == ("no such file", "/srv/a.py")
    assert record.duration_ms >= 0
    assert log.change_tool(Tool("t", "Read a.py", "done"))[1] == []


def test_a_thought_is_complete_when_a_call_begins():
    log = transcript()
    log.add_thought("hm")
    (thought,) = log.change_tool(Tool("t", "ls", "running"))[1]
    assert isinstance(thought, ThoughtRecord)


def test_a_reply_has_a_limit_in_characters():
    log = transcript()
    assert log.add_text("é" * LIMIT)[0] == "é" * LIMIT
    assert not log.overlong
    assert log.add_text("x")[0] == log.finish_text()[0] == ""
    assert log.overlong


def test_an_agent_that_never_ends_what_it_begins_has_bounds():
    log = transcript()
    records = [record for n in range(1500) for record in log.change_tool(Tool(f"t{n}", "ls", "running"))[1]]
    assert [record.id for record in records] == [f"t{n}" for n in range(500)]
    assert len(log.calls) == 1000
    for _ in range(3):
        log.add_thought("x" * LIMIT)
    (thought, *_) = log.change_tool(Tool("t", "ls", "done"))[1]
    assert thought.omitted < LIMIT

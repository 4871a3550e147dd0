"""How agents' messages are read, whatever they hold."""

import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins

from port42_daemon.backends.acp.connection import Refused
from port42_daemon.backends.acp.updates import (
    Updates,
    choice,
    failure_of,
    granted,
    permission,
    usage,
    words_of_refusal,
)
from port42_daemon.backends.base import Event, Failure, Plan, Text, Tool, Usage
from port42_protocol.messages.records import Location, PlanEntry

KINDS = [
    "agent_message_chunk",
    "agent_thought_chunk",
    "tool_call",
    "tool_call_update",
    "plan",
    "usage",
    "usage_update",
    "user_message_chunk",
    "available_commands_update",
]
NAMES = [
    "sessionUpdate",
    "content",
    "type",
    "text",
    "uri",
    "resource",
    "toolCallId",
    "title",
    "kind",
    "status",
    "entries",
    "messageId",
    "options",
    "optionId",
    "name",
    "toolCall",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "cachedReadTokens",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)


# No deadline, no slowness check: this test is about results, and the machine may be busy.
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(KINDS), OBJECTS), max_size=6), OBJECTS)
def test_nothing_an_agent_sends_breaks_the_reading(
    sent: list[tuple[str, Any]], asked: dict[str, Any]
) -> None:
    updates = Updates()
    for kind, update in sent:
        for event in updates.read(update | {"sessionUpdate": kind}):
            if isinstance(event, Tool):
                assert "\n" not in event.title
                assert event.title
    put = permission(asked, updates)
    assert put.title
    for policy in ("deny", "read-only", "allow", "ask"):
        chosen = choice(put, allow=granted(policy, put))
        assert chosen is None or chosen in [option.id for option in put.options]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(("allow_always", "tomorrows", "reject_always"))), st.booleans())
def test_nothing_is_allowed_for_ever(kinds: list[str], allow: bool) -> None:
    offered = [{"optionId": f"{kind} {n}", "name": kind, "kind": kind} for n, kind in enumerate(kinds)]
    chosen = choice(permission({"options": offered}, Updates()), allow=allow)
    assert chosen is None or chosen.startswith("reject")


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"inputTokens": 10, "outputTokens": 5}, Usage(10, 5)),
        ({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, Usage(10, 5)),
        # Cached tokens beside the input, and cached tokens as a part of it.
        ({"inputTokens": 10, "outputTokens": 5, "totalTokens": 99, "cachedReadTokens": 84}, Usage(94, 5)),
        ({"inputTokens": 94, "outputTokens": 5, "totalTokens": 99, "cachedReadTokens": 84}, Usage(94, 5)),
        ({"inputTokens": 10, "outputTokens": 5, "totalTokens": 20, "cachedWriteTokens": 5}, Usage(15, 5)),
        (  # as opencode 1.18.33 sends it
            {
                "inputTokens": 250,
                "outputTokens": 3,
                "totalTokens": 355,
                "thoughtTokens": 2,
                "cachedReadTokens": 100,
            },
            Usage(350, 5),
        ),
        ({"used": 900, "size": 1000}, None),
        ({"inputTokens": -1, "outputTokens": 5}, None),
        ({"inputTokens": True, "outputTokens": 5}, None),
        ({"inputTokens": 1.5, "outputTokens": 5}, None),
    ],
)
def test_tokens(said: dict[str, Any], counted: Usage | None) -> None:
    assert usage(said) == counted


def texts(*updates: dict[str, Any]) -> str:
    reading = Updates()
    events = [event for update in updates for event in reading.read(update)]
    return "".join(event.text for event in events if isinstance(event, Text))


def chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}} | more


TOOL = {"sessionUpdate": "tool_call", "toolCallId": "t", "title": "Read"}
BLOCK = {"type": "content", "content": {"type": "text", "text": "from a block"}}


@pytest.mark.parametrize(
    ("updates", "reply"),
    [
        ([chunk("one "), chunk("two")], "one two"),
        ([chunk("one."), TOOL, chunk("Two.")], "one.Two."),
        ([TOOL, chunk("one")], "one"),
        ([chunk("one.\n"), TOOL, chunk("two")], "one.\ntwo"),
        ([chunk("one."), TOOL, chunk("\ntwo")], "one.\ntwo"),
        ([chunk("one.", messageId="a"), chunk("two", messageId="b")], "one.\n\ntwo"),
        ([chunk("one ", messageId="a"), chunk("two", messageId="a")], "one two"),
    ],
)
def test_messages_of_one_reply_are_kept_apart(updates: list[dict[str, Any]], reply: str) -> None:
    assert texts(*updates) == reply


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"type": "resource", "resource": {"text": "import this"}}, "import this"),
        ({"type": "resource", "resource": {"blob": "AA=="}}, "[resource]"),
        ({"type": "image", "data": "AA=="}, "[image]"),
        ({"type": "tomorrows"}, ""),
    ],
)
def test_what_is_not_text(content: dict[str, Any], text: str) -> None:
    assert texts(chunk("", content=content)) == text


def test_tool_calls_are_not_kept_without_end() -> None:
    updates = Updates()
    calls = [updates.read(TOOL | {"toolCallId": f"t-{number}"}) for number in range(3000)]
    assert sum(map(len, calls)) == 1000


@pytest.mark.parametrize(
    ("code", "data", "kind"),
    [
        (-32000, None, "needs_auth"),
        (-32603, {"errorKind": "authentication_failed"}, "needs_auth"),
        (-32603, {"errorKind": "overloaded"}, "rate_limit"),
        (-32603, {"errorKind": ["rate_limit"]}, "refused"),
        (-32603, "anything", "refused"),
    ],
)
def test_refusals(code: int, data: Any, kind: str) -> None:
    failure = failure_of(Refused(code, "no", data), "agent", "", "no")
    assert isinstance(failure, Failure)
    assert failure.kind == kind


def calls(*updates: dict[str, Any]) -> list[Tool]:
    reading = Updates()
    events = [event for update in updates for event in reading.read({"toolCallId": "t"} | update)]
    return [event for event in events if isinstance(event, Tool)]


def test_an_update_of_a_tool_call_gives_what_changed() -> None:
    begin = TOOL | {"kind": "read", "rawInput": {"path": "a"}, "locations": [{"path": "a", "line": 3}]}
    change = {"sessionUpdate": "tool_call_update", "rawInput": {"path": "a"}, "status": "in_progress"}
    end = {"sessionUpdate": "tool_call_update", "status": "completed", "rawOutput": "x", "title": "Read a"}
    assert calls(begin, change, change | {"rawInput": {"path": "b"}}, end, change | {"status": None}) == [
        Tool("t", "Read", "running", None, "read", {"path": "a"}, None, (Location("a", 3),)),
        Tool("t", "Read", "running", None, "read", {"path": "b"}),
        Tool("t", "Read a", "done", None, "read", None, "x"),
    ]


@pytest.mark.parametrize(
    ("update", "output"),
    [
        ({"rawOutput": "x"}, "x"),
        ({"rawOutput": {"output": "x", "metadata": {"exit": 0}}, "content": [BLOCK]}, "x"),
        ({"rawOutput": {"content": "x", "detailedContent": "y"}}, "x"),
        ({"rawOutput": {"exit": 0}, "content": [BLOCK]}, [BLOCK]),
        ({"rawOutput": {"exit": 0}}, {"exit": 0}),
        ({"content": [BLOCK, {"type": "terminal", "terminalId": "1"}]}, [BLOCK]),
        ({"rawOutput": ["x"], "content": [BLOCK]}, ["x"]),
        ({"content": []}, None),
        ({"content": "x"}, None),
    ],
)
def test_the_output_of_a_tool_call(update: dict[str, Any], output: Any) -> None:
    end = {"sessionUpdate": "tool_call_update", "status": "completed"}
    *_, last = calls(TOOL, end | update)
    assert last.output == output


def test_text_in_the_first_update_of_a_call_describes_it() -> None:
    diff = {"type": "diff", "path": "a", "newText": "x"}
    (begun,) = calls(TOOL | {"content": [BLOCK, diff]})
    assert begun.output == [diff]


def test_an_update_of_many_mebibytes_takes_no_long_time() -> None:
    updates = Updates()
    many: list[dict[str, Any]] = [{"path": "p", "content": "x"}] * 500_000
    plan = {"sessionUpdate": "plan", "entries": many}
    began = process_time()
    (event,) = updates.read(
        TOOL | {"title": "y" * 8_000_000, "rawInput": {"todos": many}, "locations": many, "content": many}
    )[:1]
    assert updates.read(TOOL | {"toolCallId": "x" * 8_000_000}) == []
    assert updates.read(plan) == []  # the one that the tool told
    assert process_time() - began < 2
    assert isinstance(event, Tool)
    assert len(event.title) <= 300


def test_a_tool_that_keeps_the_plan_gives_it() -> None:
    todos = [{"content": "sift", "status": "in_progress"}]
    update = TOOL | {"title": "todowrite", "rawInput": {"todos": todos}}
    reading = Updates()
    tool, plan = reading.read(update)
    assert isinstance(tool, Tool)
    assert tool.name == "todowrite"
    assert plan == Plan((PlanEntry("sift", "in_progress"),))
    assert reading.read(update) == []


@pytest.mark.parametrize(
    ("message", "data", "words"),
    [
        ("Internal error", {"details": "Not logged in"}, "Internal error: Not logged in"),
        ("Internal error", "529 Overloaded", "Internal error: 529 Overloaded"),
        (
            "Internal error",
            {"type": "error", "error": {"message": "Overloaded"}},
            "Internal error: Overloaded",
        ),
        ("Internal error", {"error": "Overloaded"}, "Internal error: Overloaded"),
        ("Internal error", {"message": "quota"}, "Internal error: quota"),
        ("Overloaded", {"message": "Overloaded"}, "Overloaded"),
        ("Internal error", {"details": {"a": 1}}, "Internal error"),
        ("Internal error", None, "Internal error"),
    ],
)
def test_what_the_data_of_a_refusal_say_is_told(message: str, data: Any, words: str) -> None:
    assert words_of_refusal(Refused(-32603, message, data)) == words


RECORDED = Path(__file__).with_name("recorded")
AGENTS = sorted(path.name.partition(".")[0] for path in RECORDED.glob("*.events.json"))


def events_of(agent: str) -> list[Event]:
    updates, events = Updates(), list[Event]()
    for line in (RECORDED / f"{agent}.jsonl").read_text().splitlines():
        match json.loads(line):
            case {"update": update}:
                events += updates.read(update)
            case {"permission": call}:
                events += updates.begin(call)
    return events


@pytest.mark.parametrize("agent", AGENTS)
def test_what_a_real_agent_did_is_in_the_events(agent: str) -> None:
    plain = [
        [
            type(event).__name__,
            {name: value for name, value in to_builtins(event).items() if value not in (None, ())},
        ]
        for event in events_of(agent)
    ]
    assert json.loads(json.dumps(plain)) == json.loads((RECORDED / f"{agent}.events.json").read_text())


@pytest.mark.parametrize("agent", AGENTS)
def test_the_calls_of_a_real_agent_run_before_they_end_and_end_once(agent: str) -> None:
    states: dict[str, list[str]] = {}
    for event in events_of(agent):
        if isinstance(event, Tool):
            states.setdefault(event.id, []).append(event.state)
    assert len(states) >= 6
    for of_call in states.values():
        *running, last = of_call
        assert running
        assert set(running) == {"running"}
        assert last in ("done", "failed")

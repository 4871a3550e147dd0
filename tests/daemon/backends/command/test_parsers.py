"""Every stream that was recorded from a real tool, and what must not break a parser."""

import json
from pathlib import Path
from time import process_time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.backends.base import (
    Done,
    Event,
    Failure,
    Notice,
    Plan,
    Started,
    Text,
    Thought,
    Tool,
    Usage,
)
from port42_daemon.backends.command.backend import STREAMS
from port42_daemon.backends.command.stream import TextParser
from port42_daemon.backends.errors import failure, lost_session, telling_line
from port42_daemon.backends.process import LINE_LIMIT
from port42_protocol.framing import LineFramer
from port42_protocol.messages.records import Location, PlanEntry

RECORDED = Path(__file__).with_name("recorded")

METADATA = Notice(
    "Model metadata for `gpt-4o` not found. Defaulting to fallback metadata;"
    " this can degrade performance and cause issues."
)
RECONNECTING = Notice("Reconnecting... waiting for network (Connection failed: error sending request)")
LISTING = "list_directory__list_directory_1795409399118_0"
SAY_HI = {"command": "echo hi", "description": "say hi"}
ECHO = {"cmd": "echo hi"}

MEANT: dict[str, list[Event]] = {
    "claude-thinks": [
        Started("440fd522-14e3-4b1b-8c88-bfd0748de36d", "claude-opus-4-8[1m]"),
        Usage(11, 7),
        Thought("let me think about i"),
        Thought("t"),
        Text("forty-two"),
        Done(stop_reason="end_turn"),
    ],
    "claude-tool": [
        Started("4824a7ed-e637-4a24-8e7b-08219b2bf697", "claude-opus-4-8[1m]"),
        Text("I look. "),
        Tool("toolu_sI39I2nURJ96vvAL", "echo hi", "running", "Bash", "execute", SAY_HI),
        Tool("toolu_sI39I2nURJ96vvAL", "echo hi", "done", "Bash", "execute", output="hi"),
        Text("after the tool"),
        Done(stop_reason="end_turn"),
    ],
    "claude-whole": [
        Started("49f301a5-c7a0-429f-8d85-b16e9aebfe46", "claude-opus-4-8[1m]"),
        Text("I look. "),
        Tool("toolu_JUu49C1LIzDIkAnv", "echo hi", "running", "Bash", "execute", SAY_HI),
        Tool("toolu_JUu49C1LIzDIkAnv", "echo hi", "done", "Bash", "execute", output="hi"),
        Text("after the tool"),
        Done(stop_reason="end_turn"),
    ],
    "claude-unknown-session": [
        Done(
            Failure("crashed", "No conversation found with session ID: 11111111-2222-4333-8444-555555555555")
        )
    ],
    "claude-no-login": [
        Started("77fc2f65-bec0-4bfa-acd2-18c63159a61d", "claude-opus-4-8[1m]"),
        Done(Failure("needs_auth", "Not logged in · Please run /login")),
    ],
    "claude-limit": [
        Started("14924f8f-17d1-4cc1-b490-5357a215e2b6", "claude-opus-4-8[1m]"),
        Done(Failure("rate_limit", "API Error: Request rejected (429) · slow down")),
    ],
    "claude-network": [
        Started("b8d2b6ca-b704-4805-b9c0-d988a2aa767b", "claude-opus-4-8[1m]"),
        Done(Failure("network", "API Error: Unable to connect to API (ConnectionRefused)")),
    ],
    "codex-thinks": [
        Started("01a206b3-061c-79e3-b71b-937f9e77c2f7"),
        METADATA,
        Thought("let me think about it"),
        Text("forty-two"),
        Usage(11, 7),
        Done(),
    ],
    "codex-tool": [
        Started("01a206b3-03f6-7473-b0b7-2e1cb710e247"),
        METADATA,
        Tool("item_1", "echo hi", "running", "exec_command", "execute", ECHO),
        Tool("item_1", "echo hi", "done", "exec_command", "execute", ECHO, "hi\n"),
        Text("after the shell"),
        Usage(0, 0),
        Done(),
    ],
    "codex-limit": [
        Started("01a206ae-d037-7280-9bc2-6c0dc49622c7"),
        METADATA,
        Done(
            Failure(
                "rate_limit",
                "exceeded retry limit, last status: 429 Too Many Requests, request id: req-xFQG4mJe3BbU6hl2",
            )
        ),
    ],
    "codex-no-key": [
        Started("01a206ae-d176-77f0-b467-1f525e54e57d"),
        METADATA,
        Done(Failure("needs_auth", "Missing environment variable: `NOT_SET_KEY`.")),
    ],
    # It retried without end until the user cancelled.
    "codex-network": [Started("01a206ae-d406-76b2-b90c-a310d314dbd9"), METADATA, RECONNECTING],
    "gemini-thinks": [
        Started("2081e613-9084-41e0-ba4b-1ae92a2f055a", "gemini-2.5-flash"),
        Text("forty-two"),
        Usage(11, 7),
        Done(),
    ],
    "gemini-tool": [
        Started("13d0e3ac-dcfe-48a4-a7d7-f1f2a4c43588", "gemini-2.5-flash"),
        Tool(LISTING, "list_directory", "running", "list_directory", "search", {"dir_path": "."}),
        Tool(LISTING, "list_directory", "done", "list_directory", "search"),
        Text("after the listing"),
        Usage(0, 0),
        Done(),
    ],
    "gemini-refused": [
        Started("28753bd1-1e94-4999-95e3-8090449b8d2c", "gemini-2.5-flash"),
        Usage(0, 0),
        Done(
            Failure(
                "refused",
                '[API Error: {"error":{"code":400,"message":"this model takes no such thing",'
                '"status":"invalid_request_error"}}]',
            )
        ),
    ],
}


@pytest.mark.parametrize("name", sorted(MEANT))
def test_a_recorded_stream_means_what_it_says(name):
    parser = STREAMS[name.partition("-")[0]]()
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    assert [event for line in lines for event in parser.feed(line)] == MEANT[name]


WITH_EVENTS = sorted(path.name.partition(".")[0] for path in RECORDED.glob("*.events.json"))


def events_in(name: str) -> list[Event]:
    parser = STREAMS[name.partition("-")[0]]()
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    return [event for line in lines for event in parser.feed(line)]


def plain(events: list[Event]) -> list[Any]:
    """Events as JSON has them: the type's name and the fields that are not empty."""
    fields = [msgspec.to_builtins(event) for event in events]
    return [
        [type(event).__name__, {name: value for name, value in given.items() if value not in (None, ())}]
        for event, given in zip(events, fields, strict=True)
    ]


@pytest.mark.parametrize("name", WITH_EVENTS)
def test_what_an_agent_did_is_in_the_events(name):
    expected = json.loads((RECORDED / f"{name}.events.json").read_text())
    assert json.loads(json.dumps(plain(events_in(name)))) == expected


@pytest.mark.parametrize("name", WITH_EVENTS)
def test_a_tool_call_runs_before_it_ends_and_nothing_follows_the_end(name):
    events = events_in(name)
    if not name.startswith("codex-0-20"):  # it marked no end
        assert [type(event) for event in events].count(Done) == 1
        assert isinstance(events[-1], Done)
    states: dict[str, list[str]] = {}
    for event in events:
        if isinstance(event, Tool):
            states.setdefault(event.id, []).append(event.state)
            assert event.name
            assert event.input is not None or event.state != "running"
    assert states or name in ("claude-compact", "codex-0-20-plan")
    assert {tuple(of_one) for of_one in states.values()} <= {("running", "done"), ("running", "failed")}


LARGE: list[dict[str, Any]] = [
    {"type": "item.completed", "item": {"id": "a", "type": "command_execution", "command": "x " * 4_000_000}},
    {"type": "item.completed", "item": {"id": "b", "type": "todo_list", "items": [{"text": "x"}] * 300_000}},
    {
        "type": "item.completed",
        "item": {"id": "c", "type": "file_change", "changes": [{"path": "x"}] * 300_000},
    },
]


@pytest.mark.parametrize("entry", LARGE)
def test_a_line_of_many_mebibytes_takes_no_long_time(entry):
    line = json.dumps(entry).encode()
    began = process_time()
    assert STREAMS["codex"]().feed(line)
    assert process_time() - began < 2


@given(st.sampled_from(WITH_EVENTS), st.lists(st.integers(1, 5000), max_size=20))
def test_a_stream_cut_anywhere_gives_the_same_events(name, cuts):
    data = (RECORDED / f"{name}.jsonl").read_bytes()
    framer, parser = LineFramer(LINE_LIMIT), STREAMS[name.partition("-")[0]]()
    events: list[Event] = []
    for cut in [*cuts, len(data)]:
        framer.feed(data[:cut])
        data = data[cut:]
        while (line := framer.next_line()) is not None:
            events += parser.feed(line)
    assert events == events_in(name)


def test_no_recorded_stream_is_left_over():
    assert sorted(path.stem for path in RECORDED.glob("*.jsonl")) == sorted([*MEANT, *WITH_EVENTS])


def fed(kind: str, *events: dict[str, Any]) -> list[Event]:
    parser = STREAMS[kind]()
    return [said for event in events for said in parser.feed(json.dumps(event).encode())]


def test_codex_items_of_every_kind():
    items = [
        {
            "id": "a",
            "type": "file_change",
            "changes": [{"path": "x.py"}, {"path": "y.py"}],
            "status": "completed",
        },
        {
            "id": "b",
            "type": "mcp_tool_call",
            "server": "docs",
            "tool": "find",
            "arguments": {"query": "cats"},
            "error": {"message": "no such page"},
            "status": "failed",
        },
        {"id": "c", "type": "web_search", "query": "cats"},
        {
            "id": "d",
            "type": "todo_list",
            "items": [{"text": "sift", "completed": True}, {"text": "grind", "completed": False}],
        },
        {"id": "e", "type": "command_execution", "command": "rm -r /", "status": "declined"},
        {"id": "f", "type": "agent_message", "text": "one"},
        {"id": "g", "type": "agent_message", "text": "two"},
    ]
    assert fed("codex", *({"type": "item.completed", "item": item} for item in items)) == [
        Tool(
            "a",
            "x.py, y.py",
            "done",
            "apply_patch",
            "edit",
            {"changes": items[0]["changes"]},
            locations=(Location("x.py"), Location("y.py")),
        ),
        Tool("b", "cats", "failed", "docs__find", "search", {"query": "cats"}, "no such page"),
        Tool("c", "cats", "done", "web_search", "fetch", {"query": "cats"}),
        Plan((PlanEntry("sift", "completed"), PlanEntry("grind", "pending"))),
        Tool("e", "rm -r /", "failed", "exec_command", "execute", {"cmd": "rm -r /"}),
        Text("one"),
        Text("\n\ntwo"),
    ]


def test_claude_usage_adds_the_messages_of_a_turn_and_the_result_counts():
    def message(number: str, tokens: int, out: int) -> list[dict[str, Any]]:
        usage = {"input_tokens": tokens, "cache_read_input_tokens": 100, "output_tokens": 1}
        started = {"type": "message_start", "message": {"id": number, "usage": usage}}
        delta = {"type": "message_delta", "usage": {"output_tokens": out}}
        return [{"type": "stream_event", "event": event} for event in (started, delta)]

    result = {"type": "result", "subtype": "success", "usage": {"input_tokens": 230, "output_tokens": 21}}
    said = fed("claude", *message("a", 10, 5), *message("b", 20, 15), result)
    assert [event for event in said if isinstance(event, Usage)] == [
        Usage(110, 1),
        Usage(110, 5),
        Usage(230, 6),
        Usage(230, 20),
        Usage(230, 21),
    ]


def test_what_a_claude_sub_agent_says_is_not_the_reply():
    inner = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "psst"}}
    content = [{"type": "text", "text": "psst"}]
    assert not fed(
        "claude",
        {"type": "stream_event", "parent_tool_use_id": "toolu_1", "event": inner},
        {"type": "assistant", "parent_tool_use_id": "toolu_1", "message": {"content": content}},
    )


def test_a_claude_turn_whose_only_words_are_in_the_result():
    said = fed("claude", {"type": "result", "subtype": "success", "is_error": False, "result": "Compacted."})
    assert said == [Text("Compacted."), Done()]


def test_a_gemini_warning_is_a_notice_and_a_failed_tool_says_so():
    tool = {"tool_name": "run", "tool_id": "t", "parameters": {}}
    said = fed(
        "gemini",
        {"type": "error", "severity": "warning", "message": "Loop detected"},
        {"type": "tool_use", **tool},
        {"type": "tool_result", "tool_id": "t", "status": "error", "error": {"message": "no such file"}},
        {"type": "tool_result", "tool_id": "never seen", "status": "success"},
    )
    assert said == [
        Notice("Loop detected"),
        Tool("t", "run", "running", "run", "other", {}),
        Tool("t", "run", "failed", "run", "other", output="no such file"),
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "item",
    "event",
    "message",
    "content",
    "delta",
    "usage",
    "stats",
    "error",
    "errors",
    "subtype",
    "id",
]
TYPES = [
    *("system", "stream_event", "assistant", "user", "result", "error", "message", "tool_use", "tool_result"),
    *("init", "thread.started", "item.started", "item.completed", "turn.completed", "turn.failed"),
]


@given(
    st.sampled_from(sorted(STREAMS)),
    st.dictionaries(st.sampled_from(FIELDS), VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES)),
    st.sampled_from(TYPES),
)
def test_no_object_of_a_known_type_breaks_a_parser(kind, fields, type_):
    for event in fed(kind, {"type": type_} | fields):
        assert isinstance(event, Event)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a value has parts, however deep."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(*path, key) for key in keys] + [
        deep for key in keys for deep in paths_in(value[key], (*path, key))
    ]


@given(st.sampled_from(WITH_EVENTS), st.data())
def test_a_recorded_stream_with_other_values_in_it_breaks_nothing(name, data):
    entries = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_bytes().splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        entry = data.draw(st.sampled_from([each for each in entries if paths_in(each)]))
        *path, last = data.draw(st.sampled_from(paths_in(entry)))
        for key in path:
            entry = entry[key]
        entry[last] = data.draw(VALUES)
    for event in fed(name.partition("-")[0], *entries):
        assert event == msgspec.convert(msgspec.to_builtins(event), type(event), strict=True)


@given(st.sampled_from(sorted(STREAMS)), st.binary())
def test_no_bytes_break_a_parser(kind, line):
    assert STREAMS[kind]().feed(line) == []


@given(st.text(), st.lists(st.integers(min_value=0, max_value=40)))
def test_text_cut_anywhere_is_the_same_text(text, cuts):
    parser, data, said = TextParser(), text.encode(), ""
    for cut in cuts:
        said += "".join(piece.text for piece in parser.feed(data[:cut]))
        data = data[cut:]
    said += "".join(piece.text for piece in parser.feed(data, last=True))
    assert said == text.rstrip("\r\n")


def test_bytes_that_are_no_utf8_are_shown_as_such():
    assert TextParser().feed(b"a\xffb\xc3", last=True) == [Text("a�b�")]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("When using Gemini API, you must specify the GEMINI_API_KEY environment variable.", "needs_auth"),
        ("Please set an Auth method in your settings.json", "needs_auth"),
        ("Invalid API key · Please run /login", "needs_auth"),
        ("API Error: 401 invalid x-api-key", "needs_auth"),
        ("You've hit your usage limit. Upgrade to Pro", "rate_limit"),
        ("API Error: 529 Overloaded", "rate_limit"),
        ("stream disconnected before completion: failed to lookup address information", "network"),
        ("There's an issue with the selected model (x). It may not exist", "refused"),
        ("segmentation fault", "crashed"),
    ],
)
def test_the_kind_of_a_failure_is_in_its_words(message, kind):
    assert failure(message) == Failure(kind, message)


def test_a_failures_message_is_one_line_of_bounded_length():
    assert failure("a\n b\t" + "c" * 1000).message == "a b " + "c" * 295 + "…"


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("", None),
        ("loading\nall is lost\n\n", "all is lost"),
        ("Error: thread/resume failed: no rollout found for thread id 1 (code -32600)", None),
        (
            'Error resuming session: Invalid session identifier "1".\n  Searched.\n  Use --list-sessions.',
            None,
        ),
        ("TypeError: x is undefined\n    at f (a.js:1)\n    at g (a.js:2)", "TypeError: x is undefined"),
    ],
)
def test_the_line_of_stderr_that_says_most(stderr, line):
    assert telling_line(stderr) == (line or stderr.partition("\n")[0] or None)


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("No conversation found with session ID: 1", True),
        ("Error: thread/resume: thread/resume failed: no rollout found for thread id 1 (code -32600)", True),
        ('Error resuming session: Invalid session identifier "1".', True),
        ("Session 7 does not exist", True),
        ("session expired, log in again", False),
        ("out of memory", False),
    ],
)
def test_a_lost_session_is_known_by_its_words(message, lost):
    assert lost_session(failure(message)) is lost

"""What a tool goes on without stays, and an event says how many of the person's messages that are."""

import json

import pytest

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import claude, codex, gemini, pi
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import EventRecord, Message, ToolRecord

WHEN = "2026-02-03T04:05:06.000Z"


def outline(reader, entries):
    """The words of each message, how each call ended, and of each event how many messages it takes back.

    Read as a whole, and with the state saved and loaded behind each line.
    """
    lines = [json.dumps(entry).encode() for entry in entries]
    records = list(read_whole(reader("session", SessionsConfig()), lines)[0].records)
    saved, staged = None, []
    for line in lines:
        each = reader("session", SessionsConfig(), saved)
        each.feed(line)
        staged += each.taken()
        saved = each.save()
    last = reader("session", SessionsConfig(), saved)
    last.take_rest()
    assert [record for key, record, _ in [*staged, *last.taken()] if not key] == records
    return list(map(summary, records))


def summary(record):
    match record:
        case Message(content=text):
            return text
        case ToolRecord(state=state):
            return state
        case EventRecord(event="rolled_back", prompts=prompts):
            return -prompts
    return record


def claude_entry(kind, uuid, parent, content, **fields):
    said = {"message": {"id": uuid, "content": content}}
    return {
        "type": kind,
        "uuid": uuid,
        "parentUuid": parent,
        "sessionId": "s",
        "timestamp": WHEN,
        **said,
        **fields,
    }


CALL = [{"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}]
CLAUDE = [
    claude_entry("user", "u1", None, "rye?"),
    claude_entry("assistant", "a1", "u1", "ten"),
    claude_entry("user", "u2", "a1", "wheat?"),
    claude_entry("assistant", "a2", "u2", "four"),
    claude_entry("user", "u3", "a2", "barley?"),
    claude_entry("assistant", "a3", "u3", CALL),
]


@pytest.mark.parametrize(
    ("parent", "prompts"), [("a3", None), ("a2", -1), ("a1", -2), (None, -3)], ids=["none", "1", "2", "all"]
)
def test_claude_code_goes_on_from_an_earlier_message(parent, prompts):
    begun = ["rye?", "ten", "wheat?", "four", "barley?", "interrupted"]
    taken_back = [prompts] if prompts else []
    assert outline(claude.Reader, [*CLAUDE, claude_entry("user", "u4", parent, "oats?")]) == [
        *begun,
        *taken_back,
        "oats?",
    ]


def test_claude_code_twice_and_with_a_command():
    command = "<command-name>/review</command-name><command-args>all</command-args>"
    entries = [
        *CLAUDE,
        claude_entry("user", "u4", "a1", "oats?"),
        claude_entry("assistant", "a4", "u4", "two"),
        claude_entry("user", "u5", "a1", command),
        claude_entry("assistant", "a5", "u5", "done"),
    ]
    assert outline(claude.Reader, entries)[6:] == [-2, "oats?", "two", -1, "/review all", "done"]


def test_results_of_calls_at_once_and_what_the_program_says_are_no_branches():
    results = [
        claude_entry("user", name, "a3", [{"type": "tool_result", "tool_use_id": "t", "content": "x"}])
        for name in ("r1", "r2")
    ]
    meta = claude_entry("user", "m", "a1", "a reminder", isMeta=True)
    side = claude_entry("user", "u9", "a1", "count", isSidechain=True, agentId="ab")
    assert not any(isinstance(each, int) for each in outline(claude.Reader, [*CLAUDE, *results, meta, side]))


def codex_item(kind, **payload):
    return {"timestamp": WHEN, "type": kind, "payload": payload}


def codex_message(role, text):
    return codex_item(
        "response_item", type="message", role=role, content=[{"type": "input_text", "text": text}]
    )


@pytest.mark.parametrize(("turns", "prompts"), [(1, [-1]), (2, [-2]), (7, [-2]), (0, []), ("x", [])])
def test_codex_says_how_many_turns(turns, prompts):
    entries = [
        codex_item("session_meta", id="c", timestamp=WHEN),
        *(
            codex_message(role, text)
            for role, text in (("user", "rye?"), ("assistant", "ten"), ("user", "wheat?"))
        ),
        codex_item("event_msg", type="thread_rolled_back", num_turns=turns),
        codex_message("user", "oats?"),
    ]
    assert outline(codex.Reader, entries) == ["rye?", "ten", "wheat?", *prompts, "oats?"]


def gemini_message(key, kind, content):
    return {"id": key, "timestamp": WHEN, "type": kind, "content": content}


@pytest.mark.parametrize(("key", "prompts"), [("m3", -1), ("m2", -1), ("m1", -2), ("unknown", -2)])
def test_gemini_cli_names_the_first_message_that_it_takes_back(key, prompts):
    entries = [
        {"sessionId": "s", "projectHash": "h", "startTime": WHEN, "kind": "main"},
        gemini_message("m1", "user", "rye?"),
        gemini_message("m2", "gemini", "ten"),
        gemini_message("m3", "user", "wheat?"),
        {"$rewindTo": key},
        gemini_message("m4", "user", "oats?"),
        {"$rewindTo": "m4"},
    ]
    assert outline(gemini.Reader, entries) == ["rye?", "ten", "wheat?", prompts, "oats?", -1]


def pi_entry(key, parent, role, text, kind="message"):
    message = {"role": role, "content": [{"type": "text", "text": text}]}
    return {"type": kind, "id": key, "parentId": parent, "timestamp": WHEN, "message": message}


@pytest.mark.parametrize(
    ("parent", "prompts"), [("e5", []), ("e4", [-1]), ("e2", [-2]), ("e1", [-2]), (None, [-3])]
)
def test_pi_goes_on_behind_an_earlier_entry(parent, prompts):
    entries = [
        {"type": "session", "version": 3, "id": "s", "timestamp": WHEN, "cwd": "/"},
        pi_entry("e1", None, "user", "rye?"),
        pi_entry("e2", "e1", "assistant", "ten"),
        pi_entry("e3", "e2", "user", "wheat?"),
        pi_entry("e4", "e3", "assistant", "four"),
        pi_entry("e5", "e4", "user", "barley?"),
        pi_entry("e6", parent, "user", "oats?"),
    ]
    assert outline(pi.Reader, entries) == ["rye?", "ten", "wheat?", "four", "barley?", *prompts, "oats?"]

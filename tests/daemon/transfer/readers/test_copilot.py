"""Copilot CLI's events: what is the person's, what is a sub-agent's, and what older versions wrote."""

from __future__ import annotations

import json

import pytest

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import copilot
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import Message

WHEN = "2026-02-03T04:05:06.000Z"
LIMITS = SessionsConfig()


def event(kind, agent=None, when=WHEN, **data):
    return {"type": kind, "data": data, "timestamp": when, **({"agentId": agent} if agent else {})}


START = event("session.start", sessionId="s", selectedModel="gpt-x", context={"cwd": "/home/ada"})


def read_all(*events):
    return read_whole(copilot.Reader("events", LIMITS), [json.dumps(each).encode() for each in events])


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


@pytest.mark.parametrize(
    ("source", "is_typed"),
    [(None, True), ("user", True), ("command-review", True), ("skill-pdf", False), ("agent-2", False)],
)
def test_what_skills_and_other_agents_say_is_not_the_persons(source, is_typed):
    said = event("user.message", content="sail", **({"source": source} if source else {}))
    [session] = read_all(START, event("user.message", content="hi"), said)
    assert texts(session) == [("user", "hi"), *([("user", "sail")] if is_typed else [])]


@pytest.mark.parametrize("agent", [None, "agent-1"])
def test_a_sub_agents_events_are_a_session_of_its_own(agent):
    started = {"toolCallId": "c1", "agentDisplayName": "Counter", "agentDescription": "Count the sacks"}
    own, sub = read_all(
        START,
        event("user.message", content="hi"),
        event("subagent.started", agent, **started),
        event("assistant.message", agent, parentToolCallId="c1", content="I count."),
        event("tool.execution_start", agent, parentToolCallId="c1", toolCallId="c2", toolName="bash"),
        event("tool.execution_complete", agent, parentToolCallId="c1", toolCallId="c2", success=True),
        event("assistant.message", content="Two."),
    )
    assert (texts(own), own.info.title) == ([("user", "hi"), ("assistant", "Two.")], None)
    assert (texts(sub), sub.info.title, sub.info.parent) == (
        [("assistant", "I count.")],
        "Count the sacks",
        "s",
    )


def test_the_model_thoughts_and_tokens_of_older_versions():
    [session] = read_all(
        START,
        event("user.message", content="hi"),
        event("assistant.reasoning", reasoningId="r", content="It blows."),
        event("assistant.message", content="", reasoningText="It blows.", outputTokens=3),
        event("assistant.message", content="yes", outputTokens=4),
    )
    _, thought, reply = session.records
    assert (thought.role, thought.content) == ("thought", "It blows.")
    assert (reply.turn.model, reply.turn.input_tokens, reply.turn.output_tokens) == ("gpt-x", 0, 7)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("summary: Mends the mill\n", "Mends the mill"),
        ('name: "The \\"mill\\""\nsummary: Mends it\n', 'The "mill"'),
        ("name: 'it''s done'\n", "it's done"),
        ("name: |\n  x\nsummary: Mends it\n", "Mends it"),
        ("cwd: /\n", None),
    ],
)
def test_the_title_beside(tmp_path, text, title):
    (tmp_path / "workspace.yaml").write_text(text)
    assert copilot.title_beside(tmp_path / "events.jsonl") == title


def test_a_fork_is_one_of_the_session_whose_tokens_it_copied():
    later = WHEN.replace("06.000", "09.000")
    usage = {"inputTokens": 1200, "outputTokens": 80, "accounting": {"sourceSessionId": "s"}}
    turn = [
        event("user.message", content="hi"),
        event("session.usage_record", usage=usage),
        event("assistant.message", content="yes"),
    ]
    usage = {**usage, "accounting": {"sourceSessionId": "f"}}
    [fork] = read_all(
        event("session.start", when=later, sessionId="f", startTime=later),
        *turn,
        event("user.message", when=later, content="sail"),
        event("session.usage_record", when=later, usage=usage),
        event("assistant.message", when=later, content="going"),
    )
    assert (fork.info.forked_from, fork.info.shared) == ("s", 2)
    assert read_all(START, *turn)[0].info.forked_from is None


def test_a_command_that_the_person_ran_has_its_words():
    command = {"toolCallId": "t", "toolName": "local_shell", "arguments": {"command": "ls -1"}}
    [session] = read_all(
        START,
        event("user.message", content="hi"),
        event("tool.user_requested", **command),
        event("tool.execution_complete", toolCallId="t", success=True, result={"content": "grain.txt"}),
    )
    record = list(session.records)[-1]
    assert (record.title, record.kind, record.output) == ("ls -1", "execute", "grain.txt")


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("no such file\n<shellId: 1 completed with exit code 1>", "no such file"),
        ("<shellId: 1>", "<shellId: 1>"),
    ],
)
def test_a_commands_output_is_without_what_copilot_says_behind_it(content, output):
    [session] = read_all(
        START,
        event("user.message", content="hi"),
        event("tool.execution_start", toolCallId="t", toolName="bash", arguments={"command": "cat x"}),
        event(
            "tool.execution_complete",
            toolCallId="t",
            success=True,
            result={"content": content},
            shellExecution={"exitCode": 1},
        ),
    )
    record = list(session.records)[-1]
    assert (record.output, record.state) == (output, "failed")

"""Gemini CLI's chats: which words are the person's, and what comes with a message that is written again."""

from __future__ import annotations

import json

import pytest

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import gemini
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import Message

WHEN = "2026-02-03T04:05:06.000Z"
HEADER = {"sessionId": "s", "projectHash": "h", "startTime": WHEN, "kind": "main"}


def message(number, kind, content, **fields):
    return {"id": f"m{number}", "timestamp": WHEN, "type": kind, "content": content, **fields}


def read(*entries):
    lines = (json.dumps(entry).encode() for entry in entries)
    [session] = read_whole(gemini.Reader("session-x", SessionsConfig()), lines)
    return session


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


FILES = "\n--- Content from referenced files ---\nContent from @a.py:\nx = 1\n--- End of content ---"


@pytest.mark.parametrize(
    ("content", "display"),
    [
        ([{"text": "Explain @a.py"}, {"text": FILES}], [{"text": "Explain @a.py"}]),
        ([{"text": "Explain @a.py"}, {"text": FILES}], None),
        ("Explain @a.py" + FILES, None),
        ([{"text": "Explain @a.py"}, {"text": "<hook_context>It is Monday.</hook_context>"}], None),
        ([{"text": "You explain files well. Explain a.py"}], "Explain @a.py"),
    ],
)
def test_the_words_as_they_were_typed(content, display):
    asked = message(1, "user", content, **({"displayContent": display} if display else {}))
    assert texts(read(HEADER, asked)) == [("user", "Explain @a.py")]


@pytest.mark.parametrize(
    "content",
    [
        "<hook_context>It is Monday.</hook_context>",
        "Here is the user's editor context as a JSON object. This is for your information only.",
        "System: Potential loop detected. Details: it repeats itself.",
        [{"functionResponse": {"id": "c", "name": "ls", "response": {"output": "a.py"}}}],
    ],
)
def test_what_the_program_tells_the_model_is_no_message(content):
    assert texts(read(HEADER, message(1, "user", content), message(2, "user", "hi"))) == [("user", "hi")]


def test_a_thought_in_a_reply_is_no_part_of_its_words():
    parts = [{"text": "Binary content received.", "thought": True}, {"text": "It is a boat."}]
    assert texts(read(HEADER, message(1, "user", "hi"), message(2, "gemini", parts)))[1:] == [
        ("assistant", "It is a boat.")
    ]


def test_tokens_that_come_when_the_message_is_written_again():
    reply = message(2, "gemini", "yes", tokens=None)
    counts = {"input": 10, "output": 2, "thoughts": 1, "tool": 4}
    again = {**reply, "tokens": counts}
    session = read(HEADER, message(1, "user", "hi"), reply, again, again, message(3, "user", "and?"))
    turns = [record.turn for record in session.records if record.role == "event"]
    assert [(turn.input_tokens, turn.output_tokens) for turn in turns] == [(14, 3)]


def test_a_chat_that_is_one_line():
    """As an older version's document that was renamed."""
    whole = {**HEADER, "messages": [message(1, "user", "hi"), message(2, "gemini", "yes")]}
    assert texts(read(whole)) == [("user", "hi"), ("assistant", "yes")]


def test_a_chat_of_an_earlier_version_of_qwen_code():
    chat = [HEADER, message(1, "user", "hi"), message(2, "qwen", "yes")]
    assert texts(read(*chat)) == [("user", "hi"), ("assistant", "yes")]

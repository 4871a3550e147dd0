"""Codex's rollouts: the user's words without what Codex and editors add, and what else a file tells."""

from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import codex
from port42_daemon.transfer.readers.base import SubAgent
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
    "text", ["<environment_context>\n</environment_context>", "# AGENTS.md instructions for x"]
)
def test_what_codex_tells_the_model_is_no_message(text):
    assert texts(read(meta(), message("user", text), message("user", "hi"))) == [("user", "hi")]


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


def test_tokens_are_told_as_totals():
    def total(sent, received):
        return event(
            "token_count", info={"total_token_usage": {"input_tokens": sent, "output_tokens": received}}
        )

    reply = message("assistant", {"type": "output_text", "text": "yes"})
    session = read(meta(), message("user", "hi"), reply, total(10, 2), total(10, 2), reply, total(25, 5))
    turns = [record.turn for record in session.records if getattr(record, "turn", UNSET) is not UNSET]
    tokens = [(turn.input_tokens, turn.output_tokens) for turn in turns if turn.input_tokens]
    assert tokens == [(10, 2), (15, 3)]


def test_an_error_is_one():
    assert texts(read(meta(), message("user", "hi"), event("error", message="usage limit")))[1:] == [
        ("error", "usage limit")
    ]

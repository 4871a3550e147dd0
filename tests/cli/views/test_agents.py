"""Agents and their back ends, as terminals and scripts get them."""

from __future__ import annotations

import pytest
from peers.drawing import drawn, piped

from port42_cli.views import agents as subject
from port42_protocol.messages.agents import Agent, AgentList
from port42_protocol.presets import ECHO, PRESETS


def agent(**changes):
    facts = {
        "agent": "ai-engineer",
        "source": "built-in",
        "system": "You build.",
        "backend": "none",
        "model": None,
        "health": "none",
        "detail": "records only",
        "session_count": 2,
        "last_session": "cli-1",
    }
    return Agent(**(facts | changes))


CLAUDE = {
    "backend": "claude",
    "model": "opus",
    "health": "ready",
    "detail": "/bin/claude",
    "source": "config",
}


def test_an_agent_is_a_row_with_its_state_and_the_reason_in_a_line():
    claude = agent(**CLAUDE | {"health": "needs_auth", "detail": "first\nsecond " + "long " * 50})
    _, first, second = drawn(subject.agents([claude, agent()]), 100).splitlines()
    assert first.split()[:6] == ["@ai-engineer", "claude", "opus", "needs", "auth", "2"]
    assert "first␊second" in first
    assert second.split() == ["@ai-engineer", "none", "–", "none", "2", "records", "only"]


def test_what_the_echo_agent_is_fits_80_columns():
    known = agent(agent="echo", backend="echo", health="ready", detail=PRESETS[ECHO])
    assert "repeats the message; no model" in drawn(subject.agents([agent(), known]), 80)


def test_a_script_gets_a_line_for_each():
    lost = agent(
        agent="x", source="sessions", backend="claude", model="opus", health="missing", detail="not found"
    )
    assert piped(subject.agents([agent(last_session=None, session_count=0), lost])) == [
        "ai-engineer\tnone\tbuilt-in\t0\t\tnone\t\trecords only",
        "x\tclaude\tsessions\t2\tcli-1\tmissing\topus\tnot found",
    ]


def test_all_facts_about_an_agent_end_in_its_persona():
    view = subject.agent(agent(system="line 1\nline 2", last_session=None))
    page = drawn(view)
    for words in ("Port42 itself", "line 1", "line 2", "none: messages are recorded without a reply"):
        assert words in page
    assert piped(view) == [
        "agent: ai-engineer",
        "source: built-in",
        "backend: none",
        "health: none",
        "detail: records only",
        "sessions: 2",
        "persona: line 1\nline 2",
    ]
    assert piped(subject.agent(agent(**CLAUDE)))[2:5] == ["backend: claude", "model: opus", "health: ready"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "claude · opus · ready · /bin/claude"),
        ({"source": "built-in"}, "claude · opus · ready, by the key in the daemon's environment"),
        ({"health": "needs_auth"}, "claude · opus · needs auth · /bin/claude"),
    ],
)
def test_the_back_end_is_shown_with_its_health_and_the_origin_of_its_key(changes, words):
    assert words in drawn(subject.agent(agent(**CLAUDE | changes)), 100)


def test_the_line_for_one_agent():
    assert subject.health(agent(**CLAUDE)) == "@ai-engineer: claude · opus · ready · /bin/claude"
    assert subject.health(agent()) == "@ai-engineer: none, messages are recorded without a reply"


def test_only_what_is_not_connected_is_offered():
    known = AgentList((agent(**CLAUDE), agent(agent="ai-muse")), ("claude", "llm"), None)
    assert subject.offers(known) == {"llm": "port42 agents connect @ai-muse llm"}
    assert subject.offers(AgentList((agent(**CLAUDE),), ("claude",), None)) == {}

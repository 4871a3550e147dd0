"""The overview, as terminals and scripts get it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from peers.drawing import drawn, piped

from port42_cli.views.overview import overview
from port42_protocol.messages.agents import Agent, AgentList
from port42_protocol.messages.sessions import ListedSession

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TIME = "2026-11-23T11:57:00.000Z"
ENGINEER = Agent("ai-engineer", "built-in", None, "none", None, "none", "records only", 1, "cli-1")
MUSE = Agent("ai-muse", "built-in", None, "none", None, "none", "records only", 0, None)
CLAUDE = Agent("ai-muse", "config", None, "claude", None, "ready", "/bin/claude", 0, None)
ECHO = Agent("echo", "built-in", None, "echo", None, "ready", "repeats the message; no model", 0, None)
LAST = ListedSession("cli-1", "ai-engineer", "a parser", "active", TIME, TIME, 3, None, short_id="cli-")


def page(last=(), agents=(MUSE, ECHO), available=(), keys=(), width=110):
    """The overview with a blank between any two words."""
    return " ".join(drawn(overview(last, AgentList(agents, available, None), keys, NOW), width).split())


def test_each_last_session_and_what_to_type():
    shown = page([LAST], (ENGINEER, CLAUDE, ECHO), ("claude",))
    assert "cli-1" in shown
    assert "No session yet: @ai-muse @echo" in shown
    assert "port42 possess @ai-engineer -c" in shown
    assert "connect" not in shown


def test_a_clean_machine_offers_what_answers_and_no_session_to_continue():
    shown = page()
    assert 'port42 possess @ai-muse "…"' in shown
    assert 'port42 possess @echo "hello" repeats the message; no model' in shown
    assert " -c" not in shown
    assert "none of these is on this machine: claude, codex, gemini, llm, opencode" in shown
    assert "port42 agents connect --help" in shown


def test_what_is_found_comes_with_the_command_that_connects_it():
    shown = page(available=("claude", "ollama"), keys=["OPENAI_API_KEY"])
    for words in (
        "port42 agents connect @ai-muse claude Claude Code, with its own login",
        "port42 agents connect @ai-muse ollama ollama, a model on this machine: --model NAME",
        "port42 daemon restart has the daemon use this shell's OPENAI_API_KEY",
    ):
        assert words in shown


@pytest.mark.parametrize("width", [40, 50, 80])
def test_commands_are_whole_in_a_narrow_terminal(width):
    assert "port42 agents connect @ai-muse claude" in page(available=("claude",), width=width)


def test_an_echo_of_somebodys_own_is_not_called_ours():
    mine = Agent("echo", "config", None, "claude", None, "ready", "/bin/claude", 0, None)
    assert '@echo "hello"' not in page(agents=(mine,))


def test_every_agent_is_named_to_a_script():
    assert piped(overview([LAST], AgentList((ENGINEER, MUSE), ("claude",), None), [], NOW)) == [
        f"ai-engineer\tcli-1\t{TIME}",
        "ai-muse\t\t",
    ]

"""`port42 show`: every page of a transcript, exact when piped and harmless on a terminal."""

from __future__ import annotations

import json

import pytest


def test_piped_messages_are_exact(port42):
    begun = port42.begin("@ai-muse", "a\x1b[31m\nb")
    first, *text = port42("show", begun).stdout.split("\n")
    assert first.startswith("[1] user 20")
    assert text == ["a\x1b[31m", "b", "", ""]


def test_a_terminal_is_shown_who_said_what_and_obeys_none_of_it(port42, terminal):
    begun = port42.begin("@ai-muse", "a\x1b[2Jb")
    screen = terminal("show", begun, TERM="dumb")
    screen.expect_exact("@ai-muse · 1 message · active")
    screen.expect("user")
    screen.expect_exact("a␛[2Jb")


@pytest.mark.parametrize("last", [["last", "--agent", "@ai-muse"], ["last", "-a", "ai-muse"]])
def test_last_is_an_agents_last(port42, last):
    port42.begin("@ai-muse", "old")
    begun = port42.begin("@ai-muse", "new")
    port42.begin("@ai-engineer", "newest, and not the muse's")
    assert port42.json("show", *last, "--json")["session"]["session_id"] == begun


def test_last_of_all_and_of_an_agent_by_its_name_say_which_it_is(port42):
    of_muse = port42.begin("@ai-muse", "old")
    newest = port42.begin("@ai-engineer", "newest")
    for ref, session_id, agent, title in (
        ("last", newest, "ai-engineer", "newest"),
        ("@ai-muse", of_muse, "ai-muse", "old"),
    ):
        done = port42("show", ref, "--json")
        assert json.loads(done.stdout)["session"]["session_id"] == session_id
        assert done.stderr == f"{ref}: {session_id} of @{agent} ({title})\n"


def test_last_of_nobody_is_no_session_and_a_mistyped_agent_is_told(port42):
    done = port42("show", "last")
    assert (done.returncode, done.stderr) == (1, "Error: No sessions found\n")
    assert port42("show", "@ai-muse").stderr == "Error: No sessions found for ai-muse\n"
    assert "Did you mean @ai-muse" in port42("show", "@ai-muze").stderr


def test_more_messages_than_a_page_are_all_shown_in_order(daemon, port42):
    begun = daemon.call("create_session", agent="ai-muse")["session_id"]
    for number in range(1003):
        daemon.call("append_message", agent="ai-muse", session_id=begun, role="user", content=str(number))
    shown = port42.json("show", begun, "--json")
    assert [message["content"] for message in shown["messages"]] == [str(number) for number in range(1003)]
    assert shown["next_after_seq"] is None
    assert port42("show", begun).stdout.count("] user 20") == 1003


def test_events_are_shown_when_asked_for(port42):
    begun = port42.begin("@ai-muse", "hi")
    port42.json("rpc", "end_session", f"session_id={begun}")
    assert [message["role"] for message in port42.json("show", begun, "--json")["messages"]] == ["user"]
    with_events = port42.json("show", begun, "--events", "--json")["messages"]
    assert [(message["role"], message.get("event")) for message in with_events] == [
        ("user", None),
        ("event", "ended"),
    ]
    assert "[2] event 20" in port42("show", begun, "--events").stdout


def test_an_empty_session_is_an_empty_transcript(port42):
    port42.json("rpc", "create_session", "agent=ai-muse", "session_id=nothing-yet")
    assert port42.json("show", "nothing-yet", "--json")["messages"] == []
    assert port42("show", "nothing-yet").stdout == ""


def test_another_agents_session_is_refused(port42):
    begun = port42.begin("@ai-muse", "hi")
    done = port42("show", begun, "-a", "@ai-engineer")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"session {begun} belongs to @ai-muse, not to @ai-engineer" in done.stderr

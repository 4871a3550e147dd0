"""`port42 fork`: a session that goes on from another, and what is refused."""

from __future__ import annotations

import re


def test_a_fork_says_what_goes_on_with_it_and_that_works(port42):
    begun = port42.begin("@ai-muse", "an ode")
    done = port42("fork", begun, "--to", "@ai-engineer", "--title", "the other")
    session, command = done.stderr.splitlines()
    forked = re.fullmatch(r"Session: (cli-\d{13})", session)[1]
    assert command == f"  To go on with it: port42 possess @ai-engineer --session {forked}"
    said = port42("possess", "@ai-engineer", "--session", forked, "more")
    assert said.returncode == 0
    shown = port42.json("show", forked, "--json")
    assert [one["content"] for one in shown["messages"]] == ["an ode", "more"]
    assert shown["session"]["title"] == "the other"


def test_at_a_record_as_json(port42):
    begun = port42.begin("@ai-muse", "one")
    port42.events("@ai-muse", "two", "-c")
    made = port42.json("fork", begun, "--at", "1", "--json")
    assert made["forked_from"] == {"session_id": begun, "seq": 1}
    assert port42("fork", begun, "--at", "3").returncode == 1
    assert port42("fork", begun, "--at", "0").returncode == 2
    assert port42("fork", "last").returncode == 2

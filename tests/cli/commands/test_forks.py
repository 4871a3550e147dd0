"""`port42 fork`, `rewind`: a new session with part of another, which stays as it is."""

from __future__ import annotations

import re

import pytest


def test_a_fork_says_what_goes_on_with_it_and_that_works(port42):
    begun = port42.begin("@ai-muse", "an ode")
    done = port42("fork", begun, "--to", "@ai-engineer", "--title", "the other")
    session, command = done.stderr.splitlines()
    forked = re.fullmatch(r"Session: (cli-\d{13})", session)[1]
    assert command == f"  To continue it: port42 possess @ai-engineer --session {forked}"
    done = port42("possess", "@ai-engineer", "--session", forked, "more")
    assert done.returncode == 0
    shown = port42.json("show", forked, "--json")
    assert [message["content"] for message in shown["messages"]] == ["an ode", "more"]
    assert shown["session"]["title"] == "the other"


def test_at_a_record_as_json(port42):
    begun = port42.begin("@ai-muse", "one")
    port42.events("@ai-muse", "two", "-c")
    made = port42.json("fork", begun, "--at", "1", "--json")
    assert made["forked_from"] == {"session_id": begun, "seq": 1}
    assert port42("fork", begun, "--at", "3").returncode == 1
    assert port42("fork", begun, "--at", "0").returncode == 2
    assert (
        port42.json("fork", "@ai-muse", "--at", "1", "--json")["forked_from"]["session_id"]
        == made["session_id"]
    )


def test_without_the_last_turns_and_to_a_record(daemon, port42):
    daemon.call("create_session", agent="ai-muse", session_id="long")
    for number in range(300):
        role = "user" if number % 2 == 0 else "assistant"
        daemon.call("append_message", agent="ai-muse", session_id="long", role=role, content=str(number))
    for args, seq in ((["--turns", "1"], 298), (["--turns", "149"], 2), (["7"], 7)):
        assert port42.json("rewind", "long", *args, "--json")["forked_from"]["seq"] == seq
    done = port42("rewind", "long", "--turns", "150")
    assert (done.returncode, done.stderr) == (
        1, "Error: --turns: expected at most 149, so that something is left of the session\n",
    )  # fmt: skip
    assert port42.json("show", "long", "--json")["session"]["message_count"] == 300


@pytest.mark.parametrize("args", [[], ["1", "--turns", "1"], ["0"], ["--turns", "0"]])
def test_one_of_the_two_is_wanted(port42, args):
    assert port42("rewind", "some", *args).returncode == 2


def test_the_family(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    forked = port42.json("fork", begun, "--json")["session_id"]
    port42("rm", "-y", begun)
    assert port42("tree", forked).stdout == (f"{begun}\t\t\t(in the trash)\n  {forked}\t1\tai-muse\tan ode\n")
    assert [node["trashed"] for node in port42.json("tree", forked, "--json")["nodes"]] == [True, False]
    screen = terminal("tree", forked, TERM="dumb")
    screen.expect_exact(f"{begun}  in the trash")
    screen.expect(rf"└── {forked}  at 1  @ai-muse  an ode  1 message")

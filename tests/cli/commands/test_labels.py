"""`port42 rename`, `tag`, `pin`, `unpin`: what is changed, found by it, and gone on with by id."""

from __future__ import annotations

import shlex

import pytest

from port42_cli import plain_text
from port42_protocol.messages.records import Summary


@pytest.mark.parametrize(
    "title",
    ['the "muse\'s" $HOME', "-x --json", "cli-1757350466684", "@ai-muse and I", "📌 ünï", "a;b|c&d"],
)
def test_a_session_is_found_by_any_title_and_the_printed_command_goes_on_with_it(port42, title):
    begun = port42.begin("@ai-muse", "an ode")
    assert port42("rename", begun, "--", title).stdout == f"{begun}: {title}\n"
    session = port42.json("rpc", "find_session", f"ref={title}", "agent=ai-muse")
    assert (session["session_id"], session["title"]) == (begun, title)
    typed = shlex.split(plain_text.going_on(Summary(**session)))
    assert begun in port42(*typed[1:], "and more").stderr


def test_a_title_that_two_have_lists_both(port42):
    begun = [port42.begin("@ai-muse", f"ode {number}") for number in range(2)]
    for session_id in begun:
        port42("rename", session_id, "the same")
    done = port42("rename", "The Same", "other")
    assert (done.returncode, done.stdout) == (1, "")
    assert all(session_id in done.stderr for session_id in begun)


def test_words_are_one_title_and_bad_ones_are_refused(port42):
    begun = port42.begin("@ai-muse", "an ode")
    assert port42.json("rename", begun, "two", "words", "--json")["title"] == "two words"
    done = port42("rename", begun, "a\nb")
    assert (done.returncode, done.stdout) == (1, "")
    assert "title: expected one line" in done.stderr
    assert "@AGENT, which mean a last session" in port42("rename", begun, "@ai-muse").stderr
    assert port42("rename", begun).returncode == 2
    assert port42("rename", "last", "x").stdout == f"{begun}: x\n"
    assert "belongs to @ai-muse" in port42("rename", begun, "x", "-a", "@ai-engineer").stderr


def test_tags_are_put_on_and_taken_off_and_narrow_a_list(port42):
    begun = port42.begin("@ai-muse", "an ode")
    port42.begin("@ai-muse", "another")
    assert port42("tag", begun, "+lang", "later", "-none").stdout == f"{begun}: lang later\n"
    assert port42("tag", begun, "-lang", "-a").stdout == f"{begun}: later\n"
    assert port42("tag", begun).stdout == f"{begun}: later\n"
    rows = [line.split("\t") for line in port42("sessions", "--tag", "later").stdout.splitlines()]
    assert [(row[0], row[4]) for row in rows] == [(begun, "active #later")]
    assert port42("sessions", "--tag", "lang").stdout == ""
    assert port42("search", "later").stdout == f"{begun}:0: #later\n"


def test_a_tag_that_is_none_is_refused(port42):
    begun = port42.begin("@ai-muse", "an ode")
    done = port42("tag", begun, "a b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "without spaces or commas" in done.stderr
    assert port42.json("tag", "@ai-muse", "--json")["tags"] == []


def test_a_pinned_session_is_listed_as_such_until_it_is_let_go(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    port42.begin("@ai-muse", "another")
    assert port42("pin", "an ode").stdout == f"{begun}: pinned\n"
    (line,) = port42("sessions", "--pinned").stdout.splitlines()
    assert line.split("\t")[4:] == ["active pinned", "an ode"]
    screen = terminal("sessions", TERM="dumb")
    screen.expect_exact("📌 an ode")
    assert port42.json("unpin", begun, "--json")["pinned"] is False
    assert port42("sessions", "--pinned").stdout == ""
    assert port42("pin", "last").returncode == 0


def test_a_session_without_a_pin_stays_as_it_is(port42):
    begun = port42.begin("@ai-muse", "an ode")
    before = port42.json("show", begun, "--events", "--json")
    assert port42("unpin", begun).stdout == f"{begun}: not pinned\n"
    assert port42.json("show", begun, "--events", "--json") == before
    assert port42("unpin", "last").stdout == f"{begun}: not pinned\n"

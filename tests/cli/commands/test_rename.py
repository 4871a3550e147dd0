"""`port42 rename`: whatever a title looks like, the session is found by it and gone on with by its id."""

from __future__ import annotations

import shlex

import pytest

from port42_cli import plain_text
from port42_protocol.messages.records import Summary


@pytest.mark.parametrize(
    "title",
    ['the "muse\'s" $HOME', "-x --json", "last", "cli-1757350466684", "@ai-muse", "📌 ünï", "a;b|c&d"],
)
def test_a_session_is_found_by_any_title_and_the_printed_command_goes_on_with_it(port42, title):
    begun = port42.begin("@ai-muse", "an ode")
    assert port42("rename", begun, "--", title).stdout == f"{begun}: {title}\n"
    found = port42.json("rpc", "find_session", f"ref={title}", "agent=ai-muse")
    assert (found["session_id"], found["title"]) == (begun, title)
    typed = shlex.split(plain_text.going_on(Summary(**found)))
    assert begun in port42(*typed[1:], "and more").stderr


def test_a_title_that_two_have_lists_both(port42):
    begun = [port42.begin("@ai-muse", f"ode {number}") for number in range(2)]
    for one in begun:
        port42("rename", one, "the same")
    done = port42("rename", "The Same", "other")
    assert (done.returncode, done.stdout) == (1, "")
    assert all(one in done.stderr for one in begun)


def test_words_are_one_title_and_bad_ones_are_refused(port42):
    begun = port42.begin("@ai-muse", "an ode")
    assert port42.json("rename", begun, "two", "words", "--json")["title"] == "two words"
    done = port42("rename", begun, "a\nb")
    assert (done.returncode, done.stdout) == (1, "")
    assert "title: expected one line" in done.stderr
    assert port42("rename", begun).returncode == port42("rename", "last", "x").returncode == 2
    assert "belongs to @ai-muse" in port42("rename", begun, "x", "-a", "@ai-engineer").stderr

"""The picker at a real terminal."""

from __future__ import annotations

import re

import pexpect
import pytest
from peers.screen import Screen

ENTER, ESC, DOWN, TAB, CTRL_C, CTRL_D = "\r", "\x1b", "\x1b[B", "\t", "\x03", "\x04"
BEGUN = (("@ai-engineer", "build a parser"), ("@ai-engineer", "mend the lexer"), ("@ai-muse", "write a poem"))


@pytest.fixture
def screen(terminal):
    """`port42` on a screen of 24 lines by 80 columns."""
    return lambda *args, **env: Screen(terminal(*args, **env))


@pytest.fixture
def sessions(port42):
    """Three sessions by their last word, the poem's used last."""
    return {message.split()[-1]: port42.begin(agent, message) for agent, message in BEGUN}


def continues(seen, session_id):
    seen.send(ENTER)
    seen.until(f"Resuming session {session_id}")
    seen.until_so(lambda lines: any(line.startswith("@ai-") and "›" in line for line in lines))
    seen.send(CTRL_D)
    seen.left(0)


def test_enter_continues_the_newest(screen, sessions):
    seen = screen("resume")
    seen.until("3 of 3 sessions")
    continues(seen, sessions["poem"])


def test_letters_narrow_the_list_and_the_preview_follows(screen, sessions):
    seen = screen("resume")
    seen.until("3 of 3 sessions")
    seen.send("prsr")
    seen.until("1 of 3 sessions")
    seen.until("user: build a parser")
    continues(seen, sessions["parser"])


def test_the_command_line_gives_agent_and_first_words(screen, sessions):
    seen = screen("resume", "@ai-engineer", "lexer")
    seen.until("1 of 2 sessions")
    continues(seen, sessions["lexer"])


def test_down_chooses_the_next(screen, sessions):
    seen = screen("possess", "@ai-engineer", "--pick")
    seen.until("2 of 2 sessions")
    seen.send(DOWN)
    seen.until("user: build a parser")
    continues(seen, sessions["parser"])


@pytest.mark.parametrize("key", [ESC, CTRL_C, CTRL_D])
def test_quitting_uses_no_session(screen, sessions, port42, key):
    before = port42.json("sessions", "--json")
    seen = screen("resume")
    seen.until("3 of 3 sessions")
    seen.send(key)
    seen.left(130)
    assert port42.json("sessions", "--json") == before


def test_a_message_goes_to_the_one_that_is_picked(screen, sessions, port42):
    seen = screen("possess", "@ai-engineer", "--pick", "and tests")
    seen.until("2 of 2 sessions")
    seen.send("parser")
    seen.until("1 of 2 sessions")
    seen.send(ENTER)
    seen.left(0)
    messages = port42.json("show", sessions["parser"], "--json")["messages"]
    assert [message["content"] for message in messages] == ["build a parser", "and tests"]


def test_no_colour_where_none_is_wanted(screen, sessions):
    seen = screen("resume", NO_COLOR="1")
    seen.until("3 of 3 sessions")
    seen.send(ESC)
    seen.left(130)
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3|9)[0-7]m", seen.sent)


def test_a_small_terminal_has_the_list_and_no_preview(terminal, sessions):
    seen = Screen(terminal("resume"), lines=10)
    lines = seen.until("3 of 3 sessions")
    assert not any("user:" in line for line in lines)
    continues(seen, sessions["poem"])


def test_tab_takes_the_preview_away_and_brings_it_back(screen, sessions):
    seen = screen("resume")
    seen.until("user: write a poem")
    seen.send(TAB)
    seen.until_so(lambda lines: not any("user:" in line for line in lines))
    seen.send(TAB)
    seen.until("user: write a poem")
    seen.send(ESC)
    seen.left(130)


def test_where_nothing_fits_enter_picks_nothing(screen, sessions):
    seen = screen("resume", "zzz")
    seen.until("Nothing fits.")
    seen.send(ENTER)
    seen.send(ESC)
    seen.left(130)


def test_where_nothing_can_be_chosen_no_screen_is_opened(terminal):
    for args, why in (
        (["resume"], "there are no sessions: "),
        (["possess", "@ai-muse", "--pick"], "no previous sessions found for @ai-muse"),
        (["resume", "@ai-mus"], "unknown agent @ai-mus"),
    ):
        seen = terminal(*args)
        seen.expect_exact(f"Error: {why}")
        seen.expect(pexpect.EOF)
        seen.close()
        assert seen.exitstatus == 1


def test_without_a_terminal_it_says_what_to_use(port42):
    done = port42("resume")
    assert done.returncode == 2
    assert "port42 sessions" in done.stderr


@pytest.mark.parametrize("more", [["-c"], ["--here"], ["-s", "last"]])
def test_pick_refuses_other_ways_to_name_a_session(port42, more):
    done = port42("possess", "@ai-muse", "--pick", *more, "hi")
    assert done.returncode == 2
    assert "--pick" in done.stderr

"""At a real terminal, 80 columns wide: the conversation, the tables, and what Ctrl-C and Ctrl-D do."""

from __future__ import annotations

import json
import re
import shlex

import pexpect
import pytest

pytestmark = pytest.mark.filterwarnings(
    # A terminal needs a fork of its own; pexpect's child does nothing but exec.
    "ignore:.*multi-threaded, use of forkpty:DeprecationWarning"
)

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?[349][0-7](?:;[0-9;]*)?m")
WAITS = r"\x1b\[\?2004h"
"""Bracketed paste is on while a prompt waits for a line."""
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


def to_the_end(child):
    """Everything that is still shown; and the exit code."""
    child.expect(pexpect.EOF)
    shown = child.before
    child.close()
    return shown, child.exitstatus


def lines(shown):
    return [ESCAPE.sub("", line) for line in shown.splitlines()]


def prompted(child):
    """Wait for the next prompt; what was shown before it."""
    child.expect(WAITS)
    shown = ESCAPE.sub("", child.before)
    child.expect("@ai-engineer ›")
    return shown


def conversation(terminal, words="possess @ai-engineer", env=None):
    """A conversation that waits for a first line; with what was shown before."""
    child = terminal(words, env)
    return child, prompted(child)


def say(child, message):
    """Type it; the conversation's notice says when it is recorded."""
    child.send(message + ENTER)
    child.expect(r"Recorded \((\d+) message")
    count = int(child.match[1])
    prompted(child)
    return count


def contents(port42, session_id):
    return [record["content"] for record in port42.rpc("get_session", session_id=session_id)["messages"]]


# --- the conversation ---------------------------------------------------------------------------


def test_a_conversation_from_the_first_line_to_the_hint_that_resumes_it(terminal, port42):
    child, banner = conversation(terminal)
    assert "port42" in banner
    assert "@ai-engineer" in banner
    assert "without a reply" in banner  # the back end's true state
    child.send("build a parser" + ENTER)
    child.expect(r"Session: (cli-\d{13})")
    session_id = child.match[1]
    child.expect("Recorded")
    prompted(child)
    assert say(child, "and now a lexer") == 2
    child.send(CTRL_D)
    child.expect(r"To continue: port42 (possess [^\r\n\x1b]+)")
    hint = shlex.split(child.match[1])
    _, code = to_the_end(child)
    assert code == 0
    assert contents(port42, session_id) == ["build a parser", "and now a lexer"]

    resumed = port42(*hint)
    assert resumed.returncode == 0
    assert resumed.stderr == f"🔄 Resuming session {session_id} for @ai-engineer (2 messages)\n"


def test_a_conversation_that_goes_on(terminal, port42):
    session_id = port42.rpc("create_session", agent="ai-engineer", title="the parser")["session_id"]
    child, banner = conversation(terminal, "possess @ai-engineer -c")
    assert f"Resuming session {session_id} for @ai-engineer (0 messages)" in banner
    assert "the parser" in banner
    assert say(child, "hello again") == 1
    child.send(CTRL_D)
    assert to_the_end(child)[1] == 0
    assert contents(port42, session_id) == ["hello again"]


def test_leaving_at_once_records_nothing(terminal, port42):
    child, _ = conversation(terminal)
    child.send(CTRL_D)
    shown, code = to_the_end(child)
    assert code == 0
    assert "To continue" not in shown
    assert json.loads(port42("sessions", "--json").stdout)["sessions"] == []


def test_ctrl_c_of_a_command_is_130(terminal, port42):
    assert port42("daemon", "start").returncode == 0
    child = terminal("daemon logs -f")
    child.expect("listens at")
    child.send(CTRL_C)
    shown, code = to_the_end(child)
    assert code == 130
    assert "Traceback" not in shown


# --- what it looks like -------------------------------------------------------------------------


@pytest.fixture
def busy_home(daemon):
    for number in range(3):
        title = f"number {number}, " + "a title that goes on and on " * 5
        daemon.call("create_session", agent="ai-engineer", session_id=f"session-{number}", title=title)
    message = "\x1b[31mnot red\x1b[0m [bold]not bold[/bold]"
    daemon.call("possess", agent="ai-engineer", session_id="session-1", message=message)
    daemon.call("add_agent", agent="ai-verbose", system="You say everything twice. " * 20)


COMMANDS = ["", "sessions", "agents", "status", "show session-1"]


@pytest.mark.parametrize("words", COMMANDS)
def test_80_columns_are_enough(terminal, busy_home, words):
    shown, code = to_the_end(terminal(words))
    assert code == 0
    assert max(map(len, lines(shown))) <= 80
    assert "\x1b[" in shown


@pytest.mark.parametrize("words", [words for words in COMMANDS if words != "status"])  # it has no colours
def test_no_color(terminal, busy_home, words):
    coloured, _ = to_the_end(terminal(words))
    assert COLOUR.search(coloured)
    plain, code = to_the_end(terminal(words, {"NO_COLOR": "1"}))
    assert code == 0
    assert not COLOUR.search(plain)


@pytest.mark.parametrize("plain", [True, False])
def test_a_conversation_has_colours_unless_none_are_wanted(terminal, plain):
    child = terminal("possess @ai-engineer", {"NO_COLOR": "1"} if plain else None)
    shown = []
    for typed in ("hello" + ENTER, CTRL_D):
        child.expect(WAITS)
        shown.append(child.before)
        child.expect("@ai-engineer ›")
        prompt = child.before
        child.send(typed)
    rest, code = to_the_end(child)
    assert code == 0
    assert "Recorded" in shown[1]
    if plain:
        assert not COLOUR.search("".join([*shown, prompt, rest]))
    else:
        assert COLOUR.search(prompt)


def test_the_table_of_sessions(terminal, busy_home, port42):
    shown, _ = to_the_end(terminal("sessions"))
    heading, *rows = [line for line in lines(shown) if line.strip()]
    assert heading.split() == ["ID", "AGENT", "TITLE", "MESSAGES", "LAST", "USED"]
    listed = [row.split()[0] for row in rows if "@ai-engineer" in row]
    assert len(listed) == 3
    # What is shown is what can be typed, and the newest use stands first.
    resolved = [port42.rpc("find_session", ref=short)["session_id"] for short in listed]
    assert resolved == ["session-1", "session-2", "session-0"]


def test_what_others_wrote_cannot_command_the_terminal(terminal, busy_home):
    shown, _ = to_the_end(terminal("show session-1"))
    assert "\x1b[31mnot red" not in shown
    assert "␛[31mnot red" in shown
    assert "[bold]not bold[/bold]" in shown


def test_the_overview_says_what_to_type_next(terminal, busy_home):
    shown, code = to_the_end(terminal())
    assert code == 0
    assert "session-1" in shown
    assert "port42 possess @ai-engineer -c" in shown
    assert "@ai-muse" in shown


def test_json_at_a_terminal_is_json_without_colours(terminal, busy_home):
    shown, _ = to_the_end(terminal("sessions --json"))
    assert "\x1b" not in shown
    assert len(json.loads(shown)["sessions"]) == 3

"""The conversation at a real terminal, with the real daemon behind it."""

from __future__ import annotations

import os
import re

import pexpect
import pytest
from peers.conversations import CTRL_C, CTRL_D, ENTER, PROMPT, contents, leave, send

ESC_ENTER = "\x1b\r"


def test_the_banner_shows_agent_session_and_back_end(terminal):
    talk = terminal("possess", "@ai-muse")
    talk.expect("@ai-muse")
    talk.expect("a new one, with your first message")
    talk.expect("none: messages are recorded without a reply")
    assert leave(talk) == 0


def test_the_first_message_begins_a_session_and_the_hint_continues_it(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    send(talk, "hello", r"Session: (cli-\d+)")
    begun = talk.match[1]
    send(talk, "and more", r"Recorded \(2 messages\)\.")
    talk.expect(PROMPT)
    talk.send(CTRL_D)
    talk.expect(r"To continue: port42 (.*?)\r\n")
    resume = talk.match[1].split()
    assert resume == ["possess", "@ai-muse", "--session", begun]
    done = port42(*resume)
    assert done.stderr == f"🔄 Resuming session {begun} for @ai-muse (2 messages)\n"


def test_the_advice_on_back_ends_is_shown_once(terminal):
    talk = terminal("possess", "@ai-muse")
    send(talk, "one", "No back end answers @ai-muse")
    send(talk, "two", r"Recorded \(2 messages\)\.\r\n")
    leave(talk)
    assert "No back end" not in talk.before


def test_a_resumed_session_begins_with_the_resuming_line(terminal, port42):
    begun = port42.begin("@ai-muse", "hi")
    talk = terminal("possess", "@ai-muse", "--session", "last")
    talk.expect_exact(f"🔄 Resuming session {begun} for @ai-muse (1 message)\r\n")
    send(talk, "more", r"Recorded \(2 messages\)")
    leave(talk)
    assert contents(port42, "ai-muse") == ["hi", "more"]


@pytest.mark.parametrize("newline", ["\\" + ENTER, ESC_ENTER])
def test_a_message_may_have_several_lines(terminal, port42, newline):
    talk = terminal("possess", "@ai-muse")
    send(talk, f"first{newline}second")
    leave(talk)
    assert contents(port42, "ai-muse") == ["first\nsecond"]


@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
def test_ctrl_c_clears_what_was_typed(terminal, port42, kind):
    talk = terminal("possess", "@ai-muse", TERM=kind)
    talk.expect(PROMPT)
    talk.send(f"never mind{CTRL_C}this{ENTER}")
    talk.expect("Recorded")
    leave(talk)
    assert contents(port42, "ai-muse") == ["this"]


def test_an_empty_line_sends_nothing(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    talk.expect(PROMPT)
    talk.send("  " + ENTER)
    assert leave(talk) == 0
    assert port42.json("sessions", "--json")["sessions"] == []
    assert "To continue" not in talk.before


def test_the_input_history_is_kept_and_private(terminal, home):
    talk = terminal("possess", "@ai-muse")
    send(talk, "remember me")
    leave(talk)
    assert (home / "history").stat().st_mode & 0o777 == 0o600
    again = terminal("possess", "@ai-muse")
    again.expect(PROMPT)
    again.send("\x1b[A")  # the arrow up
    again.expect("remember me")
    again.send(ENTER)
    again.expect("Recorded")
    leave(again)


def test_a_conversation_survives_a_restart_of_the_daemon(terminal, port42):
    talk = terminal("possess", "@ai-muse")
    send(talk, "before")
    assert port42("daemon", "restart").returncode == 0
    send(talk, "after", r"Recorded \(2 messages\)")
    leave(talk)
    assert contents(port42, "ai-muse") == ["before", "after"]


def test_an_unknown_agent_is_refused_before_the_prompt(terminal):
    talk = terminal("possess", "@ai-muze")
    talk.expect("Error: unknown agent @ai-muze")
    talk.expect("Did you mean @ai-muse")
    talk.expect(pexpect.EOF)
    talk.close()
    assert talk.exitstatus == 1


def test_an_invalid_agent_name_is_refused(terminal):
    talk = terminal("possess", "@a b")
    talk.expect("Error: agent: expected an agent name")
    talk.expect(pexpect.EOF)
    talk.close()
    assert talk.exitstatus == 1


def test_the_hint_names_the_socket_of_the_command_line(terminal, home):
    socket = str(home.parent / "port42.sock")
    talk = terminal("--socket", socket, "possess", "@ai-muse")
    send(talk, "hello")
    leave(talk)
    assert re.search(rf"To continue: port42 --socket {socket} possess @ai-muse --session cli-", talk.before)


@pytest.mark.parametrize("what", ["fifo", "link", "folder"])
def test_a_history_that_is_not_a_file_is_an_error(terminal, port42, home, what):
    port42("status")
    history = home / "history"
    if what == "fifo":
        os.mkfifo(history)
    elif what == "link":
        history.symlink_to("/dev/zero")
    else:
        history.mkdir()
    screen = terminal("possess", "@ai-muse")
    screen.expect(f"Error: cannot write {history}: ")
    screen.expect(pexpect.EOF)

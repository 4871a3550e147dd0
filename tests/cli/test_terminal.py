"""A real terminal: its state after every way to end, keys typed while a reply comes, and Ctrl-Z."""

from __future__ import annotations

import os
import signal
import sys
import termios

import pexpect
import pytest
from peers.screen import Screen
from peers.talk import Tap, configure

CTRL_C, CTRL_Z, CTRL_D = "\x03", "\x1a", "\x04"


@pytest.fixture
def tap(home):
    tap = Tap(home.parent)
    configure(home, tap=tap.command)
    return tap


def echoes(talk):
    return bool(termios.tcgetattr(talk.child_fd)[3] & termios.ECHO)


def cursor_is_seen(sent):
    return sent.rfind("\x1b[?25h") >= sent.rfind("\x1b[?25l")


def test_keys_typed_while_a_reply_comes_do_not_move_it_and_are_not_lost(terminal, tap):
    talk = terminal("possess", "@tap")
    screen = Screen(talk)
    screen.until("›")
    screen.send("hello\r")
    with tap.open() as say:
        for number in range(1, 6):
            say(f"word{number} ")
            screen.until(f"word{number}")
            screen.send(str(number))
    lines = screen.until("› 12345")
    assert [line.strip() for line in lines if "word1" in line] == ["word1 word2 word3 word4 word5"]
    assert sum("12345" in line for line in lines) == 1
    screen.send(CTRL_C + CTRL_D)
    screen.left(0)


@pytest.mark.parametrize("typed", [("possess", "@tap", "hello"), ("possess", "@tap")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_the_terminal_as_it_was(terminal, tap, typed, number):
    """One that comes while a reply is drawn. The process ends by it, as the shell expects."""
    talk = terminal(*typed)
    screen = Screen(talk)
    if len(typed) == 2:
        screen.until("›")
        screen.send("hello\r")
    with tap.open() as say:
        say("half ")
        screen.until("half")
        assert not echoes(talk)
        os.kill(talk.pid, number)
        screen.until_so(lambda _: screen.has_ended)
    assert echoes(talk)
    assert cursor_is_seen(screen.sent)
    talk.wait()
    assert (talk.exitstatus, talk.signalstatus) == (None, number)


@pytest.mark.parametrize("command", [("possess", "@tap"), ("resume",)])
def test_a_signal_at_a_prompt_leaves_the_terminal_as_it_was(terminal, port42, tap, command):
    port42.begin("@ai-muse", "hello")
    talk = terminal(*command)
    screen = Screen(talk)
    screen.until("›")
    assert not echoes(talk)
    os.kill(talk.pid, signal.SIGTERM)
    screen.until_so(lambda _: screen.has_ended)
    assert echoes(talk)
    assert cursor_is_seen(screen.sent)


def test_ctrl_c_and_a_daemon_that_dies_leave_the_terminal_as_it_was(terminal, port42, tap):
    for end in ("ctrl-c", "daemon"):
        talk = terminal("possess", "@tap", "hello")
        screen = Screen(talk)
        with tap.open() as say:
            say("half ")
            screen.until("half")
            if end == "ctrl-c":
                screen.send(CTRL_C)
            else:
                os.kill(port42.json("status", "--json")["pid"], signal.SIGKILL)
            screen.until_so(lambda _, screen=screen: screen.has_ended)
        assert echoes(talk)
        assert cursor_is_seen(screen.sent)


def test_ctrl_z_suspends_a_reply_and_it_goes_on(process, port42, tap):
    """In a shell with job control, for only there anything can be suspended."""
    port42("status")
    shown = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "PS1": "shell> ", "NO_COLOR": "1"}
    shell = process.at_terminal(
        ["bash", "--norc", "-i"], env=os.environ | shown, timeout=60, dimensions=(24, 80)
    )
    screen = Screen(shell)
    screen.until("shell>")
    shell.send(f"{sys.executable} -m port42_cli possess @tap hello\r")
    with tap.open() as say:
        say("half ")
        screen.until("half")
        screen.send(CTRL_Z)
        screen.until("Stopped")
        assert cursor_is_seen(screen.sent)
        screen.send("echo typed at the shell\r")
        screen.until_so(lambda lines: any(line.startswith("typed at the shell") for line in lines))
        screen.send("fg\r")
        say("and half")
        screen.until("half and half")
    screen.until("s · tap")


def test_a_reply_in_the_background_of_a_shell_goes_on(process, port42, tap):
    """What changes the terminal from there is suspended."""
    port42("status")
    shell = process.at_terminal(
        ["bash", "--norc", "-i"], env=os.environ | {"PS1": "shell> ", "TERM": "xterm"}, dimensions=(24, 80)
    )
    screen = Screen(shell)
    screen.until("shell>")
    shell.send(f"{sys.executable} -m port42_cli possess @tap hello &\r")
    with tap.open() as say:
        say("half ")
        screen.until("half")
        say("and half")
    screen.until("s · tap")
    shell.send("wait; echo ended with $?\r")
    screen.until_so(lambda lines: any(line.startswith("ended with 0") for line in lines))


def test_ctrl_z_in_a_conversation_is_no_part_of_the_message(terminal, port42):
    screen = terminal("possess", "@ai-muse")
    screen.expect("›")
    screen.send("hello" + CTRL_Z + " world\r")
    screen.expect(r"Recorded \(1 message\)")
    screen.send(CTRL_D)
    screen.expect(pexpect.EOF)
    assert port42.json("show", "last", "-a", "ai-muse", "--json")["messages"][0]["content"] == "hello world"


@pytest.mark.parametrize("size", [{"COLUMNS": "0"}, {"COLUMNS": "0", "LINES": "0"}, {"TERM": "dumb"}])
def test_a_terminal_without_a_size_or_a_cursor_is_answered_whole(terminal, tap, size):
    screen = terminal("possess", "@tap", "hello", **size)
    with tap.open() as say:
        say("first *second* third\n")
    screen.expect("first")
    screen.expect("second")
    screen.expect("third")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    if size.get("TERM") == "dumb":
        assert "\x1b" not in screen.before


def test_after_a_second_ctrl_c_the_reply_stays_on_the_screen(terminal, home, tap):
    stopping = home.parent / "stopping"
    os.mkfifo(stopping)
    configure(home, tap=["sh", "-c", f"trap 'echo now > {stopping}' INT; cat {tap.path}; exec sleep 60"])
    screen = Screen(terminal("possess", "@tap", "hello"))
    with tap.open() as say:
        say("a paragraph\n\nand half another")
        screen.until("and half another")
        screen.send(CTRL_C)
        assert stopping.read_text() == "now\n"
        screen.send(CTRL_C)
        screen.left(130)
    shown = [line.strip() for line in screen.until("a paragraph")]
    assert [shown.count(line) for line in ("a paragraph", "and half another")] == [1, 1]


@pytest.mark.parametrize("typed", [("possess", "@tap", "hello"), ("follow", "seen", "--since", "0")])
def test_after_a_signal_the_reply_stays_on_the_screen(terminal, port42, tap, typed):
    if typed[0] == "follow":
        port42("rpc", "create_session", "agent=tap", "session_id=seen")
        terminal("possess", "@tap", "-s", "seen", "hello")
    talk = terminal(*typed)
    screen = Screen(talk)
    with tap.open() as say:
        say("a paragraph\n\nand half another")
        screen.until("and half another")
        os.kill(talk.pid, signal.SIGTERM)
        screen.until_so(lambda _: screen.has_ended)
    shown = [line.strip() for line in screen.until("a paragraph")]
    assert [shown.count(line) for line in ("a paragraph", "and half another")] == [1, 1]


def test_ctrl_d_typed_while_a_reply_comes_ends_the_conversation_after_it(terminal, tap):
    talk = terminal("possess", "@tap")
    screen = Screen(talk)
    screen.until("›")
    screen.send("hello\r")
    with tap.open() as say:
        say("half ")
        screen.until("half")
        screen.send(CTRL_D)
        say("and half")
        screen.until("half and half")
    screen.until("To continue: port42")
    screen.left(0)

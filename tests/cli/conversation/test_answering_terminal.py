"""Turns at a real terminal: streamed, stopped, retried, and with permission requests."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pexpect
import pytest
from peers.talk import Tap, configure

PEERS = Path(__file__).parents[2] / "peers"
PROMPT = "›"
ENTER, CTRL_C, CTRL_D = "\r", "\x03", "\x04"


@pytest.fixture
def tap(home):
    tap = Tap(home.parent)
    configure(home, shout=["tr", "a-z", "A-Z"], tap=tap.command, broken=["sh", "-c", "echo no >&2; exit 3"])
    agent = [sys.executable, "-S", "-B", str(PEERS / "acp_permission.py")]
    with (home / "config.toml").open("a") as config:
        config.write('[agents.careful]\nbackend = "careful"\n')
        config.write(f'[backends.careful]\ntype = "acp"\ncommand = {json.dumps(agent)}\n')
    return tap


def ended(screen):
    screen.expect(pexpect.EOF)
    screen.close()
    return screen.exitstatus


def last(port42, agent):
    return port42.json("show", "last", "-a", agent, "--json")["messages"]


def events(port42, session_id):
    return port42.json("show", session_id, "--events", "--json")["messages"]


def test_a_reply_is_shown_as_markdown_while_it_comes(terminal, tap):
    screen = terminal("possess", "@tap", "hello")
    with tap.open() as say:
        screen.expect(r"Session: cli-\d+")
        screen.expect(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] waiting for @tap \(tap\) · \d+ s · Ctrl-C stops")
        say("# A *title*\n\nfirst para")
        screen.expect("A .*title")
        screen.expect("first para")
        say("graph\n\n- one\n- **two**\n")
        screen.expect("first paragraph")
        screen.expect("• .*two")
    screen.expect(r"\d\.\d s · tap")
    assert ended(screen) == 0


def test_finished_blocks_stay_on_the_screen(terminal, tap):
    screen = terminal("possess", "@tap", "hello", COLUMNS="100")
    blocks = [f"paragraph number {number}" for number in range(100)]
    with tap.open() as say:
        say("\n\n".join(blocks))
    screen.expect(r"s · tap")
    # What is drawn again is erased first: lines that were left are those that are seen.
    kept = re.sub(r"\x1b\[1A\x1b\[2K", "", screen.before)
    for block in blocks[:-1]:
        assert len(re.findall(rf"{block}\b", kept)) >= 1
    assert ended(screen) == 0


def test_ctrl_c_stops_a_reply_and_ends_with_130(terminal, port42, tap):
    screen = terminal("possess", "@tap", "hello")
    with tap.open() as say:
        say("so far")
        screen.expect("so far")
        screen.send(CTRL_C)
        screen.expect("Interrupted. The reply so far is kept.")
        assert ended(screen) == 130
    assert [message["content"] for message in last(port42, "tap")] == ["hello", "so far"]


def test_ctrl_c_in_a_conversation_stops_only_the_reply(terminal, port42, tap):
    screen = terminal("possess", "@tap")
    screen.expect("tap · ready")
    screen.expect(PROMPT)
    screen.send("one" + ENTER)
    with tap.open() as say:
        say("so far")
        screen.expect("so far")
        screen.send(CTRL_C)
        screen.expect("Interrupted")
        screen.expect(PROMPT)
    screen.send("two" + ENTER)
    with tap.open() as say:
        say("whole")
    screen.expect("whole")
    screen.expect(PROMPT)
    screen.send(CTRL_D)
    assert ended(screen) == 0
    messages = [(message["content"], message.get("status")) for message in last(port42, "tap")]
    assert messages == [("one", None), ("so far", "interrupted"), ("two", None), ("whole", "complete")]


def test_a_failed_turn_is_shown_and_can_be_retried(terminal, home, tap):
    screen = terminal("possess", "@broken")
    screen.expect(PROMPT)
    screen.send("/retry" + ENTER)
    screen.expect("Error: /retry: no session has begun")
    screen.expect(PROMPT)
    screen.send("hello" + ENTER)
    screen.expect(r"Error: @broken did not answer \(crashed\): no \(exit status 3\)")
    screen.expect(PROMPT)
    configure(home, broken=["tr", "a-z", "A-Z"])
    screen.send("/retry" + ENTER)
    screen.expect("HELLO")
    screen.expect(PROMPT)
    screen.send("/agent" + ENTER)
    screen.expect(r"@broken: broken · ready · ")
    screen.expect(PROMPT)
    screen.send(CTRL_D)
    assert ended(screen) == 0


def permission_request(terminal, *options):
    screen = terminal("possess", "@careful", *options, "edit allow_once reject_once")
    screen.expect("@careful asks: ")
    screen.expect_exact("-rye = 9")
    screen.expect_exact("+rye = 10")
    screen.expect("1  allow once")
    screen.expect("2  reject once")
    screen.expect("1 to 2, or Enter to refuse: ")
    return screen


@pytest.mark.parametrize(("typed", "granted"), [("1", "allow_once"), ("7\r2", "reject_once")])
def test_a_permission_is_granted_by_its_number(terminal, tap, typed, granted):
    screen = permission_request(terminal)
    screen.send(typed + ENTER)
    screen.expect_exact("selected")
    screen.expect(granted)
    assert ended(screen) == 0


def test_enter_refuses_a_permission(terminal, port42, tap):
    begun = port42.begin("@careful", "edit")
    screen = permission_request(terminal, "-c")
    screen.send(ENTER)
    screen.expect_exact("not permitted: ")
    shown = screen.before
    screen.expect("reject_once|cancelled")
    assert ended(screen) == 0
    assert "? edit a file: not allowed (by cli)" in shown
    permissions = [one["by"] for one in events(port42, begun) if one["role"] == "permission"]
    assert permissions == ["cli", "cli"]


def test_a_permission_without_a_choice_is_refused_without_asking(terminal, tap):
    screen = terminal("possess", "@careful", "edit")
    screen.expect_exact("refused, because the agent offers no choice: ")
    screen.expect("cancelled")
    assert ended(screen) == 0


def test_ctrl_c_at_a_permission_request_cancels_the_turn(terminal, port42, tap):
    screen = permission_request(terminal)
    screen.send(CTRL_C)
    screen.expect(r"\^C\r\n")  # what follows begins a line
    assert ended(screen) == 130
    *_, reply = last(port42, "careful")
    assert reply.get("status") == "interrupted"


def test_ctrl_d_at_a_permission_request_refuses_and_the_conversation_continues(terminal, tap):
    screen = terminal("possess", "@careful")
    screen.expect(PROMPT)
    screen.send("edit allow_once reject_once" + ENTER)
    screen.expect("1 to 2, or Enter to refuse: ")
    screen.send(CTRL_D)
    screen.expect(r"\r\n.*not permitted: ")
    screen.expect("reject_once|cancelled")
    screen.expect(PROMPT)
    screen.send(CTRL_D)
    assert ended(screen) == 0


def test_another_clients_turn_is_shown_before_our_own(terminal, port42, tap):
    port42("rpc", "create_session", "agent=tap", "session_id=shared")
    first = terminal("possess", "@tap", "-s", "shared", "first")
    with tap.open() as say:
        say("theirs")
        first.expect("theirs")
        second = terminal("possess", "@tap", "-s", "shared", "mine", "--if-busy", "follow")
        second.expect("theirs")
        second.expect("waiting: 1 turn of this session before this one")
    first.expect("s · tap")
    with tap.open() as say:
        second.expect("mine")
        say("my answer")
        second.expect("my answer")
    assert ended(second) == 0

"""`port42 follow`: a session heard from another terminal, without gaps, over the ends of daemons."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys

import pytest
from peers.talk import Tap, configure

COMMAND = [sys.executable, "-m", "port42_cli", "follow"]


@pytest.fixture
def tap(home):
    tap = Tap(home.parent)
    configure(home, shout=["tr", "a-z", "A-Z"], tap=tap.command)
    return tap


class Follower:
    """A `follow` that runs; `next` is its next line."""

    def __init__(self, process, *args, **env):
        self.process = process(
            [*COMMAND, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )

    def next(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return line

    def event(self, kind):
        """The next event of that kind."""
        while (event := json.loads(self.next()))["kind"] != kind:
            pass
        return event

    def record(self):
        return self.event("message")["message"]

    def says(self, words):
        """Read its stderr up to the line with these words."""
        while words not in (line := self.process.stderr.readline()):
            assert line

    def stop(self):
        """Ctrl-C; gives the exit code and what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stderr


@pytest.fixture
def follow(port42, process):
    return functools.partial(Follower, process)


def test_a_turn_is_heard_as_it_goes_on(port42, follow, tap):
    begun = port42.begin("@shout", "before")
    follower = follow(begun, "--since", "1", "--json")
    assert follower.record()["content"] == "BEFORE"
    port42("possess", "@shout", "-s", begun, "hello")
    assert follower.record()["content"] == "hello"
    assert follower.event("text")["text"] == "HELLO"
    assert follower.record()["content"] == "HELLO"
    assert follower.event("ended")["session_id"] == begun
    code, stderr = follower.stop()
    assert (code, stderr.strip()) == (130, "")


def test_it_begins_where_it_is_told_to_and_misses_nothing(port42, follow, tap):
    begun = port42.begin("@shout", "one")
    for word in ("two", "three"):
        port42("possess", "@shout", "-s", begun, word)
    follower = follow(begun, "--since", "0", "--json")
    seqs = [follower.record()["seq"] for _ in range(6)]
    assert seqs == sorted(seqs)
    assert len(set(seqs)) == 6
    later = follow(begun, "--since", str(seqs[3]), "--json")
    assert [later.record()["seq"] for _ in range(2)] == seqs[4:]


def test_a_reply_under_way_is_told_from_its_beginning(port42, process, follow, tap):
    speaking = process(
        [*COMMAND[:-1], "possess", "@tap", "hello"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with tap.open() as say:
        say("so far")
        assert speaking.stdout.read(6) == "so far"
        session_id = port42.json("rpc", "get_last_session", "agent=tap")["session_id"]
        follower = follow(session_id, "--json")
        assert follower.event("text")["text"] == "so far"
        say(" and more")
        assert follower.event("text")["text"] == " and more"


def test_piped_it_is_what_show_prints(port42, follow, tap):
    begun = port42.begin("@shout", "hello")
    shown = port42("show", begun).stdout
    follower = follow(begun, "--since", "0")
    printed = "".join(follower.next() for _ in range(shown.count("\n")))
    assert printed.rstrip("\n") == shown.rstrip("\n")


def test_an_agents_sessions_are_heard_whichever_it_is(port42, follow, tap):
    follower = follow("@shout", "--json", PORT42_DEBUG="1")
    follower.says("subscriptions")  # the trace shows from when on it listens
    port42.begin("@ai-muse", "not heard")
    begun = [port42.begin("@shout", word) for word in ("one", "two")]
    events = [follower.event("message") for _ in range(4)]
    assert [event["session_id"] for event in events] == [begun[0]] * 2 + [begun[1]] * 2
    assert [event["message"]["content"] for event in events] == ["one", "ONE", "two", "TWO"]


def test_a_restart_of_the_daemon_loses_nothing_and_repeats_nothing(port42, follow, tap):
    begun = port42.begin("@shout", "one")
    follower = follow(begun, "--since", "0", "--json")
    events = [follower.record() for _ in range(2)]
    for word in ("two", "three"):
        assert port42("daemon", "restart").returncode == 0
        port42("possess", "@shout", "-s", begun, word)
    while len(events) < 6:
        events.append(follower.record())
    contents = [event["content"] for event in events if event["role"] != "event"]
    assert contents == ["one", "ONE", "two", "TWO", "three", "THREE"][: len(contents)]
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    assert "The daemon went away. Waiting for the next one." in follower.stop()[1]


def test_a_killed_daemon_is_waited_for_even_when_nothing_was_heard_of_it(port42, follow, tap):
    begun = port42.begin("@shout", "old")
    follower = follow(begun, "--json", PORT42_DEBUG="1")
    follower.says("subscriptions")
    os.kill(port42.json("status", "--json")["pid"], signal.SIGKILL)
    follower.says("Waiting")
    port42("possess", "@shout", "-s", begun, "new")
    assert follower.record()["content"] == "new"


def test_it_does_not_start_a_daemon_that_somebody_stopped(port42, follow, tap):
    begun = port42.begin("@shout", "old")
    follower = follow(begun, PORT42_DEBUG="1")
    follower.says("subscriptions")
    port42("daemon", "stop")
    follower.says("Waiting")
    follower.stop()
    assert port42("status", env={"PORT42_NO_AUTOSTART": "1"}).returncode == 69


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["nope"], 1, "session nope not found"),
        (["@ai-muze"], 1, "unknown agent @ai-muze"),
        (["@ai-muse", "--since", "3"], 2, "--since counts in one session"),
        (["x", "--since", "-1"], 2, "--since"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_followed_says_so(port42, typed, code, words):
    done = port42("follow", *typed)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_beyond_the_end_it_says_what_it_waits_for(port42, follow, tap):
    begun = port42.begin("@shout", "first")
    follower = follow(begun, "--since", "99")
    follower.says(f"{begun} has nothing after 99 (its last record is 2): waiting for more")
    port42("possess", "@shout", "-s", begun, "second")
    while "SECOND" not in follower.next():
        pass
    code, stderr = follower.stop()
    assert (code, stderr.strip()) == (130, "")


def test_who_speaks_is_named_before_what_is_said(port42, terminal, tap):
    begun = port42.begin("@shout", "first")
    screen = terminal("follow", begun, "--since", "0", TERM="xterm")
    screen.expect("FIRST")
    port42("possess", "@shout", "-s", begun, "second")
    screen.expect(r"user\S*  3 ")
    screen.expect(r"assistant\S*\s*\r\n")
    screen.expect("SECOND")
    screen.expect(r"  \d+ · .* s · shout")


def test_a_terminal_sees_the_conversation(port42, terminal, tap):
    begun = port42.begin("@shout", "first")
    screen = terminal("follow", begun, "--since", "0", TERM="dumb")
    screen.expect(f"Following {begun}; Ctrl-C ends this")
    screen.expect("user  1 ")
    screen.expect("first")
    screen.expect("assistant  2 .* shout")
    screen.expect("FIRST")
    port42("possess", "@shout", "-s", begun, "*second*")
    screen.expect("second")
    screen.expect(r"assistant  \d+ .* s · shout")  # a terminal that cannot be drawn on gets whole messages
    screen.expect("SECOND")
    screen.sendintr()
    screen.wait()
    assert screen.exitstatus == 130

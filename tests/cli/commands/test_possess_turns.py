"""`port42 possess` with agents that answer: streamed, piped, stopped, failed, retried, waited for."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from peers.talk import Tap, configure

PEERS = Path(__file__).parents[2] / "peers"
COMMAND = [sys.executable, "-m", "port42_cli", "possess"]
STUBBORN = ["sh", "-c", "trap '' INT TERM; echo here; sleep 60 & wait; sleep 60"]


@pytest.fixture
def tap(home):
    """Agents: `shout` shouts, `tap` says what the test writes, `broken` says it and fails."""
    home.mkdir(mode=0o700)
    tap = Tap(home.parent)
    configure(
        home,
        shout=["tr", "a-z", "A-Z"],
        tap=tap.command,
        broken=tap.failing,
        lost=["port42-no-such-program"],
        stubborn=STUBBORN,
    )
    return tap


@pytest.fixture
def running(port42, process):
    """Starts a `possess` that is still running; what it prints can be read as it comes."""

    def start(*args, **more):
        return process([*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    return start


def messages(port42, agent):
    return port42.json("show", "last", "-a", agent, "--json")["messages"]


def outline(port42, agent):
    return [(message["role"], message["content"]) for message in messages(port42, agent)]


# --- what is printed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "printed"), [("hello", "HELLO\n"), ("two\n\nlines\t*x*", "TWO\n\nLINES\t*X*\n")]
)
def test_a_piped_reply_is_its_text_and_a_newline(port42, tap, message, printed):
    done = port42("possess", "@shout", message)
    assert (done.returncode, done.stdout) == (0, printed)
    assert re.fullmatch(r"Session: cli-\d+\n", done.stderr)


def test_a_reply_that_ends_a_line_gets_no_other_end(port42, home):
    configure(home, echo=["sh", "-c", "echo said"])
    assert port42("possess", "@echo", "x").stdout == "said\n"


def test_a_reply_is_printed_as_it_comes(running, port42, tap):
    process = running("@tap", "hello")
    with tap.open() as say:
        assert process.stderr.readline().startswith("Session: cli-")
        for piece in ("one", "\ntwo"):  # at the end of a piece, a newline might be the end of it all
            say(piece)
            assert process.stdout.read(len(piece)) == piece
        say("three")
    assert process.communicate() == ("three\n", "")
    assert process.returncode == 0


GOLDEN = """\
{"kind":"message","session_id":"ID","agent":"shout","message":{"seq":1,"role":"user","content":"hello",\
"timestamp":"T","key":"KEY"}}
{"kind":"started","session_id":"ID","agent":"shout","backend":"shout"}
{"kind":"text","session_id":"ID","agent":"shout","text":"HELLO"}
{"kind":"message","session_id":"ID","agent":"shout","message":{"seq":2,"role":"assistant",\
"content":"HELLO","timestamp":"T","status":"complete","question":1,"turn":TURN}}
{"kind":"ended","session_id":"ID","agent":"shout"}
{"kind":"result","session_id":"ID","seq":1,"status":"answered","reply":"HELLO","reply_seq":2,"turn":TURN}
"""


def test_json_is_an_event_a_line_and_the_result_last(port42, tap):
    printed = port42("possess", "@shout", "hello", "--json").stdout
    printed = re.sub(r"cli-\d+", "ID", printed)
    printed = re.sub(r'"timestamp":"[^"]+"', '"timestamp":"T"', printed)
    printed = re.sub(r'"key":"\w+"', '"key":"KEY"', printed)
    printed = re.sub(r'"turn":\{[^}]*\}', '"turn":TURN', printed)
    assert printed == GOLDEN


# --- what goes wrong --------------------------------------------------------------------------------


def test_a_failed_turn_keeps_what_was_said_and_tells_what_to_do(running, port42, tap):
    process = running("@broken", "hello")
    with tap.open() as say:
        say("half a re")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "half a re\n")
    begun, *notices = err.splitlines()
    session_id = begun.removeprefix("Session: ")
    assert notices == [
        "Error: @broken did not answer (crashed): it broke (exit status 3)",
        f"  To ask again: port42 possess @broken -s {session_id} --retry",
        "  To check its back end: port42 agents test @broken",
    ]


def test_a_failure_is_an_event_too(port42, tap):
    done = port42("possess", "@lost", "hello", "--json")
    assert done.returncode == 1
    failed = [json.loads(line) for line in done.stdout.splitlines()][-2]
    assert (failed["message"]["role"], failed["message"]["kind"]) == ("error", "missing")


def test_what_failed_can_be_asked_again(port42, home, tap):
    assert port42("possess", "@lost", "hello").returncode == 1
    configure(home, lost=["tr", "a-z", "A-Z"])
    done = port42("possess", "@lost", "-c", "--retry")
    assert (done.returncode, done.stdout) == (0, "HELLO\n")
    again = port42("possess", "@lost", "-c", "--retry")
    assert again.returncode == 1
    assert "expected a session whose last turn failed" in again.stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--retry"], "--retry: expected --session"),
        (["--retry", "-c", "words"], "expected no MESSAGE"),
        (["--retry", "-c", "-r", "file:x"], "expected no MESSAGE"),
        (["--retry", "-c", "--if-busy", "wait"], "expected no MESSAGE"),
        (
            ["hi", "-r", "nonsense"],
            "--ref: expected file:PATH, session:REF, url:URL or - (stdin), got 'nonsense'",
        ),
        (["hi", "-r", "text:x"], "--ref: expected"),
        (["hi", "-r", "file:"], "--ref: expected"),
        (["hi", "-c", "--if-busy", "follow"], "--if-busy follow: expected a terminal, or --json"),
        (["hi", "--if-busy", "leave"], "--if-busy"),
        (["-c", "--detach"], "MESSAGE: expected one"),
        (["-c", "-r", "file:x"], "MESSAGE: expected one"),
    ],
)
def test_what_does_not_fit_together_is_a_usage_error_and_starts_nothing(port42, home, typed, words):
    done = port42("possess", "@ai-muse", *typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert not home.exists()


# --- Ctrl-C -----------------------------------------------------------------------------------------


def test_ctrl_c_stops_the_reply_and_keeps_it(running, port42, tap):
    process = running("@tap", "hello")
    with tap.open() as say:
        say("so far")
        assert process.stdout.read(6) == "so far"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "\n")
    assert err.splitlines()[1:] == ["Interrupted. The reply so far is kept."]
    _, reply = messages(port42, "tap")
    assert (reply["content"], reply["status"]) == ("so far", "interrupted")


def test_a_second_ctrl_c_leaves_at_once(running, port42, tap):
    process = running("@stubborn", "hello")
    assert process.stdout.read(4) == "here"
    process.send_signal(signal.SIGINT)
    # It asks for the end, which this agent takes six seconds for.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(2) == 130
    assert "Traceback" not in process.stderr.read()


def test_ctrl_c_while_waiting_leaves_the_line_and_the_turn_of_the_others(running, port42, tap):
    port42("rpc", "create_session", "agent=tap", "session_id=shared")
    first = running("@tap", "-s", "shared", "first")
    with tap.open() as say:
        second = running("@tap", "-s", "shared", "second")
        while "waiting" not in (line := second.stderr.readline()):
            assert line
        assert line == "waiting: 1 turn of this session before this one\n"
        second.send_signal(signal.SIGINT)
        assert second.wait(30) == 130
        say("whole")
    assert first.communicate()[0] == "whole\n"
    assert outline(port42, "tap") == [("user", "first"), ("assistant", "whole")]


# --- busy, detached -----------------------------------------------------------------------------------


def test_a_busy_session_is_waited_for_and_that_is_said(running, port42, tap):
    port42("rpc", "create_session", "agent=tap", "session_id=shared")
    first = running("@tap", "-s", "shared", "first")
    with tap.open() as say:
        busy = port42("possess", "@tap", "-s", "shared", "no", "--if-busy", "error")
        assert busy.returncode == 1
        assert "Error: session shared is busy: a turn is under way\n" in busy.stderr
        second = running("@tap", "-s", "shared", "second")
        while "waiting" not in second.stderr.readline():
            pass
        say("one")
    first.communicate()
    with tap.open() as say:
        say("two")
    assert second.communicate()[0] == "two\n"
    assert [content for _, content in outline(port42, "tap")] == ["first", "one", "second", "two"]


def test_following_the_turn_under_way_shows_it_and_then_ones_own(running, port42, tap):
    port42("rpc", "create_session", "agent=tap", "session_id=shared")
    first = running("@tap", "-s", "shared", "first")
    with tap.open() as say:
        say("on")
        assert first.stdout.read(2) == "on"
        second = running("@tap", "-s", "shared", "second", "--if-busy", "follow", "--json")
        events = [json.loads(second.stdout.readline()) for _ in range(2)]
        say("e")
    first.communicate()  # its agent is gone, and the next one the only reader
    with tap.open() as say:
        say("two")
    rest = [json.loads(line) for line in second.communicate()[0].splitlines()]
    texts = "".join(event["text"] for event in [*events, *rest] if event["kind"] == "text")
    assert texts == "onetwo"
    assert (rest[-1]["kind"], rest[-1]["reply"]) == ("result", "two")


def test_a_detached_turn_goes_on_without_its_terminal(running, port42, tap):
    done = port42("possess", "@tap", "hello", "--detach")
    assert (done.returncode, done.stdout) == (0, "")
    begun, notice = done.stderr.splitlines()
    session_id = begun.removeprefix("Session: ")
    assert notice == f"Recorded. The turn continues in the daemon; to see it: port42 follow {session_id}"
    with tap.open() as say:
        say("all of it")
    # Whoever retries waits for its end, and is told that it did not fail.
    assert "whose last turn failed" in port42("possess", "@tap", "-s", session_id, "--retry").stderr
    assert outline(port42, "tap") == [("user", "hello"), ("assistant", "all of it")]


# --- references, permissions --------------------------------------------------------------------------


def test_files_and_sessions_are_read_beside_the_message(port42, tap, tmp_path):
    (tmp_path / "notes").write_text("some notes")
    other = port42.begin("@ai-muse", "an ode")
    refs = ["-r", "file:notes", "-r", f"session:{other}"]
    done = port42("possess", "@shout", "look", *refs, stdin="piped", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(words in done.stdout for words in ("LOOK", "SOME NOTES", "AN ODE", "PIPED"))
    read = messages(port42, "shout")[0]["references"]
    assert [(reference["type"], reference["target"]) for reference in read] == [
        ("file", str(tmp_path / "notes")), ("session", other), ("text", "stdin"),
    ]  # fmt: skip
    assert "📎" not in port42("show", "last", "-a", "shout").stdout


def test_a_reference_that_cannot_be_read_changes_nothing(port42, tap, tmp_path):
    done = port42("possess", "@shout", "look", "-r", "file:missing", cwd=tmp_path)
    assert done.returncode == 1
    assert f"references[0]: expected a file that can be read, got {tmp_path / 'missing'}" in done.stderr
    assert port42.json("sessions", "--json")["sessions"] == []


def test_leave_is_refused_where_nobody_is_there_to_be_asked(port42, home):
    home.mkdir(mode=0o700)
    agent = [sys.executable, "-S", "-B", str(PEERS / "acp_permission.py")]
    (home / "config.toml").write_text(
        '[agents.careful]\nbackend = "careful"\n'
        f'[backends.careful]\ntype = "acp"\ncommand = {json.dumps(agent)}\n'
    )
    done = port42("possess", "@careful", "edit allow_once reject_once")
    assert done.returncode == 0
    assert "refused, because this is not a terminal: " in done.stderr
    assert "reject_once" in done.stdout


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_where_the_configuration_is_wrong_silence_is_no_success(port42, home, json):
    """From the start on: no earlier one that would still be in force."""
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text('[agents.ai-muse]\nbackend = "shout"\noops [\n')
    done = port42("possess", "@ai-muse", "hello", *json)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: config.toml: ")
    assert "agents connect" not in done.stderr
    (home / "config.toml").write_text("")
    port42("daemon", "reload")
    assert port42("possess", "@ai-muse", "hello").returncode == 0

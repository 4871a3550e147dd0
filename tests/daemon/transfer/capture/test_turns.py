"""Turns of Port42 that a captured tool answers are recorded once."""

from __future__ import annotations

import sys

import pytest
from peers import claude_cli
from peers.capturing import captured, eventually, sessions
from peers.claude_code import Transcript


@pytest.fixture
def answered(capturing, folder, tmp_path):
    """A daemon with an agent that a program answers as Claude Code does; its transcripts are captured."""
    command = f'"{sys.executable}", "{claude_cli.__file__}", "{folder}"'
    with (capturing.home / "config.toml").open("a") as file:
        file.write(
            f"[backends.claude]\ntype = 'command'\ncommand = [{command}]\n"
            f"resume = [{command}, '--resume', '{{native_id}}']\nparser = 'claude'\nhistory = 'native'\n"
            "[agents.claude]\nbackend = 'claude'\n"
        )
    return capturing


def everything(daemon, session_id):
    """The session's messages and tool calls."""
    page = daemon.call("get_session", session_id=session_id, limit=10_000, events=True)
    shown = [record for record in page["messages"] if record["role"] in {"user", "assistant", "tool"}]
    return [(record["role"], record.get("content", record.get("title"))) for record in shown]


def turn(text):
    return [("user", text), ("assistant", "I look."), ("tool", "ls"), ("assistant", f"Done with {text}")]


def becomes(daemon, session_id, expected):
    try:
        eventually(lambda: everything(daemon, session_id) == expected)
    except AssertionError as error:
        error.add_note(f"{everything(daemon, session_id)}\n{daemon.log()[-2000:]}")
        raise


def test_what_a_turn_records_is_not_captured_again(answered, folder):
    first = answered.call("possess", agent="claude", message="build a parser")
    session_id = first["session_id"]
    second = answered.call("possess", agent="claude", session_id=session_id, message="and a lexer")
    assert second["status"] == "answered"
    both = [*turn("build a parser"), *turn("and a lexer")]
    assert everything(answered, session_id) == both
    (path,) = folder.rglob("*.jsonl")
    transcript = Transcript(folder, path.parent.name)
    transcript.path = path
    transcript.resume(path.stem)
    transcript.user("typed in the tool")
    becomes(answered, session_id, [*both, ("user", "typed in the tool")])
    assert [session["session_id"] for session in sessions(answered)] == [session_id]
    third = answered.call("possess", agent="claude", session_id=session_id, message="go on")
    assert third["status"] == "answered"
    transcript.resume(path.stem)
    transcript.user("the end")
    whole = [*both, ("user", "typed in the tool"), *turn("go on"), ("user", "the end")]
    becomes(answered, session_id, whole)
    assert [session["session_id"] for session in sessions(answered)] == [session_id]
    assert "Traceback" not in answered.log()


def test_a_captured_session_is_continued_by_port42_in_the_tool(answered, folder, tmp_path):
    transcript = Transcript(folder, str(tmp_path))
    transcript.user("begun in the tool")
    session = captured(answered, "begun in the tool")
    reply = answered.call(
        "possess", agent="claude", session_id=session["session_id"], message="continued here"
    )
    assert reply["status"] == "answered"
    transcript.resume(transcript.id)
    transcript.user("and there")
    whole = [("user", "begun in the tool"), *turn("continued here"), ("user", "and there")]
    becomes(answered, session["session_id"], whole)
    assert len(sessions(answered)) == 1

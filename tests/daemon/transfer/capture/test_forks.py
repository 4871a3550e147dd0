"""Sub-agents and forks of a tool, and sessions in the trash, captured by a real daemon."""

from __future__ import annotations

import os

import pytest
from peers.capturing import captured, eventually, last_session, sessions, texts
from peers.claude_code import Transcript


def test_a_sub_agent_is_a_session_below_its_parent(capturing, transcript):
    transcript.user("ask a helper")
    main = captured(capturing, "ask a helper")
    path = transcript.path.with_suffix("") / "subagents" / "agent-abc.jsonl"
    path.parent.mkdir(parents=True)
    sub = Transcript(transcript.path.parent.parent)
    sub.id, sub.path = transcript.id, path
    sub.add("user", "look there", isSidechain=True, agentId="abc")
    sub.add("assistant", [{"type": "text", "text": "found"}], isSidechain=True, agentId="abc")
    below = eventually(lambda: capturing.call("list_sessions", parent=main["session_id"])["sessions"])
    eventually(lambda: texts(capturing, below[0]["session_id"]) == ["look there", "found"])
    assert [session["session_id"] for session in sessions(capturing)] == [main["session_id"]]
    # The agent's last session is set at the end of a round, after the sessions of that can be seen.
    eventually(lambda: last_session(capturing) == main["session_id"])


def is_read(daemon, sources):
    tool = daemon.call("get_capture")["tools"][0]
    return tool["scanned"] and tool["sources"] == sources and not tool["waiting"]


def test_the_place_in_the_parent_of_a_sub_agent_that_was_there_before(daemon, folder):
    """It is the record that it was started after, though the parent's file changed last, and is long."""
    folder.mkdir(parents=True)
    main = Transcript(folder)
    path = main.path.with_suffix("") / "subagents" / "agent-abc.jsonl"
    path.parent.mkdir(parents=True)
    for number in range(1500):
        time = f"2026-02-03T04:{number // 60:02}:{number % 60:02}.000Z"
        main.add("user", f"message {number}", timestamp=time)
    main.path = path
    main.add("user", "look there", isSidechain=True, agentId="abc", timestamp="2026-02-03T04:20:00.500Z")
    os.utime(path, (1, 1))
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    eventually(lambda: is_read(daemon, 2))
    [session] = sessions(daemon)
    [below] = daemon.call("list_sessions", parent=session["session_id"])["sessions"]
    assert below["parent"] == {"session_id": session["session_id"], "seq": 1201}


def test_a_fork_that_the_tool_made_is_a_fork(capturing, folder, transcript):
    transcript.user("one")
    transcript.assistant("two")
    original = captured(capturing, "one", "two")
    fork = Transcript(folder)
    lines = transcript.path.read_text().replace(transcript.id, fork.id)
    fork.path.write_text(lines)
    fork.user("another way")
    session = captured(capturing, "one", "two", "another way")
    assert session["forked_from"] == {"session_id": original["session_id"], "seq": 2}
    (counted,) = capturing.call("stats")["agents"]
    assert (counted["user_messages"], counted["assistant_messages"]) == (2, 1)


@pytest.mark.parametrize("messages", [2, 2500])
def test_a_fork_whose_copy_comes_before_its_own_id(capturing, folder, transcript, messages):
    """Claude Code may copy a session with the ids in it, and write what is new later."""
    said = [f"message {number}" for number in range(messages)]
    for text in said:
        transcript.user(text)
    original = captured(capturing, *said)
    fork = Transcript(folder)
    fork.path.write_text(transcript.path.read_text())

    eventually(lambda: is_read(capturing, 2))
    assert [session["session_id"] for session in sessions(capturing)] == [original["session_id"]]
    fork.user("another way")
    session = captured(capturing, *said, "another way")
    assert session["forked_from"] == {"session_id": original["session_id"], "seq": messages}
    assert session["session_id"] != original["session_id"]
    transcript.user("the first way")
    captured(capturing, *said, "the first way")
    eventually(lambda: is_read(capturing, 2))  # the originals are kept after the records
    for each, file in ((original, transcript), (session, fork)):
        data = file.path.read_bytes()
        file.path.unlink()
        assert capturing.call("restore_original", session_id=each["session_id"])["path"] == str(file.path)
        assert file.path.read_bytes() == data


def test_of_what_was_there_before_the_copy_is_the_fork(daemon, folder):
    folder.mkdir(parents=True)
    for number in range(8):
        original, fork = Transcript(folder), Transcript(folder)
        original.user(f"one {number}")
        fork.path.write_text(original.path.read_text().replace(original.id, fork.id))
        fork.user(f"another way {number}")
        os.utime(original.path, (1, 1))
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    found = eventually(lambda: found if len(found := sessions(daemon)) == 16 else None)
    assert [s["message_count"] for s in found if s["forked_from"]] == [2] * 8


def test_forks_of_long_sessions_leave_them_behind_all_that_they_copied(daemon, folder):
    folder.mkdir(parents=True)
    for _ in range(3):
        original, fork = Transcript(folder), Transcript(folder)
        for number in range(2500):
            original.user(f"message {number}")
        fork.path.write_text(original.path.read_text().replace(original.id, fork.id))
        fork.user("another way")
        os.utime(original.path, (1, 1))
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    eventually(lambda: sum(session["message_count"] for session in sessions(daemon)) == 15_003, 30)
    assert [s["forked_from"]["seq"] for s in sessions(daemon) if s["forked_from"]] == [2500] * 3
    eventually(lambda: daemon.call("stats")["agents"][0]["user_messages"] == 7503)


def test_what_was_said_while_a_session_was_in_the_trash_comes_with_it(capturing, transcript):
    transcript.user("one")
    session_id = captured(capturing, "one")["session_id"]
    capturing.call("delete_session", session_id=session_id)
    transcript.user("two")

    def state():
        return capturing.call("get_capture")["tools"][0]

    eventually(lambda: state()["source_bytes"] == transcript.path.stat().st_size and not state()["waiting"])
    capturing.stop()
    capturing.start()
    assert state()["problem"] is None
    assert sessions(capturing) == []
    capturing.call("restore_session", session_id=session_id)
    captured(capturing, "one", "two")

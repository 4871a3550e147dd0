"""The sources of an import: in the order of their times, and not read again before they change."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from peers.capturing import eventually

DAY = 24 * 3600
TOOLS = Path(__file__).parents[2] / "data" / "tools"


def entry(number, role, text, session_id):
    return {
        "type": role,
        "uuid": f"u{number} {text}",
        "sessionId": session_id,
        "timestamp": f"2026-02-03T04:05:0{number}.000Z",
        "message": {"role": role, "content": text},
    }


def written(path, days_ago, session_id, *texts):
    """A file of Claude Code, written so many days ago: alternating words of user and assistant."""
    roles = ("user", "assistant")
    entries = [entry(number, roles[number % 2], text, session_id) for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(each) + "\n" for each in entries))
    os.utime(path, (time.time() - days_ago * DAY,) * 2)


def imported(daemon, path, agent="ai-muse", **params):
    page = daemon.call("import_sessions", path=str(path), agent=agent, **params)
    assert page["skipped"] == []
    return [session["session_id"] for session in page["imported"]], page["unchanged"]


def texts(daemon, session_id):
    return [record["content"] for record in daemon.call("get_session", session_id=session_id)["messages"]]


def session(daemon, session_id):
    return daemon.call("get_session", session_id=session_id)["session"]


def test_of_two_forks_the_one_that_was_written_first_is_the_original(daemon, tmp_path):
    written(tmp_path / "b.jsonl", 3, "one", "sail", "aye", "north")
    written(tmp_path / "a.jsonl", 2, "two", "sail", "aye", "south")
    [original, fork], _ = imported(daemon, tmp_path)
    assert texts(daemon, original)[-1] == "north"
    assert session(daemon, original)["forked_from"] is None
    assert session(daemon, fork)["forked_from"] == {"session_id": original, "seq": 2}


def test_a_source_is_not_read_again_before_it_changes(daemon, tmp_path):
    path = tmp_path / "one.jsonl"
    written(path, 3, "one", "sail")
    [mine], _ = imported(daemon, path)
    # The same length, time and inode: only who reads it again sees other words.
    status = path.stat()
    with path.open("r+") as file:
        file.write(path.read_text().replace("sail", "swim"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert imported(daemon, tmp_path) == ([], 1)
    daemon.stop()
    daemon.start()
    assert imported(daemon, tmp_path) == ([], 1)
    os.utime(path)
    with pytest.raises(AssertionError, match="it was continued here, or changed at its source"):
        imported(daemon, path)
    written(path, 2, "one", "sail", "aye")
    assert imported(daemon, path) == ([mine], 0)
    assert texts(daemon, mine) == ["sail", "aye"]


@pytest.mark.parametrize("what", ["trash", "other agent", "again", "lost capture.db", "damaged capture.db"])
def test_an_unchanged_source_is_read_where_that_matters(daemon, tmp_path, what):
    written(tmp_path / "one.jsonl", 3, "one", "sail", "aye")
    [mine], _ = imported(daemon, tmp_path)
    if what == "trash":
        daemon.call("delete_session", session_id=mine)
        page = daemon.call("import_sessions", path=str(tmp_path), agent="ai-muse")
        assert "is in the trash" in page["skipped"][0]["reason"]
        return
    if what == "other agent":
        page = daemon.call("import_sessions", path=str(tmp_path), agent="ai-engineer")
        assert "it is here already" in page["skipped"][0]["reason"]
        return
    if what == "again":
        assert imported(daemon, tmp_path, again=True) == ([], 1)
        return
    daemon.stop()
    for path in daemon.home.glob("capture.db*"):
        path.unlink() if what == "lost capture.db" else path.write_bytes(b"no database" * 1000)
    daemon.start()
    assert imported(daemon, tmp_path) == ([], 1)
    assert texts(daemon, mine) == ["sail", "aye"]
    daemon.stop()
    with closing(sqlite3.connect(daemon.home / "capture.db")) as database:
        assert database.execute("SELECT count(*) FROM imported").fetchone() == (1,)


def test_the_original_of_a_later_fork_need_not_be_read_again(daemon, tmp_path):
    written(tmp_path / "a.jsonl", 3, "one", "sail", "aye", "north")
    [original], _ = imported(daemon, tmp_path)
    written(tmp_path / "b.jsonl", 2, "two", "sail", "aye", "south")
    [fork], unchanged = imported(daemon, tmp_path)
    assert unchanged == 1
    assert session(daemon, fork)["forked_from"] == {"session_id": original, "seq": 2}
    assert session(daemon, original)["forked_from"] is None


def test_a_file_without_messages_is_named_unless_its_session_is_here(daemon):
    chats = TOOLS / "gemini/resumed-later/tmp"
    later = max(chats.rglob("session-*.jsonl"))
    page = daemon.call("import_sessions", path=str(later), agent="ai-muse")
    assert page["skipped"] == [{"source": later.name, "reason": "it has no messages"}]
    [_], _ = imported(daemon, chats)
    assert imported(daemon, chats) == ([], 1)


def test_a_fork_whose_file_has_only_what_is_new_begins_with_its_original(daemon):
    folder = TOOLS / "codex/fork/sessions"
    [original, fork], _ = imported(daemon, folder)
    before, after = texts(daemon, original), texts(daemon, fork)
    assert after[: len(before)] == before
    assert after[len(before) :] == ["And barley?", "No barley is left."]
    assert session(daemon, fork)["forked_from"]["session_id"] == original
    assert imported(daemon, folder) == ([], 2)
    assert imported(daemon, folder, again=True) == ([], 2)
    assert texts(daemon, fork) == after


def test_a_fork_of_codex_that_is_imported_first_begins_with_its_original_later(daemon, tmp_path):
    original, fork = sorted((TOOLS / "codex/fork/sessions").rglob("*.jsonl"))
    [early], _ = imported(daemon, fork)
    assert texts(daemon, early) == ["And barley?", "No barley is left."]
    [begun], _ = imported(daemon, original)
    said = texts(daemon, begun)
    assert texts(daemon, early) == [*said, "And barley?", "No barley is left."]
    point = session(daemon, early)["forked_from"]
    assert (point["session_id"], point["seq"] >= len(said)) == (begun, True)
    together = [texts(daemon, each) for each in (early, begun)]
    for again in (False, True):
        assert imported(daemon, original.parent, again=again) == ([], 2)
        assert [texts(daemon, each) for each in (early, begun)] == together
    # What both have is counted once.
    messages = daemon.call("get_session", session_id=early)["messages"]
    prompts = sum(record["role"] == "user" for record in messages)
    eventually(lambda: daemon.call("stats")["agents"][0]["user_messages"] == prompts)


def test_a_sub_agents_session_names_its_place_in_a_parent_that_was_written_later(daemon, tmp_path):
    """Of versions before 2.1 both files are in one folder."""
    written(tmp_path / "b.jsonl", 1, "b", "one", "two", "three")
    asked = {**entry(2, "user", "look there", "b"), "isSidechain": True, "agentId": "abc"}
    asked["timestamp"] = "2026-02-03T04:05:01.500Z"
    path = tmp_path / "agent-abc.jsonl"
    path.write_text(json.dumps(asked) + "\n")
    os.utime(path, (1, 1))
    [main, below], _ = imported(daemon, tmp_path)
    [listed] = daemon.call("list_sessions", parent=main)["sessions"]
    assert (listed["session_id"], listed["parent"]) == (below, {"session_id": main, "seq": 2})

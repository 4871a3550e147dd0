"""The kept originals: restored to where the tool looks for them, and read again."""

from __future__ import annotations

import os
import shutil
import time
import zlib
from pathlib import Path

import msgspec
import pytest
from peers import llm_database
from peers.capturing import captured, eventually, sessions, texts
from peers.claude_code import Transcript

from port42_daemon.transfer.capture.originals import Damaged, Original, Originals
from port42_daemon.transfer.capture.reading import Rewritten


def test_an_original_is_restored_where_its_tool_looks_for_it(capturing, transcript):
    for number in range(3):
        transcript.user(f"message {number}")
        session = captured(capturing, *(f"message {n}" for n in range(number + 1)))
    data = transcript.path.read_bytes()
    session_id = session["session_id"]
    with pytest.raises(pytest.RpcFailed, match="force"):
        capturing.call("restore_original", session_id=session_id)
    shutil.rmtree(transcript.path.parent)
    restored = capturing.call("restore_original", session_id=session_id, agent="claude")
    assert (restored["path"], restored["bytes"]) == (str(transcript.path), len(data))
    assert restored["resume"] == ["claude", "--resume", transcript.id]
    assert transcript.path.read_bytes() == data
    transcript.path.write_bytes(b"other")
    capturing.call("restore_original", session_id=session_id, force=True)
    assert transcript.path.read_bytes() == data
    transcript.user("after")
    captured(capturing, "message 0", "message 1", "message 2", "after")
    for path in (capturing.home / "originals").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_session_without_an_original(capturing):
    session_id = capturing.call("create_session", agent="claude")["session_id"]
    with pytest.raises(pytest.RpcFailed, match="a captured session whose original is kept"):
        capturing.call("restore_original", session_id=session_id)


def kept_bytes(daemon):
    """How much is kept of all sources; what is being written is not whole."""
    originals = Originals(daemon.home)
    try:
        return sum(len(part) for original in originals.all() for part in originals.data(original))
    except (OSError, Damaged):
        return 0


def test_what_was_captured_can_be_read_again_when_its_file_is_gone(capturing, folder):
    transcript = Transcript(folder)
    transcript.user("build a parser")
    transcript.assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}})
    transcript.add("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "a.py"}])
    transcript.assistant("I build it.")
    (session,) = eventually(lambda: sessions(capturing))
    session_id = session["session_id"]
    eventually(lambda: len(texts(capturing, session_id)) == 2)
    size = transcript.path.stat().st_size
    eventually(lambda: kept_bytes(capturing) == size)
    assert capturing.call("import_sessions", again=True)["unchanged"] == 1
    transcript.path.unlink()
    file = capturing.home / "sessions" / f"{session_id}.json"
    whole = file.read_bytes()
    lines = [line for line in whole.splitlines(keepends=True) if b'"event":"tool"' not in line]
    file.write_bytes(b"".join(lines))  # as a reader without tool calls would have left it
    (rewritten,) = capturing.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    records = capturing.call("get_session", session_id=session_id, events=True)["messages"]
    assert [record["role"] for record in records] == ["user", "tool", "assistant"]
    assert records[2]["turn"]["native_id"] == transcript.id
    assert capturing.call("import_sessions", again=True)["unchanged"] == 1


def test_an_earlier_generation_of_a_file_that_was_written_anew(capturing, transcript):
    for text in ("one", "two", "three"):
        transcript.user(text)
    session = captured(capturing, "one", "two", "three")["session_id"]
    first = transcript.path.read_bytes()
    eventually(lambda: kept_bytes(capturing) == len(first))
    transcript.path.write_bytes(first.splitlines(keepends=True)[0])
    transcript.user("four")
    captured(capturing, "one", "two", "three", "four")
    eventually(lambda: len(list(capturing.home.glob("originals/claude/*.z"))) == 2)
    second = transcript.path.read_bytes()
    for generation, data in ((None, second), (1, first), (2, second)):
        params = {"generation": generation} if generation else {}
        restored = capturing.call("restore_original", session_id=session, force=True, **params)
        assert (restored["generation"], restored["generations"]) == (generation or 2, 2)
        assert transcript.path.read_bytes() == data
    with pytest.raises(pytest.RpcFailed) as refused:
        capturing.call("restore_original", session_id=session, force=True, generation=3)
    assert refused.value.data["field"] == "generation"
    assert "1 to 2" in refused.value.data["expected"]


def test_a_source_that_is_written_anew_while_it_is_kept_leaves_what_was_kept_before(tmp_path):
    def rewritten():
        yield b"two"
        raise Rewritten

    originals = Originals(tmp_path)
    original = originals.begin(Original("claude", "/x/one.jsonl", "2026-01-01T00:00:00.000Z"))
    kept = originals.add(original, [b"one"], 0)
    with pytest.raises(Rewritten):
        originals.add(original, rewritten(), kept)
    assert b"".join(originals.data(original)) == b"one"
    another = originals.begin(Original("claude", "/x/two.jsonl", "2026-01-01T00:00:00.000Z"))
    with pytest.raises(Rewritten):
        originals.add(another, rewritten(), 0)
    assert originals.all() == [original]


def test_an_original_goes_with_its_session_if_the_tool_has_no_file(capturing, folder, transcript):
    transcript.user("one")
    first = captured(capturing, "one")["session_id"]
    other = Transcript(folder, "/home/ada/other")
    other.user("another")
    second = captured(capturing, "another")["session_id"]
    eventually(lambda: len(list(capturing.home.glob("originals/claude/*.z"))) == 2)
    kept = {path.name: path.stat().st_size for path in capturing.home.glob("originals/claude/*.z")}
    transcript.path.unlink()
    for session_id in (first, second):
        capturing.call("delete_session", session_id=session_id)
    preview = capturing.call("prune_sessions", trash_older_than_days=0)
    assert (len(preview["deleted"]), preview["original_bytes"] in kept.values()) == (2, True)
    assert len(list(capturing.home.glob("originals/claude/*.z"))) == 2
    done = capturing.call("prune_sessions", trash_older_than_days=0, dry_run=False)
    assert done["original_bytes"] == preview["original_bytes"]
    [left] = Originals(capturing.home).all()
    assert left.path == str(other.path)
    assert len(list(capturing.home.glob("originals/claude/*"))) == 1


def files(home):
    return sorted(path.suffix for path in home.glob("originals/claude/*"))


def test_what_an_original_is_of_stands_in_it_as_long_as_there_is_room(tmp_path):
    originals = Originals(tmp_path)
    original = originals.begin(Original("claude", "/a.jsonl", "2026-01-01T00:00:00.000Z"))
    kept = originals.add(original, [b"one", b" two"], 0)
    original.sessions = {"claude-1": "1"}
    originals.describe(original)
    assert (originals.all(), files(tmp_path)) == ([original], [".z"])
    for count in (60, 1):  # it stays beside it once it was too long
        original.sessions = {f"claude-{number}": f"{number}" for number in range(count)}
        originals.describe(original)
        kept = originals.add(original, [b" three"], kept)
        assert (originals.all(), files(tmp_path)) == ([original], [".json", ".z"])
        assert originals.find("claude", Path("/a.jsonl"), 0) == original
    assert b"".join(originals.data(original)) == b"one two three three"
    assert originals.size(original) == kept
    assert originals.discard(["claude-0"], dry_run=False) == kept
    assert files(tmp_path) == []


def test_an_original_of_an_earlier_version_goes_on(tmp_path):
    originals = Originals(tmp_path)
    original = originals.begin(Original("claude", "/a.jsonl", "2026-01-01T00:00:00.000Z"))
    originals.add(original, [b"other"], 0)
    [file] = tmp_path.glob("originals/claude/*.z")
    data = zlib.compress(b"one")
    file.write_bytes(data)
    assert originals.all() == []
    assert originals.damaged(5) == [file.name]
    file.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(original)))
    assert originals.find("claude", Path("/a.jsonl"), 1) == original
    original.sessions = {"claude-1": "1"}
    originals.describe(original)
    originals.add(original, [b" two"], len(data))
    assert originals.all() == [original]
    assert b"".join(originals.data(original)) == b"one two"
    assert originals.damaged(5) == []


def long_ago(path):
    """What has not changed for half a minute is kept."""
    os.utime(path, (time.time() - 60,) * 2)


def kept(daemon, tool):
    return sorted((daemon.home / "originals" / tool).glob("*.z"))


def without_a_reply(daemon, session_id):
    """Take a reply out of the stored session, as a reader that does not know it would have left it."""
    file = daemon.home / "sessions" / f"{session_id}.json"
    *lines, footer = file.read_bytes().splitlines(keepends=True)
    at = max(number for number, line in enumerate(lines) if b'"role":"assistant"' in line)
    file.write_bytes(b"".join([*lines[:at], *lines[at + 1 :], footer]))


def test_conversations_of_a_database_can_be_read_again_when_it_is_gone(daemon, tmp_path):
    path = tmp_path / "llm" / "logs.db"
    path.parent.mkdir()
    llm_database.old(path, {"c1": [("one", "eins"), ("two", "zwei")], "c2": [("three", "drei")]})
    long_ago(path)
    daemon.call("set_capture", name="llm", on=True, path=str(path.parent))
    session_id = captured(daemon, "be brief", "one", "eins", "two", "zwei", agent="llm")["session_id"]
    eventually(lambda: len(kept(daemon, "llm")) == 2)
    eventually(lambda: daemon.call("get_capture")["tools"][6]["original_bytes"] > 0)
    with pytest.raises(pytest.RpcFailed, match="in one database"):
        daemon.call("restore_original", session_id=session_id)
    path.unlink()
    assert daemon.call("import_sessions", again=True)["unchanged"] == 2
    without_a_reply(daemon, session_id)
    (rewritten,) = daemon.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    assert texts(daemon, session_id) == ["be brief", "one", "eins", "two", "zwei"]
    # With a session that is deleted for good its rows go, too.
    daemon.call("delete_session", session_id=session_id)
    daemon.call("prune_sessions", trash_older_than_days=0, dry_run=False)
    assert len(kept(daemon, "llm")) == 1


def test_a_file_that_is_written_whole_is_kept_as_it_is_and_as_it_was_before_it_got_shorter(daemon, tmp_path):
    path = tmp_path / "sessions" / "chat.yaml"
    path.parent.mkdir()
    words = [
        "model: m\nmessages:\n",
        "- role: user\n  content: sail\n",
        "- role: assistant\n  content: aye\n",
    ]
    path.write_text("".join(words[:2]))
    long_ago(path)
    daemon.call("set_capture", name="aichat", on=True, path=str(path.parent))
    session_id = captured(daemon, "sail", agent="aichat")["session_id"]
    eventually(lambda: len(kept(daemon, "aichat")) == 1)
    path.write_text("".join(words))
    long_ago(path)
    captured(daemon, "sail", "aye", agent="aichat")
    whole = path.read_bytes()

    eventually(lambda: kept_bytes(daemon) == len(whole))
    path.unlink()
    restored = daemon.call("restore_original", session_id=session_id)
    assert (restored["generations"], path.read_bytes()) == (1, whole)
    path.unlink()
    without_a_reply(daemon, session_id)
    (rewritten,) = daemon.call("import_sessions", again=True)["imported"]
    assert (rewritten["change"], texts(daemon, session_id)) == ("rewritten", ["sail", "aye"])
    path.write_text("".join(words[::2]))
    long_ago(path)
    eventually(lambda: len(kept(daemon, "aichat")) == 2)
    assert daemon.call("restore_original", session_id=session_id, generation=1, force=True)["bytes"] == len(
        whole
    )
    assert path.read_bytes() == whole

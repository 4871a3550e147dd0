"""Originals that are read again: what all generations of a file have, and why a session cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peers.capturing import captured, eventually, sessions, texts
from peers.claude_code import Transcript
from peers.originals import kept, kept_bytes, original_of_claude

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.kept import kept_sources
from port42_daemon.transfer.readers.base import Skipped

FULL = Path("/dev/full")


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
    without_calls(capturing, session_id)
    (rewritten,) = capturing.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    records = capturing.call("get_session", session_id=session_id, events=True)["messages"]
    assert [record["role"] for record in records] == ["user", "tool", "assistant"]
    assert records[2]["turn"]["native_id"] == transcript.id
    assert capturing.call("import_sessions", again=True)["unchanged"] == 1


def without_calls(daemon, session_id):
    """Take the tool calls out of the stored session, as an earlier reader would have left it."""
    file = daemon.home / "sessions" / f"{session_id}.json"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for line in lines if b'"event":"tool"' not in line))


def test_all_generations_of_a_file_that_was_written_anew_are_read_again(capturing, transcript):
    transcript.user("one")
    transcript.assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}})
    transcript.add("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "a.py"}])
    transcript.assistant("two")
    session_id = captured(capturing, "one", "two")["session_id"]
    first = transcript.path.read_bytes()
    eventually(lambda: kept_bytes(capturing) == len(first))
    transcript.path.write_bytes(first.splitlines(keepends=True)[0])
    transcript.user("three")
    captured(capturing, "one", "two", "three")
    eventually(lambda: len(kept(capturing)) == 2)
    transcript.path.unlink()
    again = capturing.call("import_sessions", again=True)
    assert (again["unchanged"], again["skipped"]) == (1, [])
    without_calls(capturing, session_id)
    (rewritten,) = capturing.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    records = capturing.call("get_session", session_id=session_id, events=True)["messages"]
    outputs = [record.get("output", record.get("content")) for record in records]
    assert outputs == ["one", "a.py", "two", "three"]


@pytest.mark.skipif(not FULL.exists(), reason="Linux's device that is always full")
def test_without_room_for_a_temporary_file_what_is_kept_is_not_called_damaged(originals, monkeypatch):
    originals.add(originals.begin(original_of_claude()), ["".join(LINES).encode()], 0)
    monkeypatch.setattr("port42_daemon.transfer.capture.kept.TemporaryFile", lambda: FULL.open("r+b"))
    [source] = kept_sources(originals)[1]
    with pytest.raises(OSError, match="No space left"):  # the importer says what it was for
        source.read(SessionsConfig())


def test_a_generation_that_is_not_here_any_more_is_not_made_up_for(originals):
    assert kept_sources(originals) == ([], [])
    line = b'{"type":"user","uuid":"1","sessionId":"1","message":{"role":"user","content":"one"}}\n'
    for _ in range(2):
        originals.add(originals.begin(original_of_claude()), [line], 0)
    [source] = kept_sources(originals)[1]
    assert [record.content for record in source.read(SessionsConfig())[0].records] == ["one"]
    with originals.changes() as database:
        database.execute("DELETE FROM originals WHERE generation = 1")
    [source] = kept_sources(originals)[1]
    with pytest.raises(Skipped, match="what was kept of it before is not all here"):
        source.read(SessionsConfig())


def entry(kind, number, content):
    message = {"role": kind, "content": content, "usage": {"input_tokens": 1, "output_tokens": 2}}
    entry = {"type": kind, "uuid": str(number), "parentUuid": str(number - 1), "sessionId": "1"}
    return json.dumps({**entry, "timestamp": f"2026-01-15T10:00:{number:02}.000Z", "message": message}) + "\n"


CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "a.py"}
LINES = [entry("user", 1, "one"), entry("assistant", 2, [CALL]), entry("user", 3, [RESULT])]
LINES += [entry("assistant", 4, "two"), entry("user", 5, "three")]


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        # The file was gone on with while nothing was kept.
        ((LINES[:2], LINES), ["one", "a.py", "two", "three"]),
        ((LINES[:4], LINES[:1] + LINES[4:]), ["one", "a.py", "two", "three"]),
        ((LINES[:2], LINES[:1] + LINES[3:], LINES[4:]), ["one", None, "two", "three"]),
        ((LINES[:1], LINES[2:3], LINES[3:]), ["one", "a.py", "two", "three"]),
    ],
)
def test_what_the_generations_of_a_file_have_together(originals, generations, expected):
    for lines in generations:
        originals.add(originals.begin(original_of_claude()), ["".join(lines).encode()], 0)
    [source] = kept_sources(originals)[1]
    [session] = source.read(SessionsConfig())
    words = [record for record in session.records if record.role != "event"]
    assert [
        record.output or None if record.role == "tool" else record.content for record in words
    ] == expected
    assert session.info.created_at == "2026-01-15T10:00:01.000Z"


def test_a_generation_without_messages_is_not_passed_over(originals):
    for lines in (LINES, ['{"type": "ai-title", "aiTitle": "boats"}\n']):
        originals.add(originals.begin(original_of_claude()), ["".join(lines).encode()], 0)
    [source] = kept_sources(originals)[1]
    with pytest.raises(Skipped, match="once without messages"):
        source.read(SessionsConfig())


def test_why_a_session_cannot_be_read_again_and_what_to_type(capturing, transcript, port42):
    transcript.user("one")
    session_id = captured(capturing, "one")["session_id"]
    eventually(lambda: kept(capturing))
    capturing.call("delete_session", session_id=session_id)
    [skipped] = capturing.call("import_sessions", again=True)["skipped"]
    assert skipped["reason"] == f"{session_id} is in the trash: `port42 restore {session_id}` brings it back"
    capturing.call("prune_sessions", trash_older_than_days=0, dry_run=False)
    [skipped] = capturing.call("import_sessions", again=True)["skipped"]
    assert f"not here any more: `port42 capture restore {session_id}`" in skipped["reason"]
    transcript.path.unlink()
    port42("capture", "restore", session_id)
    port42("import", str(transcript.path), "@claude")
    assert captured(capturing, "one")["session_id"] == session_id

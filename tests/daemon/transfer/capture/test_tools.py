"""Capture of what each tool wrote itself, as if it wrote it now: the records are those of the whole file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.headers import derived_id
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_protocol.messages.records import Message, ToolRecord

TOOLS = Path(__file__).parents[3] / "data" / "tools"
CASES = {
    "claude/subagent/projects": 2,
    "codex/subagent/sessions": 2,
    "gemini/subagent/tmp": 2,
    "gemini/tui/tmp": 1,
    "gemini/resumed-later/tmp": 1,
    "copilot/subagent/session-state": 2,
    "pi/fork/sessions": 2,
    "pi/tui/sessions": 1,
}


def eventually(look, seconds=20.0):
    until = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.02)
    return value


def read_whole(folder):
    """The sessions' titles, parents and records."""
    _, found = sources(folder, "auto")
    sessions = {}
    for source in found:
        try:
            parsed = source.read(SessionsConfig())
        except Skipped:
            continue  # what a resumed chat of Gemini CLI's leaves behind
        for session in parsed:
            info, named = session.info, source.format
            parent = derived_id(named, info.parent) if info.parent else None
            records = [
                (record.role, record.id if isinstance(record, ToolRecord) else getattr(record, "content", ""))
                for record in session.records
                if isinstance(record, Message | ToolRecord)
            ]
            sessions[derived_id(named, info.source_id)] = (info.title, parent, records)
    return sessions


def stored(daemon, expected):
    """The same of the daemon's sessions, those that there are."""
    sessions = {}
    for session_id, (title, _, _) in expected.items():
        try:
            page = daemon.call("get_session", session_id=session_id, events=True, limit=10_000)
        except pytest.RpcFailed:
            continue
        records = [
            (record["role"], record["id"] if record["role"] == "tool" else record["content"])
            for record in page["messages"]
            if record["role"] in {"user", "assistant", "system", "error", "tool"}
        ]
        summary = page["session"]
        parent = (summary.get("parent") or {}).get("session_id")
        sessions[session_id] = (summary["title"] if title else None, parent, records)
    return sessions


@pytest.mark.parametrize(("case", "count"), CASES.items())
def test_what_a_tool_writes_is_captured_as_it_is_read(daemon, tmp_path, case, count):
    expected = read_whole(TOOLS / case)
    assert len(expected) == count
    folder = tmp_path / "home" / case.rpartition("/")[2]
    shutil.copytree(TOOLS / case, folder, ignore=shutil.ignore_patterns("*.jsonl"))
    daemon.call("set_capture", name=case.partition("/")[0], on=True, path=str(folder))
    for path in sorted((TOOLS / case).rglob("*.jsonl"), key=lambda path: len(path.parts)):
        with (folder / path.relative_to(TOOLS / case)).open("ab") as grown:
            for line in path.read_bytes().splitlines(keepends=True):
                grown.write(line)
                grown.flush()
    captured_is(daemon, expected)
    assert "Traceback" not in daemon.log()


def test_a_fork_that_names_its_original_is_its_fork(daemon, tmp_path):
    folder = tmp_path / "sessions"
    shutil.copytree(TOOLS / "codex/fork/sessions", folder)
    os.utime(min(folder.rglob("*.jsonl")))  # the original went on
    daemon.call("set_capture", name="codex", on=True, path=str(folder))
    found = eventually(
        lambda: found if len(found := daemon.call("list_sessions", agent="codex")["sessions"]) == 2 else None
    )
    original, fork = sorted(found, key=lambda session: session["created_at"])
    assert original["forked_from"] is None
    # The fork's file has only what is new: what was said before is a copy of the original's.
    before = daemon.call("get_session", session_id=original["session_id"], events=True)["messages"]
    records = daemon.call("get_session", session_id=fork["session_id"], events=True)["messages"]
    at = fork["forked_from"]["seq"]
    assert fork["forked_from"] == {"session_id": original["session_id"], "seq": len(before)}
    assert (records[:at], records[at]["event"]) == (before[:at], "forked")
    said = [record["content"] for record in records[at:] if record["role"] in {"user", "assistant"}]
    assert said == ["And barley?", "No barley is left."]
    # Neither an import nor a comparison from the beginning adds anything to it.
    daemon.stop()
    for path in daemon.home.glob("capture.db*"):
        path.unlink()
    daemon.start()
    eventually(lambda: daemon.call("get_capture")["tools"][1]["sessions"] == 2)
    for again in (False, True):
        page = daemon.call("import_sessions", path=str(folder), agent="codex", again=again)
        assert (page["imported"], page["unchanged"], page["skipped"]) == ([], 2, [])
    assert daemon.call("get_session", session_id=fork["session_id"], events=True)["messages"] == records
    # Codex needs the file of the original, too.
    files = sorted(path.name for path in folder.rglob("*.jsonl"))
    shutil.rmtree(folder)
    daemon.call("restore_original", session_id=fork["session_id"])
    assert sorted(path.name for path in folder.rglob("*.jsonl")) == files


def test_a_fork_that_is_here_before_its_original_begins_with_that_when_it_comes(daemon, tmp_path):
    original, fork = sorted((TOOLS / "codex/fork/sessions").rglob("*.jsonl"))
    folder = tmp_path / "sessions"
    folder.mkdir()
    lines = fork.read_bytes().splitlines(keepends=True)
    growing = folder / fork.name
    growing.write_bytes(b"".join(lines[:-5]))
    daemon.call("set_capture", name="codex", on=True, path=str(folder))

    def told(session):
        return daemon.call("get_session", session_id=session["session_id"], events=True)["messages"]

    def captured():
        return daemon.call("list_sessions", agent="codex")["sessions"]

    [early] = eventually(captured)
    own = told(early)
    assert (early["forked_from"]["seq"], own[0]["event"]) == (0, "forked")
    shutil.copy(original, folder)
    [begun] = eventually(lambda: [session for session in captured() if session["forked_from"] is None])

    def joined():
        return [s for s in captured() if s["session_id"] == early["session_id"] and s["forked_from"]["seq"]]

    [session] = eventually(joined)
    before = told(begun)
    assert session["forked_from"] == {"session_id": begun["session_id"], "seq": len(before)}

    def without_numbers(records):
        return [{**record, "seq": 0, "question": None} for record in records]

    assert told(session)[: len(before)] == before
    assert without_numbers(told(session)[len(before) :]) == without_numbers(own)
    with growing.open("ab") as file:  # the last reply
        file.writelines(lines[-5:])
    eventually(lambda: "No barley is left." in [record.get("content") for record in told(session)])
    grown = told(session)
    assert len(grown) > len(before) + len(own)
    imported = daemon.call("import_sessions", path=str(folder), agent="codex")
    assert (imported["imported"], imported["unchanged"], imported["skipped"]) == ([], 2, [])
    assert told(session) == grown


def test_a_title_that_codex_gives_later_arrives_though_the_session_does_not_grow(daemon, tmp_path):
    source, folder = TOOLS / "codex/fork", tmp_path / ".codex"
    shutil.copytree(source / "sessions", folder / "sessions")
    daemon.call("set_capture", name="codex", on=True, path=str(folder / "sessions"))

    def titles():
        found = daemon.call("list_sessions", agent="codex")["sessions"]
        return {session["session_id"]: session["title"] for session in found}

    prompts = eventually(lambda: found if len(found := titles()) == 2 else None)
    index = (source / "session_index.jsonl").read_text()
    (folder / "session_index.jsonl").write_text(index)
    entries = [json.loads(line) for line in index.splitlines()]
    names = {derived_id("codex", entry["id"]): entry["thread_name"] for entry in entries}
    assert names.keys() == prompts.keys()
    eventually(lambda: titles() == names)
    one, other = names
    daemon.call("rename_session", session_id=one, title="mine")
    daemon.stop()
    with (folder / "session_index.jsonl").open("a") as file:
        file.writelines(json.dumps({**entry, "thread_name": "Later"}) + "\n" for entry in entries)
    daemon.start()
    eventually(lambda: titles() == {one: "mine", other: "Later"})
    assert "Traceback" not in daemon.log()


# --- databases and documents ----------------------------------------------------------------------


def opencode_database(path):
    shutil.copy(TOOLS / "opencode/all/opencode/opencode.db", path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    return database


def test_opencodes_database_is_captured_while_it_is_written(daemon, tmp_path):
    expected = read_whole(TOOLS / "opencode/all/opencode")
    folder = tmp_path / "opencode"
    folder.mkdir()
    with contextlib.closing(opencode_database(folder / "opencode.db")) as database:
        later = database.execute("SELECT max(id) FROM message").fetchone()
        parts = database.execute("SELECT * FROM part WHERE message_id = ?", later).fetchall()
        with database:
            database.execute("DELETE FROM part WHERE message_id = ?", later)
        daemon.call("set_capture", name="opencode", on=True, path=str(folder))
        eventually(lambda: count_of(stored(daemon, expected)) == count_of(expected) - 1)
        with database:
            columns = ", ".join("?" * len(parts[0]))
            database.executemany(f"INSERT INTO part VALUES ({columns})", parts)
        captured_is(daemon, expected)
        assert (folder / "opencode.db-wal").stat().st_size > 0
    assert "Traceback" not in daemon.log()


def test_opencodes_files_of_before_the_database_are_captured_too(daemon, tmp_path):
    expected = read_whole(TOOLS / "opencode-1.1/all")
    folder = tmp_path / "opencode"
    shutil.copytree(TOOLS / "opencode-1.1/all", folder)
    shutil.copytree(TOOLS / "opencode/all/opencode", folder, dirs_exist_ok=True)
    expected |= read_whole(TOOLS / "opencode/all/opencode")
    daemon.call("set_capture", name="opencode", on=True, path=str(folder))
    captured_is(daemon, expected)
    assert daemon.call("get_capture")["tools"][5]["problem"] is None


def test_a_reply_in_opencodes_files_comes_though_its_sessions_file_does_not_change(daemon, tmp_path):
    expected = read_whole(TOOLS / "opencode-1.1/all")
    folder = tmp_path / "opencode"
    shutil.copytree(TOOLS / "opencode-1.1/all", folder)
    storage = next(folder.rglob("storage"))
    session = min(storage.glob("session/*/*.json"))
    reply = max((storage / "message" / session.stem).iterdir())
    parts = {path: path.read_bytes() for path in (storage / "part" / reply.stem).iterdir()}
    whole = json.loads(reply.read_bytes())
    reply.write_text(json.dumps({**whole, "time": {"created": whole["time"]["created"]}}))
    for path in parts:
        path.unlink()
    os.utime(session)
    daemon.call("set_capture", name="opencode", on=True, path=str(folder))
    eventually(lambda: 0 < count_of(stored(daemon, expected)) < count_of(expected))
    for path, data in parts.items():
        path.write_bytes(data)
    reply.write_text(json.dumps(whole))
    captured_is(daemon, expected)


def test_the_later_one_of_two_sessions_of_a_database_is_the_fork(daemon, tmp_path):
    with contextlib.closing(opencode_database(tmp_path / "opencode.db")):
        daemon.call("set_capture", name="opencode", on=True, path=str(tmp_path))
        captured_is(daemon, read_whole(TOOLS / "opencode/all/opencode"))
    found = daemon.call("list_sessions", agent="opencode")["sessions"]
    forks = [session["title"] for session in found if session["forked_from"]]
    assert forks
    assert all("(fork #" in title for title in forks)


def test_only_what_changed_of_a_database_is_read_again(daemon, tmp_path):
    folder = tmp_path / "opencode"
    folder.mkdir()
    with contextlib.closing(opencode_database(folder / "opencode.db")) as database:
        daemon.call("set_capture", name="opencode", on=True, path=str(folder))
        expected = read_whole(TOOLS / "opencode/all/opencode")
        captured_is(daemon, expected)
        session_id = next(iter(expected))
        daemon.call("rename_session", session_id=session_id, title="Named here")
        with database:
            database.execute(
                "UPDATE session SET title = 'Later', time_updated = time_updated + 1"
                " WHERE title = 'Mill books'"
            )
        named = eventually(
            lambda: [
                s for s in daemon.call("list_sessions", agent="opencode")["sessions"] if s["title"] == "Later"
            ]
        )
        assert len(named) == 1
    totals = next(tool for tool in daemon.call("get_capture")["tools"] if tool["name"] == "opencode")
    assert (totals["sessions"], totals["problem"]) == (len(expected), None)


def test_a_session_in_the_trash_does_not_hold_the_others_up(daemon, tmp_path):
    folder = tmp_path / "opencode"
    folder.mkdir()
    expected = read_whole(TOOLS / "opencode/all/opencode")
    removed, *others = expected
    with contextlib.closing(opencode_database(folder / "opencode.db")) as database:
        daemon.call("set_capture", name="opencode", on=True, path=str(folder))
        captured_is(daemon, expected)
        daemon.call("delete_session", session_id=removed)
        with database:
            database.execute("UPDATE session SET time_updated = time_updated + 1, title = title || '!'")

        def look():
            sessions = stored(daemon, expected)
            return sorted(sessions) == sorted(others) and all(s[0].endswith("!") for s in sessions.values())

        eventually(look)
        [tool] = [tool for tool in daemon.call("get_capture")["tools"] if tool["name"] == "opencode"]
        assert tool["problem"] is None
        daemon.call("restore_session", session_id=removed)
        eventually(lambda: stored(daemon, expected)[removed][0].endswith("!"))


def count_of(sessions):
    return sum(len(records) for _, _, records in sessions.values())


def captured_is(daemon, expected):
    try:
        eventually(lambda: stored(daemon, expected) == expected)
    except AssertionError as error:
        error.add_note(f"{expected}\n{stored(daemon, expected)}\n{daemon.log()[-2000:]}")
        raise


def test_llms_log_and_aichats_session_are_captured(daemon, tmp_path):
    folder = tmp_path / "llm"
    folder.mkdir()
    shutil.copy(TOOLS / "llm/all/logs.db", folder)
    sqlite3.connect(folder / "embeddings.db").execute("CREATE TABLE embeddings (id)").connection.close()
    daemon.call("set_capture", name="llm", on=True, path=str(folder))
    captured_is(daemon, read_whole(TOOLS / "llm/all"))
    notes = tmp_path / "aichat" / "notes.yaml"
    notes.parent.mkdir()
    notes.write_text("model: m\nmessages:\n- role: user\n  content: hi\n")
    daemon.call("set_capture", name="aichat", on=True, path=str(notes.parent))
    captured_is(daemon, read_whole(notes.parent))
    with notes.open("a") as file:
        file.write("- role: assistant\n  content: hello\n")
    captured_is(daemon, read_whole(notes.parent))
    problems = [tool["problem"] for tool in daemon.call("get_capture")["tools"]]
    assert set(problems) == {None}

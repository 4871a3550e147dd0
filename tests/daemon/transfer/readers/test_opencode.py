"""opencode: its database, exports and the files of before, as it wrote them and damaged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.tool_sessions import (
    LIMITS,
    STOCK,
    TOOLS,
    beginning,
    check,
    read_all,
    titled,
    tokens,
    told,
)

from port42_daemon.transfer.readers import opencode
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources


def test_opencodes_database_and_export_give_the_same_records():
    _, found = sources(TOOLS / "opencode/all", "auto")
    by_key = {source.key.split()[-1]: source for source in found}
    exported = [key for key in by_key if key.endswith(".json")]
    assert len(exported) == 2
    for key in exported:
        session_id = key.removeprefix("export-").removesuffix(".json")
        [export], [row] = by_key[key].read(LIMITS), by_key[session_id].read(LIMITS)
        assert list(export.records) == list(row.records)
        assert export.info == row.info


def test_opencode_renamed_compacted_and_refused():
    session = read_all(TOOLS / "opencode/all")["ses_de778a4cfffex4DjPRinBSqAf9"]
    assert session.info.title == "Mill books"
    assert told(session)[: len(STOCK)] == STOCK
    assert told(session)[len(STOCK)].startswith("compacted: ## Goal")
    assert told(session)[len(STOCK) + 1 :] == [
        "user: And oats?",
        "assistant: Two kilos of oats came in today.",
        "user: Break the stone.",
        "error: The stone is broken",
    ]
    assert tokens(session) == (9600, 640)


def test_a_fork_of_opencodes_begins_with_the_marks_of_the_original():
    original = read_all(TOOLS / "opencode/all")["ses_de778b862ffeRMUPbBUdo9Qx1A"]
    fork = titled(TOOLS / "opencode/all", "Stock of the mill (fork #1)")
    assert fork.marks[:4] == original.marks
    assert told(fork)[4] == "user: And barley?"


def test_opencodes_files_of_before_the_database():
    session = beginning(TOOLS / "opencode-1.1/all", '"Take stock of the mill."\n')
    assert sorted(told(session)[1:]) == sorted(STOCK[1:])
    assert (session.info.cwd, tokens(session)) == ("/home/ada/mill", (7200, 480))


def database_with(tmp_path, *statements):
    path = tmp_path / "opencode.db"
    shutil.copy(TOOLS / "opencode/all/opencode/opencode.db", path)
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    return path


def test_what_opencode_still_writes_is_left_out_until_it_has_ended(tmp_path):
    session_id = "ses_de778b862ffeRMUPbBUdo9Qx1A"
    latest = f"(SELECT id FROM message WHERE session_id = '{session_id}' ORDER BY time_created DESC LIMIT 1)"
    path = database_with(
        tmp_path,
        f"UPDATE message SET data = json_remove(data, '$.time.completed') WHERE id = {latest}",  # our own id
        f"UPDATE part SET data = json_remove(data, '$.time.end') WHERE message_id = {latest}"
        " AND json_extract(data, '$.type') = 'text'",
    )
    [growing] = opencode.read(path, session_id, LIMITS)
    [whole] = opencode.read(TOOLS / "opencode/all/opencode/opencode.db", session_id, LIMITS)
    records = list(whole.records)
    assert list(growing.records) == records[: len(list(growing.records))]
    assert told(growing) == told(whole)[:3]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE part SET data = '{'",
        "UPDATE part SET data = '[1]'",
        "UPDATE message SET data = '{\"role\":[]}'",
        "UPDATE message SET data = x'00ff'",
        "UPDATE session SET directory = '../../etc', title = x'ff00'",
        "UPDATE session SET parent_id = id",
        "DROP TABLE part",
        "DELETE FROM message",
    ],
)
def test_a_damaged_database_is_read_or_skipped(tmp_path, statement):
    path = database_with(tmp_path, statement)
    try:
        keys = opencode.conversations(path)
    except Skipped:
        return
    for key in keys:
        try:
            for session in opencode.read(path, key, LIMITS):
                assert session.info.cwd is None or session.info.cwd.startswith("/")
        except Skipped:
            pass


@settings(max_examples=40)
@given(data=st.binary(max_size=300), at=st.integers(0, 110_000))
def test_a_database_with_other_bytes_in_it(tmp_path_factory, data, at):
    path = database_with(tmp_path_factory.mktemp("opencode"))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    with contextlib.suppress(Skipped):
        for key in opencode.conversations(path):
            with contextlib.suppress(Skipped):
                check(opencode.read(path, key, LIMITS))


def test_a_view_instead_of_a_table_is_not_queried(tmp_path):
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x AS message_id, x AS data FROM n"
    )
    path = database_with(tmp_path, "DROP TABLE part", f"CREATE VIEW part AS {endless}")
    with pytest.raises(Skipped, match="not opencode's"):
        opencode.conversations(path)


def test_reading_changes_no_database(tmp_path):
    path = database_with(tmp_path, "PRAGMA journal_mode = WAL", "UPDATE session SET title = 'x'")
    before = path.read_bytes()
    for key in opencode.conversations(path):
        opencode.read(path, key, LIMITS)
    assert path.read_bytes() == before


def storage_of(tmp_path, **info):
    """A session of opencode 1.1 with one message and one part; the folder of its messages."""
    session = tmp_path / "storage/session/global/ses_1.json"
    session.parent.mkdir(parents=True)
    session.write_text(json.dumps({"id": "ses_1", "projectID": "global", "directory": "/x", **info}))
    message = tmp_path / "storage/message/ses_1/msg_1.json"
    message.parent.mkdir(parents=True)
    message.write_text('{"id":"msg_1","role":"user","time":{"created":1}}')
    part = tmp_path / "storage/part/msg_1/prt_1.json"
    part.parent.mkdir(parents=True)
    part.write_text('{"type":"text","text":"hi"}')
    return session, message


def test_opencodes_ids_are_no_paths(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "msg_9.json").write_text('{"id":"msg_9","role":"user","time":{"created":1}}')
    session, message = storage_of(tmp_path)
    assert [told(one) for one in read_all(session).values()] == [["user: hi"]]
    session.write_text('{"id":"../../outside","projectID":"global"}')
    with pytest.raises(Skipped, match="no messages"):
        read_all(session)
    session.write_text('{"id":"ses_1","projectID":"global"}')
    message.write_text('{"id":"../../outside","role":"user","time":{"created":1}}')
    with pytest.raises(Skipped, match="no messages"):
        read_all(session)


def test_opencodes_folders_may_not_be_links_nor_their_files_fifos(tmp_path):
    session, message = storage_of(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(message, tmp_path / "elsewhere/msg_1.json")
    message.parent.rmdir()
    message.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Skipped, match="no messages"):
        read_all(session)
    message.parent.unlink()
    message.parent.mkdir()
    os.mkfifo(message)
    with pytest.raises(Skipped, match="not an ordinary file"):
        read_all(session)


def test_a_folder_of_opencodes_lists_sessions_and_not_their_parts():
    _, found = sources(TOOLS / "opencode-1.1/all", "auto")
    assert len(found) == 5
    assert all("/storage/session/" in source.key and not source.problem for source in found)


# --- version 2 ------------------------------------------------------------------------------------

AT = 1_767_225_600_000


def second_version(path, *messages):
    """A database of version 2: `messages` are types and data, in their order, a second apart."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS session_v2 (id TEXT, parent_id TEXT, directory TEXT, title TEXT,"
            " time_created INTEGER, time_updated INTEGER)"
        )
        database.execute(
            "CREATE TABLE IF NOT EXISTS session_message (id TEXT, session_id TEXT, type TEXT, seq INTEGER,"
            " time_created INTEGER, time_updated INTEGER, data TEXT)"
        )
        row = ("ses_2", None, "/home/ada/mill", "Mill", AT, AT)
        database.execute("INSERT INTO session_v2 VALUES (?, ?, ?, ?, ?, ?)", row)
        for seq, (kind, data) in enumerate(messages, 1):
            at = AT + 1000 * seq
            fields = {**data, "time": {"created": at, **data.get("time", {})}}
            row = (f"msg_{seq}", "ses_2", kind, seq, at, at, json.dumps(fields))
            database.execute("INSERT INTO session_message VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.close()


def tool(status, **state):
    times = {"created": AT + 3500, **({"completed": AT + 3600} if status != "running" else {})}
    state = {"status": status, "input": {"command": "ls"}, **state}
    return {"type": "tool", "id": "call_1", "name": "bash", "state": state, "time": times}


def reply(*content, **fields):
    tokens = {"input": 100, "output": 5, "reasoning": 1, "cache": {"read": 20, "write": 0}}
    return {"model": {"id": "m", "providerID": "p"}, "content": list(content), "tokens": tokens, **fields}


def text(words):
    return {"type": "text", "text": words}


def test_a_database_of_version_2(tmp_path):
    second_version(
        tmp_path / "opencode.db",
        ("system", {"text": "You are opencode."}),
        ("user", {"text": "How much rye?", "files": [{"uri": "file:///a.txt", "mime": "text/plain"}]}),
        (
            "assistant",
            reply(
                {"type": "reasoning", "text": "They ask."},
                text("I look."),
                tool("completed", content=[text("rye.txt")]),
                text("Ten kilos."),
                time={"completed": AT + 3900},
            ),
        ),
        ("synthetic", {"text": "A comment in a line."}),
        ("shell", {"shellID": "s", "command": "date", "status": "exited", "exit": 1, "output": "Monday"}),
        (
            "compaction",
            {"status": "completed", "reason": "auto", "summary": "Rye was counted.", "recent": ""},
        ),
        ("user", {"text": "And wheat?"}),
        (
            "assistant",
            reply(error={"type": "provider", "message": "no model"}, time={"completed": AT + 7900}),
        ),
        ("idle", {"outcome": "failed"}),
    )
    formats, [source] = sources(tmp_path / "opencode.db", "auto")
    [session] = source.read(LIMITS)
    assert formats == ["opencode"]
    assert (session.info.source_id, session.info.title, session.info.cwd) == (
        "ses_2",
        "Mill",
        "/home/ada/mill",
    )
    assert [
        f"{record.role} {getattr(record, 'content', '') or ''}".strip() for record in session.records
    ] == [
        "user How much rye?\n\n[file:///a.txt]",
        "thought They ask.",
        "assistant I look.",
        "tool",
        "assistant Ten kilos.",
        "event",
        "tool",
        "event Rye was counted.",
        "user And wheat?",
        "error no model",
        "event",
    ]
    listed, shell = (record for record in session.records if record.role == "tool")
    assert (listed.id, listed.name, listed.state, listed.output) == ("call_1", "bash", "done", "rye.txt")
    assert (shell.title, shell.state, shell.output) == ("date", "failed", "Monday")
    assert tokens(session) == (240, 12)
    times = [record.timestamp for record in session.records]
    assert times == sorted(times)


def test_of_a_reply_that_is_being_written_the_parts_that_have_ended_are_read(tmp_path):
    path = tmp_path / "opencode.db"
    second_version(path, ("user", {"text": "Rye?"}), ("assistant", reply(text("I look."), tool("running"))))
    [source] = sources(path, "auto")[1]
    assert told(source.read(LIMITS)[0]) == ["user: Rye?", "assistant: I look."]
    path.unlink()
    second_version(path, ("user", {"text": "Rye?"}), ("assistant", reply(text("I lo"))))
    assert told(source.read(LIMITS)[0]) == ["user: Rye?"]


def test_sessions_from_before_version_2_are_still_there_and_those_of_both_once(tmp_path):
    path = tmp_path / "opencode.db"
    shutil.copy(TOOLS / "opencode/all/opencode/opencode.db", path)
    before = opencode.conversations(path)
    second_version(path, ("user", {"text": "Rye?"}))
    with sqlite3.connect(path) as database:
        copied = "ses_de778a4cfffex4DjPRinBSqAf9"  # without messages of its own, as one that was not opened
        database.execute("INSERT INTO session_v2 VALUES (?, NULL, '/home/ada', 'x', 1, 1)", (copied,))
    database.close()
    after = opencode.conversations(path)
    assert set(after) == {*before, "ses_2"}
    assert told(opencode.read(path, copied, LIMITS)[0])[: len(STOCK)] == STOCK

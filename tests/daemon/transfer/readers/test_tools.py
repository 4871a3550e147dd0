"""Sessions that the tools themselves wrote: the same work gives the same records, whichever tool did it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.imports import header_of
from port42_daemon.transfer.readers import opencode
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import LINE_READERS, sources
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_daemon.transfer.readers.values import timestamp_of
from port42_protocol.messages.records import EventRecord, Message, PlanRecord, ThoughtRecord, ToolRecord

TOOLS = Path(__file__).parents[3] / "data" / "tools"
LIMITS = SessionsConfig()
STOCK = [
    "user: Take stock of the mill.",
    "thought: The user wants the stock. I list the folder, then read the file.",
    "assistant: I look at the folder first.",
    "tool: ls -1 && cat grain.txt done",
    "assistant: Now both files.",
    "tool: grain.txt done",
    "tool: README.md done",
    "tool: stock.txt done",
    "assistant: The wheat is wrong; I correct it.",
    "tool: stock.txt done",
    "tool: cat missing.txt failed",
    "assistant: The stock is written to stock.txt: 10 kilos of rye, 4 of wheat."
    " A file missing.txt does not exist.",
]


def told(session):
    """A line for each record, without those that only count tokens."""
    lines = []
    for record in session.records:
        match record:
            case Message(content=text):
                lines.append(f"{record.role}: {text}")
            case ThoughtRecord(content=text):
                lines.append(f"thought: {text}")
            case ToolRecord(state=state):
                lines.append(f"tool: {done_to(record)} {state}")
            case PlanRecord(entries=entries):
                lines.append("plan: " + " ".join(entry.state for entry in entries))
            case EventRecord(event="compacted", content=text):
                lines.append(f"compacted: {text}")
    return lines


def done_to(record):
    """The command, the file's name, or else the tool's."""
    if record.locations:
        return record.locations[0].path.rpartition("/")[2]
    given = json.loads(record.input) if record.input and record.input.startswith("{") else {}
    return given.get("command") or record.name


def tokens(session):
    turns = [turn for record in session.records if (turn := getattr(record, "turn", None))]
    return sum(turn.input_tokens or 0 for turn in turns), sum(turn.output_tokens or 0 for turn in turns)


def read_all(path):
    """The sessions by their ids at the source."""
    _, found = sources(path, "auto")
    return {
        session.info.source_id: session
        for source in found
        if not source.problem
        for session in source.read(LIMITS)
    }


def titled(path, title):
    [session] = [one for one in read_all(path).values() if one.info.title == title]
    return session


def titled_first(path, title):
    return next(session for session in read_all(path).values() if session.info.title == title)


def beginning(path, words):
    return next(session for session in read_all(path).values() if told(session)[0] == f"user: {words}")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("gemini/tools", "gemini"),
        ("gemini-0.17/json", "gemini"),
        ("copilot/tools", "copilot"),
        ("pi/tools", "pi"),
    ],
)
def test_a_turn_with_tools_is_read_as_it_happened(folder, name):
    [named], _ = sources(TOOLS / folder, "auto")
    session = beginning(TOOLS / folder, "Take stock of the mill.")
    stock = STOCK.copy()
    if folder == "gemini-0.17/json":  # it refused two commands in one
        stock[3] = "tool: ls -1 && cat grain.txt failed"
    # Tools that run at the same time stand in the order of their ends.
    assert sorted(told(session)) == sorted(stock)
    assert [line for line in told(session) if "README.md" not in line] == [
        line for line in stock if "README.md" not in line
    ]
    assert named == name
    # The old version reported those of several answers as one.
    assert tokens(session) == ((4800, 320) if "0.17" in folder else (7200, 480))
    assert session.info.cwd == (None if "0.17" in folder else "/home/ada/mill")
    outputs = [record.output for record in session.records if isinstance(record, ToolRecord)]
    assert outputs[0].startswith(("README.md\ndot.png\ngrain.txt\n", "Command rejected"))
    assert "No such file" in outputs[-1]
    assert all(record.duration_ms is not None for record in session.records if isinstance(record, ToolRecord))


@pytest.mark.parametrize(("folder", "count"), [("gemini/plan", 3), ("opencode/all", 3)])
def test_a_plan_is_a_record_at_each_change(folder, count):
    session = beginning(TOOLS / folder, "Plan the week.")
    plans = [record.entries for record in session.records if isinstance(record, PlanRecord)]
    assert len(plans) == count
    assert [(entry.content, entry.state) for entry in plans[1]] == [
        ("Sift the rye", "completed"),
        ("Grind the rye", "in_progress"),
        ("Pack the flour", "pending"),
    ]


@pytest.mark.parametrize(
    "folder", ["gemini/subagent", "copilot/subagent", "opencode/all", "opencode-1.1/all"]
)
def test_a_sub_agent_is_a_session_of_its_parent(folder):
    sessions = read_all(TOOLS / folder)
    [child] = [session for session in sessions.values() if session.info.parent]
    parent = sessions[child.info.parent]
    assert told(child)[:3] == [
        "user: Count the sacks in the cellar and report.",
        "assistant: I count.",
        "tool: ls -1 *.txt *.md | wc -l done",
    ]
    assert "assistant: There are 2 sacks in the cellar." in told(child)
    assert not any("one final chance" in line for line in told(child))
    assert "sub-agent count the sacks." in told(parent)[0]
    assert told(parent)[-1] == "assistant: The sub-agent counted 2 sacks."
    assert len(told(parent)) == 4


# --- Codex ----------------------------------------------------------------------------------------


def test_codex_typed_to_interrupted_renamed_and_compacted():
    session = titled_first(TOOLS / "codex/fork", "Mill books")
    lines = told(session)
    assert lines[2:11] == [
        "user: Grind slowly.",
        "assistant: It takes a while.",
        "tool: exec_command done",
        "user: And barley?",
        "user: Grind very slowly.",
        "assistant: It takes long.",
        "tool: exec_command failed",
        "user: And oats?",
        "assistant: Two kilos of oats came in today.",
    ]
    # The summary is not the model's word to the person.
    assert lines[11].startswith("compacted: Another language model started")
    assert lines[12:] == ["user: And how much wheat?", "assistant: 4 kilos of wheat."]
    assert tokens(session) == (7200, 480)


def test_codex_with_a_picture_and_a_refusal():
    sessions = [told(session) for session in read_all(TOOLS / "codex/various").values()]
    assert sessions == [
        ["user: [image]\n\nLook at the picture.", "assistant: The picture is a single red dot."],
        ["user: Break the stone.", "error: The stone is broken"],
    ]


# --- Gemini CLI -----------------------------------------------------------------------------------


def test_gemini_resumed_is_one_session_though_it_begins_another_file():
    path = TOOLS / "gemini/resumed-later"
    _, [first, second] = sources(path, "auto")
    [session] = first.read(LIMITS)
    assert told(session) == [
        "user: How many kilos of rye are there?",
        "assistant: There are 10 kilos of rye in the bin.",
        "user: And barley?",
        "assistant: No barley is left.",
        "user: And oats?",
        "assistant: Two kilos of oats came in today.",
    ]
    assert tokens(session) == (3600, 240)
    with pytest.raises(Skipped, match="no messages"):
        second.read(LIMITS)


def test_gemini_compressed_interrupted_and_with_a_shell_command():
    [session] = read_all(TOOLS / "gemini/tui").values()
    lines = told(session)
    at = next(number for number, line in enumerate(lines) if line.startswith("compacted: <state_snapshot>"))
    assert lines[at - 1] == STOCK[-1]
    assert lines[at + 1 :] == [
        "user: And oats, tell me.",
        "assistant: Two kilos of oats came in today.",
        "user: Grind very slowly.",
        "assistant: It takes long.",
        "tool: sleep 60; echo ground interrupted",
        "tool: echo hello done",
    ]


# --- pi -------------------------------------------------------------------------------------------


def test_pi_named_compacted_and_typed_to_while_it_works():
    [session] = read_all(TOOLS / "pi/tui").values()
    assert session.info.title == "Mill books"
    lines = told(session)
    assert lines[2:8] == [
        "tool: echo hello from the shell done",
        "user: Grind slowly.",
        "assistant: It takes a while.",
        "tool: sleep 6; echo ground done",
        "user: And barley?",
        "assistant: No barley is left.",
    ]
    assert lines[8].startswith("compacted: ## Goal")


def test_a_fork_of_pis_begins_with_the_marks_of_the_original():
    original, fork = read_all(TOOLS / "pi/fork").values()
    assert fork.marks[:4] == original.marks
    assert len(fork.marks) == 6
    assert original.info.first_mark == fork.info.first_mark != ""


# --- opencode -------------------------------------------------------------------------------------


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


@settings(max_examples=40, deadline=None)
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


# --- aider ----------------------------------------------------------------------------------------


def test_each_start_of_aider_is_a_session():
    first, second, third = read_all(TOOLS / "aider/edit").values()
    assert told(first) == [
        "user: How many kilos of rye are there?",
        "assistant: There are 10 kilos of rye in the bin.",
    ]
    assert told(second) == ["user: And how much wheat?", "assistant: 4 kilos of wheat."]
    assert told(third)[0] == "user: Correct the wheat."
    assert told(third)[1].endswith("=======\nwheat: 5 kg\n>>>>>>> REPLACE\n```")
    assert told(third)[2:] == ["tool: grain.txt done"]
    assert third.info.model == "openai/gpt-4.1"


def test_aiders_commands_are_not_words_to_the_model(tmp_path):
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(
        "\n# aider chat started at 2026-03-01 10:00:00\n\n> Aider v0.86.2  \n"
        "#### /add src/a.py  \n> Added src/a.py to the chat.  \n"
        "#### /ask why is it slow?  \n#### I mean the loop.  \n\nIt is quadratic.\n\n> Tokens: 2k sent.  \n"
        "#### !ls  \n"
        "\n# aider chat started at 2026-03-01 11:00:00\n\n> Aider v0.86.2  \n"
    )
    _, [first, empty] = sources(tmp_path, "auto")
    assert told(first.read(LIMITS)[0]) == [
        "user: /ask why is it slow?\nI mean the loop.",
        "assistant: It is quadratic.",
    ]
    with pytest.raises(Skipped, match="no messages"):
        empty.read(LIMITS)


# --- ChatGPT and claude.ai ------------------------------------------------------------------------


def node(key, parent, role=None, text="", **fields):
    content = fields.pop("content", {"content_type": "text", "parts": [text]})
    author = {"role": role, "name": fields.pop("name", None)}
    message = {"id": key, "author": author, "create_time": 1770000000.5, "content": content, **fields}
    return {"id": key, "parent": parent, "children": [], "message": message if role else None}


CHATGPT = {
    "title": "Bread",
    "conversation_id": "c-1",
    "create_time": 1770000000.25,
    "current_node": "a2",
    "mapping": {
        "root": node("root", None),
        "s": node("s", "root", "system", "", metadata={"is_visually_hidden_from_conversation": True}),
        "u1": node("u1", "s", "user", "How long does rye bread bake?"),
        "a1": node("a1", "u1", "assistant", "An hour."),
        "t1": node(
            "t1",
            "u1",
            "assistant",
            content={"content_type": "thoughts", "thoughts": [{"summary": "Oven", "content": "It is hot."}]},
        ),
        "c1": node(
            "c1",
            "t1",
            "assistant",
            content={"content_type": "code", "text": "print(50)"},
            recipient="python",
        ),
        "r1": node(
            "r1",
            "c1",
            "tool",
            content={"content_type": "execution_output", "text": "50"},
            name="python",
        ),
        "a2": node("a2", "r1", "assistant", "50 minutes.", metadata={"model_slug": "gpt-5"}),
    },
}
CLAUDE_AI = {
    "uuid": "k-1",
    "name": "Flour",
    "created_at": "2026-02-02T10:00:00.000000Z",
    "chat_messages": [
        {
            "uuid": "m1",
            "sender": "human",
            "created_at": "2026-02-02T10:00:01.000000Z",
            "text": "Which flour?",
            "content": [{"type": "text", "text": "Which flour?"}],
            "attachments": [{"file_name": "list.txt", "extracted_content": "rye, wheat"}],
        },
        {
            "uuid": "m2",
            "sender": "assistant",
            "created_at": "2026-02-02T10:00:02.000000Z",
            "content": [
                {"type": "thinking", "thinking": "Two kinds."},
                {"type": "tool_use", "name": "web_search", "input": {"query": "flour"}},
                {"type": "tool_result", "name": "web_search", "content": [{"type": "text", "text": "rye"}]},
                {"type": "text", "text": "Rye."},
            ],
        },
    ],
}


def test_chatgpts_current_branch_and_the_others(tmp_path):
    (tmp_path / "conversations.json").write_text(json.dumps([CHATGPT]))
    sessions = read_all(tmp_path)
    assert list(sessions) == ["c-1", "c-1/a1"]
    main, other = sessions.values()
    assert told(main) == [
        "user: How long does rye bread bake?",
        "thought: Oven\n\nIt is hot.",
        "tool: python done",
        "assistant: 50 minutes.",
    ]
    [call] = [record for record in main.records if isinstance(record, ToolRecord)]
    assert (call.name, call.input, call.output) == ("python", "print(50)", "50")
    assert told(other) == ["user: How long does rye bread bake?", "assistant: An hour."]
    assert main.marks[0] == other.marks[0]
    assert (main.info.title, main.info.model) == ("Bread", "gpt-5")
    assert main.info.created_at == "2026-02-02T02:40:00.250Z"


def test_claude_ai_with_attachments_tools_and_thoughts(tmp_path):
    (tmp_path / "conversations.json").write_text(json.dumps([CLAUDE_AI], indent=2))
    [session] = read_all(tmp_path).values()
    assert told(session) == [
        "user: Which flour?",
        "thought: Two kinds.",
        "tool: web_search done",
        "assistant: Rye.",
    ]
    [prompt, *_] = session.records
    assert [(one.target, one.content) for one in prompt.references] == [("list.txt", "rye, wheat")]
    [call] = [record for record in session.records if isinstance(record, ToolRecord)]
    assert (call.name, call.title, call.output) == ("web_search", "flour", "rye")


@pytest.mark.parametrize(("name", "value"), [("chatgpt", CHATGPT), ("claude-ai", CLAUDE_AI)])
def test_conversations_are_read_from_the_zip_one_at_a_time(tmp_path, name, value):
    copies = [
        {**value, "conversation_id": f"c-{number}", "uuid": f"c-{number}", "title": f"{number}é"}
        for number in range(40)
    ]
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/conversations.json", json.dumps(copies, ensure_ascii=False))
        archive.writestr("data/user.json", "{}")
    [named], found = sources(packed, "auto")
    assert named == name
    assert [source.key for source in found] == [f"export.zip 0 {number:06}" for number in range(1, 41)]
    assert [source.read(LIMITS)[0].info.source_id for source in found] == [f"c-{n}" for n in range(40)]
    path = found[0].path
    assert path.exists()
    del found
    assert not path.exists()


def test_a_zip_without_conversations_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photo.png", "x")
        archive.writestr("../conversations.json", "[]")
    with pytest.raises(Skipped, match=r"no conversations\.json"):
        sources(tmp_path / "a.zip", "auto")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(Skipped, match="not a zip"):
        sources(tmp_path / "b.zip", "auto")
    os.mkfifo(tmp_path / "c.zip")
    with pytest.raises(Skipped, match="not an ordinary file"):
        sources(tmp_path / "c.zip", "auto")


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 400), data=st.binary(min_size=1, max_size=20))
def test_a_damaged_zip_is_read_or_skipped(tmp_path_factory, at, data):
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([CLAUDE_AI]))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    with contextlib.suppress(Skipped):
        for source in sources(path, "auto")[1]:
            with contextlib.suppress(Skipped):
                check(source.read(LIMITS))


def test_a_zip_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("port42_daemon.transfer.readers.chat_exports.FILE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", " " * 5000)
    with pytest.raises(Skipped, match="more than 1,000 bytes"):
        sources(tmp_path / "a.zip", "auto")


@pytest.mark.parametrize(
    "change",
    [
        {
            "mapping": {"a": {"parent": "a", "message": CHATGPT["mapping"]["u1"]["message"]}},
            "current_node": "a",
        },
        {"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}, "current_node": "a"},
        {"mapping": {"a": {"parent": {}, "message": {"content": {"parts": [{}]}}}}},
        {"current_node": {}},
        {"mapping": []},
    ],
)
def test_damaged_conversations_are_read_or_skipped(tmp_path, change):
    (tmp_path / "conversations.json").write_text(json.dumps([{**CHATGPT, **change}]))
    _, found = sources(tmp_path / "conversations.json", "chatgpt")
    for source in found:
        with contextlib.suppress(Skipped):
            assert source.read(LIMITS)


# --- real files with other values in them ---------------------------------------------------------

VALUE = st.one_of(
    st.sampled_from([None, True, -1, 1.5e300, 2**70, "", "\ud800", "x\0y", "../../etc"]),
    st.sampled_from([[], {}, [[]], [None], {"a": {}}, [{"type": []}]]),
)
FORMATS = {
    "claude": "claude/compacted",
    "codex": "codex/tools",
    "gemini": "gemini/tui",
    "copilot": "copilot/subagent",
    "pi": "pi/tui",
}


def places(value, path=()):
    """The path of each value in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*path, key))


def changed(value, path, other):
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy


def a_change(data, value):
    return changed(value, data.draw(st.sampled_from(list(places(value)))), data.draw(VALUE))


def check(sessions):
    for session in sessions:
        for record in session.records:
            assert timestamp_of(record.timestamp) == record.timestamp
            assert not isinstance(record, Message) or record.content.strip()
        assert header_of(session.info, "x", "agent")


@pytest.mark.parametrize(("name", "case"), FORMATS.items())
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lines_with_other_values_are_read_or_skipped(name, case, data):
    path = next(path for path in (TOOLS / case).rglob("*.jsonl") if "subagents" not in path.parts)
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    for at in data.draw(st.lists(st.integers(0, len(entries) - 1), max_size=4)):
        entries[at] = a_change(data, entries[at])
    reader = LINE_READERS[name]("x", LIMITS)
    with contextlib.suppress(Skipped):
        check(read_whole(reader, (json.dumps(entry).encode() for entry in entries)))
    assert LINE_READERS[name]("x", LIMITS, reader.save()).state == reader.state


EXPORT = next((TOOLS / "opencode/all").glob("export-ses_de778a4*.json"))
GEMINI = next((TOOLS / "gemini-0.17").rglob("*a5c91687.json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chatgpt", [CHATGPT]),
        ("claude-ai", [CLAUDE_AI]),
        ("opencode", json.loads(EXPORT.read_bytes())),
        ("gemini", json.loads(GEMINI.read_bytes())),
    ],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_documents_with_other_values_are_read_or_skipped(tmp_path, name, value, data):
    for _ in range(data.draw(st.integers(1, 4))):
        value = a_change(data, value)
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(value))
    with contextlib.suppress(Skipped):
        _, found = sources(path, name)
        for source in found:
            with contextlib.suppress(Skipped):
                check(source.read(LIMITS))

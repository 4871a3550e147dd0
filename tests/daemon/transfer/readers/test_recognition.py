"""Whose file it is shows what it holds; what is not read is named, and so is why."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from peers import llm_database

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_protocol.messages.records import Message

LIMITS = SessionsConfig()
DATA = Path(__file__).parents[3] / "data" / "imports"


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


def only_session(path, wanted="auto"):
    """The only session there, and the format it is in."""
    [format_name], [source] = sources(path, wanted)
    return format_name, source.read(LIMITS)[0]


CLAUDE_USER = '{"sessionId":"x","uuid":"u","type":"user","message":{"content":"hi"}}'
PI_OLD = '{"type":"session","id":"x","timestamp":"2025-12-09T00:53:29.825Z","cwd":"/home/ada"}'
CODEX_ITEM = '{"type":"message","role":"user","content":"hi"}'
CODEX_USER = f'{{"type":"response_item","payload":{CODEX_ITEM}}}'
GEMINI_USER = '{"id":"1","type":"user","content":"hi"}'


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (['{"type":"file-history-snapshot","isSnapshotUpdate":false}', CLAUDE_USER], "claude"),
        (['{"type":"summary","summary":"x","leafUuid":"u"}', CLAUDE_USER], "claude"),
        (["} cut off", '{"unknown":1}', "\0\0", CLAUDE_USER], "claude"),
        (['{"session', CODEX_USER], "codex"),
        (['{"record_type":"state"}', CODEX_USER], "codex"),
        (['{"snapshot":"' + "x" * 200_000 + '"}', CLAUDE_USER], "claude"),
        (['{"sessionId":"x","session_id":"x","subtype":"init","type":"system"}', CLAUDE_USER], "claude"),
        ([CLAUDE_USER.replace('"sessionId":"x"', '"timestamp":"2026-02-03T04:05:06Z"')], "claude"),
        ([PI_OLD, '{"type":"message","timestamp":"","message":{"role":"user","content":"hi"}}'], "pi"),
    ],
)
def test_a_file_is_recognised_by_what_it_holds(tmp_path, lines, wanted):
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(lines) + "\n")
    format_name, session = only_session(path)
    assert (format_name, texts(session)) == (wanted, [("user", "hi")])


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "a.jsonl",
            '{"sessionId":"q","type":"user","message":{"role":"user","parts":[{"text":"x"}]}}',
            "Qwen Code",
        ),
        ("a.jsonl", '{"sessionId":"q","type":"system","systemPayload":{}}', "Qwen Code"),
        ("a.jsonl", '{"working_dir":"/home/ada","description":"x","message_count":2}', "goose"),
        ("a.json", '{"sessionId":"x","startTime":"","chatMessages":[]}', "early version of Copilot CLI"),
        ("a.json", '{"version":3,"requesterUsername":"ada","requests":[]}', "Copilot in VS Code"),
        ("a.json", '{"sessionId":"x","title":"","workspaceDirectory":"/home/ada","history":[]}', "Continue"),
        (
            "a.jsonl",
            '{"sessionId":"q","type":"message","role":"user","content":[],"providerData":{}}',
            "CodeBuddy",
        ),
        ("a.jsonl", '{"sessionId":"q","display":"hi","project":"/home/ada"}', "list of what was typed"),
        ("a.jsonl", '{"session_id":"q","ts":1,"text":"hi"}', "list of what was typed"),
        ("a.jsonl", '{"session_id":"q","type":"system","subtype":"init"}', "what `claude -p` printed"),
        ("a.jsonl", '{"type":"thread.started","thread_id":"q"}', "what `codex exec` printed"),
        (
            "a.jsonl",
            '{"type":"message","role":"user","content":"hi"}\n{"type":"init","session_id":"q","model":"m"}',
            "what `gemini` printed",
        ),
        ("a.jsonl", '{"type":"session_start","title":"x","owner":"ada","version":2}', "Droid"),
        ("a.jsonl", '{"role":"user","message":{"content":[{"type":"text","text":"hi"}]}}', "Cursor"),
        ("a.jsonl", '{"type":"session","version":3,"cwd":"/home/ada"}', "no format is recognised"),
        ("a.jsonl", '{"record_type":"metrics","value":1}', "no format is recognised"),
        ("a.jsonl", '{"sessionId":"q","memoryFileName":"x"}', "no format is recognised"),
        ("a.jsonl", '{\n "pretty": "printed"\n}\n', "no line of it is JSON"),
        ("a.jsonl", '{"something":"else"}\n', "no format is recognised"),
    ],
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_a_format_that_is_not_read_is_named(tmp_path, name, text, reason, as_folder):
    (tmp_path / name).write_text(text)
    with pytest.raises(Skipped) as refused:
        sources(tmp_path if as_folder else tmp_path / name, "auto")
    assert reason in str(refused.value)
    assert str(refused.value).count("--format") == ("no format" in reason or as_folder)


@pytest.mark.parametrize("name", ["notes.json", "notes.txt", "notes.JSONL", "notes.jsonl.bak", "notes"])
def test_a_file_that_a_person_names_may_end_as_it_likes(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"{CLAUDE_USER}\r\n")
    assert (only_session(path)[0], sources(path, "auto")[0]) == ("claude", ["claude"])
    path.write_text('{"messages": [{"role": "user", "content": "hi"}], "agent": "x", "id": "y"}')
    assert only_session(path)[0] == "original"


OPENCODE = (
    '{"info": {"id": "ses_1", "projectID": "p"}, "messages": [{"info": {"role": "user", "agent": "build"},'
    ' "parts": [{"type": "text", "text": "hi"}]}]}'
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (OPENCODE, "opencode"),
        ('{"id": "y", "agent": "x", "messages": [{"role": "user", "content": "hi"}]}', "original"),
        (f'{{"session": {{"id": "s"}}, "items": [{CODEX_ITEM}]}}', "codex"),
        (f'{{"sessionId": "g", "projectHash": "h", "messages": [{GEMINI_USER}]}}', "gemini"),
        (CLAUDE_USER, "claude"),
    ],
)
def test_a_byte_order_mark_stands_in_no_ones_way(tmp_path, text, wanted):
    path = tmp_path / "x.json"
    path.write_text(text, "utf-8-sig")
    format_name, session = only_session(path)
    assert (format_name, texts(session)) == (wanted, [("user", "hi")])


@pytest.mark.parametrize(
    "text",
    [
        f"Exporting session: ses_1\n{OPENCODE}",
        OPENCODE.replace("projectID", "other"),
        '{"model": "m", "messages": [{"role": "user", "content": "hi"}]}',
        '{"id": "c", "messages": [{"role": "user", "content": "hi"}], "format": "openai"}',
        '[{"participants": [1, 2], "messages": [{"login": "ada", "text": "hi"}]}]',
    ],
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_a_list_of_messages_alone_is_no_session_of_ours(tmp_path, text, as_folder):
    path = tmp_path / "chat.json"
    path.write_text(text)
    with pytest.raises(Skipped, match="no f"):
        sources(tmp_path if as_folder else path, "auto")


def test_a_session_of_one_very_long_line(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(CLAUDE_USER.replace("hi", "hi" * 1_000_000))
    assert only_session(path)[0] == "claude"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (CLAUDE_USER.encode("utf-16"), "UTF-16"),
        (b'["no object"]\n', "no format is recognised"),
        (b"no JSON", "no line of it is JSON"),
        (b"PK\x03\x04", "not a zip that can be read"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path, data, reason):
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    with pytest.raises(Skipped, match=reason):
        sources(path, "auto")


def test_a_file_of_another_format_than_the_named_one(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(CODEX_USER)
    _, [source] = sources(path, "claude")
    with pytest.raises(Skipped, match="it is of codex, not of claude"):
        source.read(LIMITS)


def test_where_there_is_nothing_it_is_said(tmp_path):
    llm_database.old(tmp_path / "logs.db", {})
    (tmp_path / "conversations.json").write_text("[]")
    for name, wanted in (("logs.db", "auto"), ("logs.db", "llm"), ("conversations.json", "chatgpt")):
        with pytest.raises(Skipped, match="no conversations"):
            sources(tmp_path / name, wanted)
    with pytest.raises(Skipped, match=r"ends with .yaml or .yml"):
        sources(tmp_path, "aichat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Skipped, match=r"no file is in it whose name ends with .*\.jsonl or") as reason:
        sources(tmp_path / "empty", "auto")
    assert "--format" not in str(reason.value)  # which could not help


def test_what_claude_code_notes_of_a_workflow_is_passed_over(tmp_path):
    transcript = {"type": "user", "sessionId": "s", "message": {"role": "user", "content": "sail"}}
    (tmp_path / "s.jsonl").write_text(json.dumps(transcript))
    started = {"type": "started", "key": "v2:5b36", "agentId": "a9918ee1"}
    (tmp_path / "journal.jsonl").write_text(json.dumps(started))
    assert [source.key for source in sources(tmp_path, "auto")[1]] == ["s.jsonl"]


def test_a_folder_of_several_programs_is_read_as_all_of_them(tmp_path):
    for name in ("claude", "codex", "aichat"):
        shutil.copytree(DATA / name, tmp_path / name)
    llm_database.old(tmp_path / "a.db", {"01a": [("hi", "hello")]})
    llm_database.old(tmp_path / "b.db", {"01a": [("hi", "hello")]})
    (tmp_path / "package.json").write_text('{"name":"x","dependencies":{}}')
    (tmp_path / "foreign.jsonl").write_text('{"message":{"role":"user","parts":[{"text":"x"}]}}\n')
    formats, listed = sources(tmp_path, "auto")
    assert formats == ["aichat", "claude", "codex", "llm"]
    assert len({source.key for source in listed}) == len(listed) == 9
    assert [source.key for source in listed if source.problem] == ["foreign.jsonl"]


def test_a_table_of_conversations_alone_is_not_llms_log(tmp_path):
    with sqlite3.connect(tmp_path / "chats.db") as database:
        database.execute("CREATE TABLE conversations (id TEXT, name TEXT)")
    database.close()
    with pytest.raises(Skipped, match="not a log of llm's"):
        sources(tmp_path / "chats.db", "llm")
    with pytest.raises(Skipped, match="no format is recognised"):
        sources(tmp_path / "chats.db", "auto")

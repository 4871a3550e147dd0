"""Every format's reader: what it makes of real samples, and that arbitrary bytes are at worst skipped."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import llm_database

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import aichat, base, files, llm, original, port42, sqlite_file, values
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import LINE_READERS, sources
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import Message, Reference

LIMITS = SessionsConfig()
DATA = Path(__file__).parents[3] / "data" / "imports"
CLAUDE = "projects/-home-ada-parser/0205f437-f816-4704-b6f3-9cf7b060888c.jsonl"


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


def messages(session):
    return [record for record in session.records if isinstance(record, Message)]


def read(source):
    """The source's own session."""
    return source.read(LIMITS)[0]


def only_session(path, wanted="auto"):
    """The only session there, and the format it is in."""
    [format_name], [source] = sources(path, wanted)
    return format_name, read(source)


def test_a_file_of_claude_code():
    [format_name], [main, agent] = sources(DATA / "claude", "auto")
    session = read(main)
    assert (format_name, main.key) == ("claude", CLAUDE)
    assert texts(session) == [
        ("user", "build a parser"),
        ("assistant", "I begin with the tokenizer."),
        ("assistant", "Done: `tokens.py` has the tokenizer."),
        ("user", "and now tests\n\n[image]"),
    ]
    assert (session.info.source_id, session.info.title) == (Path(CLAUDE).stem, "A parser for arithmetic")
    assert (session.info.cwd, session.info.created_at) == ("/home/ada/parser", "2026-01-15T10:00:01.079Z")
    turn = messages(session)[1].turn
    assert (turn.model, turn.input_tokens, turn.output_tokens) == ("claude-sonnet-4-5", 1264, 80)
    assert [place for place, _ in session.problems] == ["line 12"]
    assert read(agent).info.parent == session.info.source_id


def test_codex_of_the_newer_and_the_older_format():
    [format_name], [old, new] = sources(DATA / "codex", "auto")
    assert format_name == "codex"
    assert texts(read(new)) == [("user", "what is 2+2?"), ("assistant", "4")]
    assert messages(read(new))[1].turn.model == "gpt-5-codex"
    assert read(new).info.source_id == "019a2d7a-41c4-78b1-b7cc-a45d62a89cd5"
    assert texts(read(old)) == [("user", "an older rollout"), ("assistant", "has no times of its own")]
    assert messages(read(old))[1].timestamp == "2025-06-01T08:00:00.000Z"


def test_aichat_and_an_agents_session_of_the_same_name():
    [format_name], [coder, plain] = sources(DATA / "aichat", "auto")
    assert format_name == "aichat"
    assert texts(read(plain)) == [
        ("system", "You are terse."),
        ("user", "name a colour"),
        ("assistant", "Teal.\n\nIt is calm."),
        ("user", "and this one?\n\n[image]"),
    ]
    assert read(plain).problems == [("message 5", "it has no role that is known")]
    assert (read(coder).info.source_id, read(plain).info.source_id) == ("coder/refactoring", "refactoring")


def test_the_original_bare_and_in_its_object_store(tmp_path):
    bare = DATA / "original" / "cli-1757350466684.json"
    format_name, session = only_session(bare)
    assert (format_name, session.info.agent, session.info.source_id) == (
        "original",
        "ai-engineer",
        "cli-1757350466684",
    )
    assert texts(session) == [("user", "build a parser"), ("assistant", "I have built it.")]
    assert session.info.created_at == "2025-09-08T16:54:26.684Z"
    digest = "ab" * 32
    stored = tmp_path / "objects" / digest[:2] / digest[2:4] / digest[4:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(bare.read_bytes())
    references = {"cli-1": {"object_id": digest}, "cli-2": {"object_id": "../../../etc/passwd"}, "cli-3": 7}
    (tmp_path / original.INDEX).write_text(json.dumps({"sessions": references, "last_sessions": {}}))
    for path in (tmp_path, tmp_path / original.INDEX):
        [format_name], [good, escaping, broken] = sources(path, "auto")
        assert (format_name, texts(read(good))) == ("original", texts(session))
        for source in (escaping, broken):
            with pytest.raises(Skipped, match="object_id"):
                read(source)


def test_llm_old_and_new(tmp_path):
    llm_database.old(tmp_path / "logs.db", {"01a": [("hi", "hello"), ("again", "yes")], "01b": [("x", "y")]})
    [format_name], [first, _] = sources(tmp_path, "auto")
    session = read(first)
    assert (format_name, session.info.title) == ("llm", "about 01a")
    assert texts(session) == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "again"),
        ("assistant", "yes"),
    ]
    assert (messages(session)[2].turn.model, messages(session)[2].turn.total_ms) == ("m", 900)
    talk = [("system", "s"), ("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2")]
    llm_database.new(tmp_path / "new.db", "01c", talk)
    format_name, session = only_session(tmp_path / "new.db")
    assert (texts(session), session.info.title) == (talk, "a thread")


def test_another_programs_database_is_not_taken_for_one(tmp_path):
    with sqlite3.connect(tmp_path / "index.db") as database:
        database.execute("CREATE TABLE sessions (id TEXT)")
    database.close()
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "cli-1.json").write_bytes(HEAD.replace(b'"a"', b'"cli-1"') + b"]}\n")
    assert sources(tmp_path, "auto")[0] == ["port42"]


def test_a_query_that_does_not_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "_SECONDS", 0.2)
    path = tmp_path / "logs.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE VIEW responses AS WITH RECURSIVE n(conversation_id) AS (SELECT 1 UNION ALL"
            " SELECT conversation_id + 1 FROM n) SELECT conversation_id, '' AS prompt, '' AS response FROM n"
        )
    database.close()
    with pytest.raises(Skipped):
        sources(path, "llm")


def test_a_link_a_fifo_and_a_line_too_long_are_skipped(tmp_path, monkeypatch):
    real = tmp_path / "a.jsonl"
    real.write_text('{"sessionId":"x","type":"user","message":{"content":"hi"}}\n' + "x" * 300_001 + "\n")
    (tmp_path / "b.jsonl").symlink_to(real)
    os.mkfifo(tmp_path / "c.jsonl")
    monkeypatch.setattr(files, "LINE_BYTES", 300_000)
    _, [good, link, fifo] = sources(tmp_path, "auto")
    assert texts(read(good)) == [("user", "hi")]
    assert read(good).problems == [("line 2", "it is longer than 16 MiB")]
    with pytest.raises(Skipped, match="a symbolic link"):
        read(link)
    with pytest.raises(Skipped, match="not an ordinary file"):
        read(fifo)


def test_a_session_of_too_much_and_a_message_too_long(monkeypatch):
    document = base.Document("original", "x", LIMITS)
    document.message("", "user", "é" * (values.MESSAGE_BYTES // 2 + 1), None, "line 3")
    assert document.state.problems[0][0] == "line 3"
    monkeypatch.setattr(base, "SESSION_BYTES", 10)
    document.message("", "user", "12345", None)
    with pytest.raises(Skipped, match="more than 10"):
        document.message("", "user", "123456", None)


def test_further_problems_are_counted():
    document = base.Document("original", "x", LIMITS)
    document.message("", "user", "hi", None)
    for number in range(50):
        document.problem(f"line {number}", "bad")
    [session] = document.finished()
    assert len(session.problems) == base.PROBLEMS + 1
    assert session.problems[-1] == ("", "30 more pieces that could not be read")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("2025-09-08T18:54:26.684123456+02:00", "2025-09-08T16:54:26.684Z"),
        ("2026-01-15 10:00:00.5", "2026-01-15T10:00:00.500Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        (1e300, None),
        (float("nan"), None),
        (True, None),
        ("yesterday", None),
        (None, None),
        ("1" * 100, None),
    ],
)
def test_timestamps(value, kept):
    assert values.timestamp_of(value) == kept


# --- hostile --------------------------------------------------------------------------------------

WORDS = (
    "type message content role text timestamp payload id model usage messages format agent created_at"
    " client seq sessions object_id turn references uuid sessionId isMeta isSidechain isApiErrorMessage error"
    " operation attachment prompt commandMode leafUuid customTitle cwd source info total_token_usage parts"
    " input output name arguments call_id tool_use_id toolUseResult summary action thinking todos task taskId"
    " statusChange plan step status subject path newText uri data resource blocks"
    " messageUuid forkedFrom agentId"
)
KINDS = (
    "user assistant summary session_meta response_item message turn_context queue-operation attachment"
    " custom-title event_msg token_count queued_command enqueue remove tool_use tool_result thinking text"
    " image function_call function_call_output local_shell_call reasoning compacted diff content resource"
    " TodoWrite TaskCreate update_plan apply_patch"
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS.split()), inner | st.sampled_from(KINDS.split()), max_size=5)
    ),
    max_leaves=15,
)
ENTRY = st.builds(
    lambda entry, kind: {**entry, "type": kind} if isinstance(entry, dict) else entry,
    JSON,
    st.sampled_from(KINDS.split()) | JSON,
)
LINE = st.one_of(st.binary(max_size=60), ENTRY.map(lambda entry: json.dumps(entry).encode()))
READERS = {
    **{
        name: lambda data, reader=reader: read_whole(reader("x", LIMITS), data.split(b"\n"))
        for name, reader in LINE_READERS.items()
    },
    "port42": lambda data: port42.read(data.split(b"\n")),
    "original": lambda data: original.read([data], LIMITS),
    "index": original.object_paths,
    "aichat": lambda data: aichat.read(data, "x", 0.0, LIMITS),
}
HEAD = b'{"format":1,"id":"a","agent":"b","client":"c","created_at":"2026-01-15T10:00:00.000Z","messages":[\n'


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@settings(max_examples=60)
@given(lines=st.lists(LINE, max_size=5), before=st.sampled_from([b"", HEAD, b"messages:\n- "]))
def test_arbitrary_bytes_are_read_or_skipped(reader, lines, before):
    try:
        sessions = reader(before + b"\n".join(lines))
    except Skipped:
        return
    for session in sessions if isinstance(sessions, list) else ():
        for record in session.records:
            assert values.timestamp_of(record.timestamp) == record.timestamp
            assert not isinstance(record, Message) or isinstance(record.content, str)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"messages: " + b"[" * 100_000,
        b"- " * 50_000,
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nmessages: [*c,*c]\nmodel: m\n",
        b"\xff\xfe\x00",
        b"",
        b'{"messages":[{"role":"user","content":"\\ud800 lone"}],"id":"x"}',
        b"messages: [{role: user, content: 2026-13-45}]",
        b"!!python/object/apply:os.system ['touch /tmp/owned']",
    ],
)  # fmt: skip
def test_what_is_made_to_break_readers_does_not(reader, data):
    with contextlib.suppress(Skipped):
        reader(data)


@settings(max_examples=30)
@given(data=st.binary(max_size=300), at=st.integers(0, 8000))
def test_a_database_with_other_bytes_in_it(tmp_path_factory, data, at):
    path = tmp_path_factory.mktemp("llm") / "logs.db"
    llm_database.old(path, {"01a": [("hi", "hello")]})
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)
    with contextlib.suppress(Skipped):
        for identity in llm.conversations(path):
            assert llm.read(path, identity, LIMITS)[0].records


# --- llm and aichat -------------------------------------------------------------------------------


def test_a_conversation_from_before_and_after_llms_upgrade_is_whole(tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"01a": [("one", "1"), ("two", "2")]})
    talk = [("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"), ("user", "three")]
    llm_database.new(path, "01a", [*talk, ("assistant", "3")], older=4)
    _, session = only_session(path)
    assert texts(session) == [*talk, ("assistant", "3")]
    assert session.info.title == "about 01a"
    assert [record.turn.total_ms for record in messages(session)[1::2]] == [900, 900, 0], (
        "the older ones' own"
    )


def test_a_fragment_is_a_reference_and_an_attachment_a_placeholder(tmp_path):
    path = tmp_path / "logs.db"
    llm_database.new(path, "01a", [("user", ""), ("assistant", "yes"), ("user", "look"), ("assistant", "so")])
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO fragments VALUES (7, 'h', 'the manual', '/home/ada/manual.txt')")
        database.execute("INSERT INTO fragments VALUES (9, 'i', ?, 'https://a.example')", ("x" * 300_000,))
        pieces = [{"fragment": 7}, {"literal": "\nWhen?"}, {"fragment": 8}, {"fragment": 9}, {"fragment": []}]
        payload = json.dumps({"text_ref": pieces})
        database.execute("UPDATE parts SET text = NULL, payload = ? WHERE message_hash = 'h1'", (payload,))
        database.execute("INSERT INTO parts (message_hash, position, type) VALUES ('h3', 1, 'attachment')")
    database.close()
    _, session = only_session(path)
    assert texts(session)[::2] == [("user", "When?"), ("user", "look\n\n[attachment]")]
    manual = Reference("file", "/home/ada/manual.txt", "the manual")
    assert next(iter(session.records)).references == (manual, Reference("url", "https://a.example"))


def test_what_aichats_assistant_said_before_a_tool_call():
    text = (
        "model: m\nmessages:\n- role: user\n  content: warm?\n- role: tool\n  content:\n    text: I look.\n"
    )
    assert texts(aichat.read(text.encode(), "x", 0, LIMITS)[0]) == [
        ("user", "warm?"),
        ("assistant", "I look."),
    ]

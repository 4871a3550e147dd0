"""A session's file read whole: edits are noticed, and nothing is changed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from peers.session_files import header, said

from port42_daemon.store.check.verify import NewerFormat, NotASession, inspect, owner
from port42_daemon.store.interface import ENDED
from port42_daemon.store.session_file.document import Damaged, compose, grow, numbered
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    replace,
)

REPLY = AssistantMessage(
    seq=0,
    content="yes",
    timestamp="2026-01-01T00:00:02.000Z",
    status="complete",
    turn=TurnRecord(backend="llm", input_tokens=3),
)
RECORDS = [
    said("build a parser"),
    REPLY,
    EventRecord(seq=0, event=ENDED, timestamp="2026-01-01T00:00:03.000Z"),
    said("]\n},"),
]


def session(records=RECORDS) -> bytes:
    return compose(header("cli-1"), [numbered(record, seq) for seq, record in enumerate(records, 1)])[0]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cli-1.json"
    path.write_bytes(session())
    return path


def test_a_whole_session_is_whole_however_it_grew(path):
    inspect(path, "cli-1")
    data, document = compose(header("cli-1"), ())
    for records in ([RECORDS[0]], RECORDS[1:3], [RECORDS[3]] * 40):
        growth = grow(document, records)
        data, document = data[: growth.offset] + growth.data, growth.document
        path.write_bytes(data)
        inspect(path, "cli-1")


def test_activities_are_checked(path):
    tool = ToolRecord(seq=0, timestamp="2026-01-01T00:00:02.000Z", id="t", title="ls", state="done")
    thought = ThoughtRecord(seq=0, timestamp="2026-01-01T00:00:02.000Z", content="Hm")
    whole = session([said("look"), tool, thought, REPLY])
    path.write_bytes(whole)
    assert inspect(path, "cli-1") is None
    path.write_bytes(whole.replace(b'"title":"ls"', b'"title":ls'))
    with pytest.raises(Damaged, match="line 3 is not a record"):
        inspect(path, "cli-1")
    path.write_bytes(whole.replace(b'"content":"Hm"', b'"content":"H"'))  # no footer knows it
    assert inspect(path, "cli-1") is None


def test_a_gap_between_seqs_is_no_damage(path):
    kept = [numbered(record, seq) for seq, record in ((1, RECORDS[0]), (4, RECORDS[3]))]
    path.write_bytes(compose(header("cli-1"), kept)[0])
    inspect(path, "cli-1")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b'"message_count":3', b'"message_count":4', "its footer does not say what its lines do"),
        (b'"state":"active"', b'"state":"ended"', "its footer does not say"),
        (b'],"title":"build a parser"', b'],"title":"steal it"', "its footer does not say"),
        (b'"content":"yes"', b'"content":yes', "line 3 is not a record"),
        (b'{"seq":2,', b'{"seq":1,', "line 3 has the seq 1 behind 1"),
        (b'{"seq":3,', b'{"seq":9,', "line 5 has the seq 4 behind 9"),
        (b'},\n{"seq":2,', b'}\n{"seq":2,', "no comma stands before line 3"),
        (b'}\n],"title"', b'},\n],"title"', "a comma stands before its footer"),
        (b'"last_seq":4', b'"last_seq":5', "the footer counts 5 records"),
    ],
)
def test_an_edit_is_named(path, before, after, said):
    assert path.read_bytes().count(before) == 1
    path.write_bytes(path.read_bytes().replace(before, after))
    changed = path.read_bytes()
    with pytest.raises(Damaged, match=said):
        inspect(path, "cli-1")
    assert path.read_bytes() == changed


@settings(max_examples=60)
@given(data=st.data())
def test_no_line_can_be_cut_without_notice(path, data):
    """Any cut at the end of the file, and any lost line that held a message, is seen."""
    whole = session()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:cut])
    with pytest.raises((Damaged, NotASession)):
        inspect(path, "cli-1")
    lines = whole.split(b"\n")
    lost = data.draw(st.sampled_from([1, 2, 4]))
    path.write_bytes(b"\n".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(Damaged):
        inspect(path, "cli-1")


def test_a_file_that_is_not_that_session_is_refused(path):
    with pytest.raises(NotASession, match="its first line says that it is cli-1"):
        inspect(path, "cli-2")
    path.write_bytes(b'{"format":2,"id":"cli-1"}\n')
    with pytest.raises(NewerFormat, match="its format is 2, this version reads 1"):
        inspect(path, "cli-1")
    for junk in (b"", b"{}", b"[]\n", b'{"format":"2"}\n', b"\xff\xfe\n", b'{"format":1,"messages":[\n'):
        path.write_bytes(junk)
        with pytest.raises(NotASession) as caught:
            inspect(path, "cli-1")
        assert not isinstance(caught.value, NewerFormat)


def test_a_fifo_and_a_link_are_refused(path, tmp_path):
    os.mkfifo(tmp_path / "cli-2.json")
    with pytest.raises(NotASession, match="not a file"):
        inspect(tmp_path / "cli-2.json", "cli-2")
    (tmp_path / "cli-3.json").symlink_to(path)
    with pytest.raises(NotASession, match="it is a link"):
        inspect(tmp_path / "cli-3.json", "cli-3")


def test_the_owner_of_a_file(path, tmp_path):
    assert owner(path, "cli-1") == "ai-muse"
    assert owner(path, "cli-2") is None
    assert owner(tmp_path / "cli-9.json", "cli-9") is None
    path.write_bytes(b"junk")
    assert owner(path, "cli-1") is None


@pytest.mark.parametrize("time", ["yesterday", "", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "١"])
def test_an_invalid_time_is_odd_and_no_damage(tmp_path, time):
    path = tmp_path / "cli-1.json"
    path.write_bytes(compose(header("cli-1"), [numbered(replace(said("x"), timestamp=time), 1)])[0])
    assert inspect(path, "cli-1") == f"the time when record 1 was written is not one: {time!r}"
    path.write_bytes(compose(structs.replace(header("cli-1"), created_at=time), [])[0])
    assert inspect(path, "cli-1") == f"the time when it was created is not one: {time!r}"
    path.write_bytes(compose(header("cli-1"), [numbered(said("x"), 1)])[0])
    assert inspect(path, "cli-1") is None

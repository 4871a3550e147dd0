"""Records: one type for each role, `seq` first in their JSON, and one function that reads a line."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_protocol.codec import decode_result
from port42_protocol.messages.records import (
    ACTIVITIES,
    RECORDS,
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    Reference,
    Summary,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    UserMessage,
    convert_record,
    decode_record,
    encode_stored,
    replace,
)
from port42_protocol.messages.sessions import Transcript

AT = "2026-11-23T03:37:11.042Z"
TURN = TurnRecord(backend="llm", total_ms=3)
SHOWN = [
    UserMessage(seq=1, content="a", timestamp=AT, references=(Reference("text", "stdin", "b"),), key="k"),
    AssistantMessage(seq=2, content="b", timestamp=AT, status="complete", question=1, turn=TURN),
    RECORDS["system"](seq=3, content="c", timestamp=AT, author="ada"),
    ErrorMessage(seq=2**53, content="", timestamp=AT, kind="timeout", question=2),
    EventRecord(seq=5, event="tagged", timestamp=AT, tags=("x", "y")),
    ToolRecord(
        seq=6,
        timestamp=AT,
        id="call_1",
        name="Bash",
        title="ls",
        kind="execute",
        state="done",
        input='{"command":"ls \\"role\\":\\"event\\""}',
        output="a\nb",
        duration_ms=12,
        locations=(Location("/a/b.py", 3), Location("/c")),
        output_omitted=7,
        question=1,
    ),
    ThoughtRecord(seq=7, timestamp=AT, content="hm", author="ada"),
    PlanRecord(seq=8, timestamp=AT, entries=(PlanEntry("look", "completed"), PlanEntry("write"))),
    PermissionRecord(seq=9, timestamp=AT, title="rm x", kind="delete", options=("Yes", "No"), by="nobody"),
]


@pytest.mark.parametrize("record", SHOWN, ids=lambda record: record.role)
def test_a_line_begins_with_its_seq_and_comes_back(record: Record) -> None:
    line = msgspec.json.encode(record)
    assert line.startswith(b'{"seq":%d,"role":"%s",' % (record.seq, record.role.encode()))
    assert decode_record(line) == record
    assert type(decode_record(line)) is RECORDS[record.role]


@pytest.mark.parametrize("record", SHOWN, ids=lambda record: record.role)
@given(data=st.data())
def test_the_order_of_fields_and_white_space_make_no_difference(record: Record, data: st.DataObject) -> None:
    fields = list(msgspec.to_builtins(record).items())
    mixed = dict(data.draw(st.permutations(fields)))
    assert decode_record(msgspec.json.format(msgspec.json.encode(mixed))) == record
    assert convert_record(mixed) == record


@pytest.mark.parametrize("record", SHOWN, ids=lambda record: record.role)
@given(data=st.data())
def test_what_is_stored_comes_back_however_it_is_formatted(record: Record, data: st.DataObject) -> None:
    stored = encode_stored(record)
    assert stored.startswith(b'{"seq":%d,"role":"' % record.seq)
    assert decode_record(stored) == record
    mixed = dict(data.draw(st.permutations(list(msgspec.json.decode(stored).items()))))
    assert decode_record(msgspec.json.encode(mixed)) == record
    assert decode_record(msgspec.json.format(stored)) == record


def test_activities_are_stored_as_events_which_older_daemons_keep() -> None:
    for record in SHOWN:
        stored = msgspec.json.decode(encode_stored(record))
        if record.role in ACTIVITIES:
            assert (stored["role"], stored["event"]) == ("event", record.role)
        else:
            assert encode_stored(record) == msgspec.json.encode(record)


def test_a_role_in_a_text_is_not_the_records_own() -> None:
    line = b'{"content":"{\\"seq\\":1,\\"role\\":\\"event\\"","timestamp":"t","seq":1,"role":"user"}'
    assert isinstance(decode_record(line), UserMessage)


def test_an_event_of_a_newer_daemon_is_read_and_its_fields_are_passed_over() -> None:
    line = b'{"seq":1,"role":"event","event":"moved","timestamp":"t","to":["elsewhere"]}'
    assert decode_record(line) == EventRecord(seq=1, event="moved", timestamp="t")


def test_of_an_activity_that_an_older_daemon_rewrote_the_event_stays() -> None:
    for line in (
        b'{"seq":1,"role":"event","event":"plan","timestamp":"t"}',
        b'{"seq":1,"timestamp":"t","role":"event","event":"thought"}',
    ):
        assert isinstance(decode_record(line), EventRecord)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'{"seq":1}',
        b'{"seq":1,"role":"tool","content":"a","timestamp":"t"}',
        b'{"seq":1,"role":"tool","timestamp":"t"}',
        b'{"seq":1,"role":"moved","content":"a","timestamp":"t"}',
        b'{"seq":1,"role":"user","timestamp":"t"}',
        b'{"seq":1,"role":"event","timestamp":"t"}',
        b'{"seq":1,"role":"user","content":null,"timestamp":"t"}',
        b'{"seq":"1","role":"user","content":"a","timestamp":"t"}',
        b'{"seq":1,"role":"user","content":"a","timestamp":"t"',
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_record(line)


def test_a_result_has_each_record_as_its_own_type() -> None:
    session = Summary("cli-1", "a", None, "active", "t", "t", 0, None)
    transcript = Transcript(session, "cli", {}, tuple(SHOWN), None)
    assert decode_result(Transcript, msgspec.to_builtins(transcript)) == transcript


def test_replace_leaves_the_original_as_it_is() -> None:
    assert replace(SHOWN[0], seq=9).seq == 9
    assert SHOWN[0].seq == 1

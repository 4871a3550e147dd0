"""A session's bytes: valid after every append, summarised by their two ends, recovered when torn."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from port42_daemon.store.session_file import document as d
from port42_daemon.store.session_file.salvage import salvage
from port42_protocol.messages.records import MESSAGES, EventRecord, Record

TIMES = st.datetimes().map(lambda when: when.isoformat(timespec="milliseconds") + "Z")
WORDS = st.text(max_size=80).filter(lambda text: text.isprintable() or text)
CONTENTS = st.one_of(
    WORDS,
    st.sampled_from(["", "]", "],", "\n", '"]}\n', "\x00", "\u2028", "{", "é" * 70_000, "x" * 200_000]),
)
SPOKEN = st.one_of(
    *(
        st.builds(
            kind,
            seq=st.just(0),
            content=CONTENTS,
            timestamp=TIMES,
            key=st.one_of(st.just(UNSET), st.text(min_size=1, max_size=20)),
        )
        for kind in MESSAGES.values()
    )
)
EVENTS = st.builds(
    EventRecord,
    seq=st.just(0),
    event=st.sampled_from([d.ENDED, d.RESUMED, "something later"]),
    timestamp=TIMES,
)
RECORDS = st.one_of(SPOKEN, EVENTS)
HEADERS = st.builds(
    d.Header,
    id=st.just("cli-1"),
    agent=st.just("ai-muse"),
    created_at=TIMES,
    client=st.just("cli"),
    title=st.one_of(st.none(), st.text(min_size=1, max_size=200)),
    cwd=st.one_of(st.none(), st.just("/tmp/ä\n")),
    metadata=st.dictionaries(
        st.text(max_size=8), st.integers(-(2**53), 2**53) | st.text(max_size=8), max_size=3
    ),
)
HEADER = d.Header(id="cli-1", agent="ai-muse", created_at="2026-01-01T00:00:00.000Z", client="cli")


def said(content: str, role: str = "user", **more: str) -> Record:
    return MESSAGES[role](seq=0, content=content, timestamp="2026-01-01T00:00:01.000Z", **more)


def reader(data: bytes | bytearray) -> d.Read:
    return lambda offset, length: bytes(data[offset : offset + length])


def apply(data: bytearray, growth: d.Growth) -> None:
    """What one pwrite does to the file."""
    data[growth.offset : growth.offset + len(growth.data)] = growth.data


def grown(header: d.Header, appends: list[list[Record]]) -> tuple[bytearray, d.Document]:
    first, document = d.compose(header, [])
    data = bytearray(first)
    for records in appends:
        growth = d.grow(document, records)
        apply(data, growth)
        document = growth.document
    return data, document


def summary_by_hand(header: d.Header, records: list[dict]) -> dict:
    """The fold, implemented a second time."""
    messages = [record for record in records if record["role"] != "event"]
    state = "active"
    for record in records:
        state = ("ended" if record["event"] == "ended" else state) if record["role"] == "event" else "active"
    used = [
        record["timestamp"] for record in records if record["role"] != "event" or record["event"] == "resumed"
    ]
    return {
        "state": state,
        "last_activity": used[-1] if used else header.created_at,
        "message_count": sum(record["role"] in {"user", "assistant"} for record in messages),
        "last_seq": len(records),
    }


@settings(max_examples=60)
@given(HEADERS, st.lists(st.lists(RECORDS, min_size=1, max_size=3), max_size=8))
def test_any_appends_make_valid_json_with_their_records(header, appends):
    first, document = d.compose(header, [])
    data, expected = bytearray(first), []
    for records in appends:
        growth = d.grow(document, records)
        before = bytes(data)
        assert growth.undo == before[growth.offset :]
        assert growth.offset + len(growth.data) >= len(before), "an append would have to truncate"
        apply(data, growth)
        document = growth.document
        expected += records

        whole = json.loads(data)
        assert [record["seq"] for record in whole["messages"]] == list(range(1, len(expected) + 1))
        for kept, given_ in zip(whole["messages"], expected, strict=True):
            for field in ("role", "content", "event", "timestamp", "key"):
                assert kept.get(field, UNSET) == getattr(given_, field, UNSET)
        assert {name: whole[name] for name in ("state", "last_activity", "message_count", "last_seq")} == (
            summary_by_hand(header, whole["messages"])
        )
        assert d.load(reader(data), len(data)) == document
        assert document.size == len(data)


@settings(max_examples=60)
@given(HEADERS, st.lists(RECORDS, max_size=8), st.data())
def test_appending_in_any_portions_is_the_same_as_composing_at_once(header, records, data):
    cut = data.draw(st.integers(0, len(records)))
    placed = [d.numbered(record, seq) for seq, record in enumerate(records, 1)]
    composed, document = d.compose(header, placed[:cut])
    one_by_one = bytearray(composed)
    for record in records[cut:]:
        growth = d.grow(document, [record])
        apply(one_by_one, growth)
        document = growth.document
    at_once, whole = d.compose(header, placed)
    assert json.loads(one_by_one) == json.loads(at_once)
    assert document.footer == whole.footer
    assert document.summary == d.load(reader(one_by_one), len(one_by_one)).summary


@settings(max_examples=60)
@given(st.lists(RECORDS, max_size=5), st.lists(RECORDS, min_size=1, max_size=3))
def test_undoing_an_append_restores_the_bytes(before, more):
    data, document = grown(HEADER, [before] if before else [])
    kept = bytes(data)
    growth = d.grow(document, more)
    apply(data, growth)
    data[growth.offset : growth.offset + len(growth.undo)] = growth.undo
    del data[growth.offset + len(growth.undo) :]
    assert data == kept


@pytest.mark.parametrize(
    "lengths",
    [
        [],
        [1],
        [1] * 3000,
        [300_000],
        [1, 300_000, 1],
        [200_000, 1, 200_000],
        [70_000] * 6,
        [1] * 700 + [150_000] + [1] * 700,
        [65_400, 65_536, 65_600, 10, 131_072, 3],
    ],
)
def test_reading_after_a_seq_gives_what_a_scan_gives(lengths):
    records = [d.numbered(said("x" * length), seq) for seq, length in enumerate(lengths, 1)]
    data, document = d.compose(HEADER, records)
    read = reader(data)
    several = (
        range(len(records) + 2)
        if len(records) < 100
        else [0, 1, 2, 699, 700, 701, 702, 1399, 1400, 2999, 3001]
    )
    for after_seq in several:
        seqs = [record.seq for record, _ in d.records(read, document, after_seq)]
        assert seqs == [record.seq for record in records if record.seq > after_seq], after_seq


@settings(max_examples=40)
@given(st.lists(st.integers(0, 90_000), max_size=14), st.integers(0, 16))
def test_reading_after_any_seq_of_any_document(lengths, after_seq):
    data, document = grown(HEADER, [[said("y" * length)] for length in lengths])
    seqs = [record.seq for record, _ in d.records(reader(data), document, after_seq)]
    assert seqs == list(range(after_seq + 1, len(lengths) + 1))


def test_reading_after_a_seq_does_not_read_the_whole_file():
    records = [d.numbered(said("x" * 1000), seq) for seq in range(1, 10_001)]
    data, document = d.compose(HEADER, records)
    bytes_read = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal bytes_read
        part = data[offset : offset + length]
        bytes_read += len(part)
        return part

    record, _ = next(d.records(read, document, 9_999))
    assert record.seq == 10_000
    assert bytes_read < len(data) / 5


def test_a_reader_is_not_disturbed_by_an_append_that_runs_meanwhile():
    data, document = grown(HEADER, [[said("one")], [said("two")]])
    growth = d.grow(document, [said("three")])
    apply(data, growth)
    assert [record.content for record, _ in d.records(reader(data), document, 0)] == ["one", "two"]


def test_the_summary_is_read_from_the_two_ends_alone():
    records = [d.numbered(said("x" * 1000), seq) for seq in range(1, 5001)]
    data, document = d.compose(HEADER, records)
    middle = range(200_000, len(data) - 200_000)

    def read(offset: int, length: int) -> bytes:
        assert offset not in middle
        assert offset + min(length, len(data) - offset) not in middle
        return data[offset : offset + length]

    assert d.load(read, len(data)) == document


SAMPLE = [
    [said("build a parser\nin C")],
    [said("ja, ü", role="assistant")],
    [EventRecord(seq=0, event=d.ENDED, timestamp="2026-01-01T00:00:02.000Z")],
    [said("and a lexer", key="k-1"), said("done ]", role="assistant")],
]


def test_a_file_cut_at_any_byte_loses_only_the_torn_record():
    data, document = grown(HEADER, SAMPLE)
    original = [record for record, _ in d.records(reader(data), document, 0)]
    ends = [data.index(b"\n", document.records_at)]
    while ends[-1] + 1 < document.footer_at:
        ends.append(data.index(b"\n", ends[-1] + 1))
    for cut in range(document.records_at, len(data)):
        torn = bytes(data[:cut])
        with pytest.raises(d.Damaged):
            d.load(reader(torn), cut)
        header, kept, lost = salvage(torn)
        # A record's own bytes end before the comma, or the newline of the last one.
        whole = sum(cut >= end - (end + 1 < document.footer_at) for end in ends)
        assert header == HEADER
        assert kept == original[:whole], cut
        assert lost <= 1
        composed, again = d.compose(header, kept)
        assert d.load(reader(composed), len(composed)) == again
        json.loads(composed)


def test_a_file_cut_in_its_header_cannot_be_recovered():
    data, document = grown(HEADER, SAMPLE)
    for cut in range(document.records_at - 1):
        for attempt in (lambda torn: d.load(reader(torn), len(torn)), salvage):
            with pytest.raises(d.Damaged):
                attempt(bytes(data[:cut]))


def test_a_torn_append_loses_no_record_before_it():
    """Of the one write, any number of bytes reached the disk."""
    data, document = grown(HEADER, SAMPLE)
    before = [record for record, _ in d.records(reader(data), document, 0)]
    growth = d.grow(document, [said("new one"), said("new two", role="assistant")])
    for written in range(1, len(growth.data)):
        torn = bytearray(data)
        torn[growth.offset : growth.offset + written] = growth.data[:written]
        try:
            d.load(reader(torn), len(torn))
        except d.Damaged:
            kept = salvage(bytes(torn))[1]
        else:
            kept = [record for record, _ in d.records(reader(torn), d.load(reader(torn), len(torn)), 0)]
        assert kept[: len(before)] == before
        assert [record.content for record in kept[len(before) :]] == ["new one", "new two"][
            : len(kept) - len(before)
        ]


def test_an_append_written_out_of_order_is_noticed_and_loses_no_record_before_it():
    """After a power cut the end of the one write can be on the disk without its beginning."""
    data, document = grown(HEADER, SAMPLE)
    before = [record for record, _ in d.records(reader(data), document, 0)]
    growth = d.grow(document, [said("new")])
    for missing in range(1, len(growth.data)):
        torn = bytearray(data)
        apply(torn, growth)
        stood = (growth.undo + bytes(len(growth.data)))[:missing]
        torn[growth.offset : growth.offset + missing] = stood
        try:
            loaded = d.load(reader(torn), len(torn))
        except d.Damaged:
            assert salvage(bytes(torn))[1][: len(before)] == before
        else:
            assert json.loads(torn)["messages"][-1]["content"] == "new"
            assert loaded.footer.last_seq == 6


def test_zeros_in_place_of_the_tail_cost_no_other_record():
    """Some file systems leave zeros where the length reached the disk and the bytes did not."""
    data, document = grown(HEADER, SAMPLE)
    for start in range(document.records_at, len(data), 7):
        torn = bytes(data[:start]) + bytes(len(data) - start)
        with pytest.raises(d.Damaged):
            d.load(reader(torn), len(torn))
        _, kept, _ = salvage(torn)
        assert [record.seq for record in kept] == list(range(1, len(kept) + 1))


def read_all(data: bytes) -> None:
    document = d.load(reader(data), len(data))
    list(d.records(reader(data), document, 0))
    list(d.records(reader(data), document, 2))


@settings(max_examples=80)
@given(st.data())
def test_changed_bytes_raise_damaged_only(data):
    mangled, _ = grown(HEADER, SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mangled)))
        replaced = data.draw(st.integers(0, 20))
        mangled[place : place + replaced] = data.draw(st.binary(max_size=20))
    for attempt in (read_all, salvage):
        with contextlib.suppress(d.Damaged):
            attempt(bytes(mangled))


@pytest.mark.parametrize("replacement", [b"", b"\x00", b"]", b"\n", b"9", b'"', b"{", b"\xff", b" "])
def test_one_byte_removed_or_changed_raises_damaged_only(replacement):
    data, _ = grown(HEADER, SAMPLE)
    for place in range(len(data)):
        mangled = bytes(data[:place] + replacement + data[place + 1 :])
        for attempt in (read_all, salvage):
            with contextlib.suppress(d.Damaged):
                attempt(mangled)


@settings(max_examples=80)
@given(st.binary(max_size=400))
def test_any_bytes_raise_damaged_only(data):
    for attempt in (read_all, salvage):
        with pytest.raises(d.Damaged):
            attempt(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_brackets_without_end_are_damage(opening):
    data, document = grown(HEADER, SAMPLE)
    deep = opening * 100_000
    head = bytes(data[: document.records_at - len(b',"messages":[\n')])
    in_header = head.replace(b'"metadata":{}', b'"metadata":{"x":' + deep) + b',"messages":[\n'
    in_record = (
        bytes(data[: document.records_at]) + b'{"seq":1,"role":"user","timestamp":"","x":' + deep + b"\n"
    )
    in_footer = bytes(data[: document.footer_at]) + b'],"x":' + deep + b"\n"
    for bad in (in_header, in_record, in_footer):
        with pytest.raises(d.Damaged):
            read_all(bad)


def test_one_wrong_digit_in_a_seq_does_not_cost_the_records_after_it():
    data, _ = grown(HEADER, [[said(str(number))] for number in range(1, 9)])
    flipped = bytes(data).replace(b'{"seq":3,', b'{"seq":9,')[:-3]
    _, kept, lost = salvage(flipped)
    assert [record.content for record in kept if record.seq != 9] == ["1", "2", "4", "5", "6", "7", "8"]
    assert lost <= 1


def test_a_newer_format_is_not_touched():
    data, _ = d.compose(structs.replace(HEADER, format=2), [])
    for attempt in (lambda: d.load(reader(data), len(data)), lambda: salvage(data)):
        with pytest.raises(d.Damaged, match="has format 2, this port42d reads 1; a newer one wrote it"):
            attempt()


def test_a_footer_with_wrong_counts_is_damage():
    data, document = grown(HEADER, SAMPLE)
    lying = bytes(data).replace(b'"last_seq":5', b'"last_seq":4')
    with pytest.raises(d.Damaged, match="counts 4 records, the last line is 5"):
        d.load(reader(lying), len(lying))
    _, kept, lost = salvage(lying)
    assert (len(kept), lost) == (5, 0)
    assert document.footer.last_seq == 5


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("build a parser", "build a parser"),
        ("\n\n  first \t line \nsecond", "first line"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("[image]\n\nLook at the picture.", "Look at the picture."),
        ("[image/png]\n[document]", "[image/png]"),
        ("[1] is a footnote", "[1] is a footnote"),
        (" \n\t\r\n", None),
        ("", None),
    ],
)
def test_the_title_is_the_first_printable_line(content, title):
    _, document = grown(HEADER, [[said(content)]])
    assert document.summary.title == title


def test_a_title_given_at_creation_or_taken_from_a_message_stays():
    _, named = grown(structs.replace(HEADER, title="mine"), [[said("yours")]])
    assert named.summary.title == "mine"
    _, untitled = grown(
        HEADER, [[said("I, the assistant", role="assistant")], [said("first")], [said("second")]]
    )
    assert untitled.summary.title == "first"


def test_ended_is_no_use_resumed_is_one_and_a_message_makes_active():
    def event(name: str, when: str) -> Record:
        return EventRecord(seq=0, event=name, timestamp=when)

    _, ended = grown(HEADER, [[said("a")], [event(d.ENDED, "2026-02-02T00:00:00.000Z")]])
    assert (ended.summary.state, ended.summary.last_activity) == ("ended", "2026-01-01T00:00:01.000Z")
    resumed = d.grow(ended, [event(d.RESUMED, "2026-03-03T00:00:00.000Z")]).document
    assert (resumed.summary.state, resumed.summary.last_activity) == ("ended", "2026-03-03T00:00:00.000Z")
    again = d.grow(resumed, [said("b")]).document
    assert (again.summary.state, again.summary.message_count) == ("active", 2)


def test_a_document_that_shrinks_under_its_reader_is_damage():
    data, document = grown(HEADER, SAMPLE)
    short = bytes(data[: document.records_at + 10])
    with pytest.raises(d.Damaged, match="ends before its footer"):
        list(d.lines(reader(short), document, 0))

"""The store's contract: what brings sessions to another machine."""

from __future__ import annotations

import pytest
from msgspec import structs
from peers.session_files import add, trash
from peers.stores import at, contents, event, header, read, said, searched

from port42_daemon.store.interface import RENAMED
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.records import decode_record, replace

ALL = 2**62


def test_lines_are_the_records_as_they_are_stored_wherever_the_session_is(store):
    store.create(header("cli-1"), [said("one"), said("two"), event(RENAMED)])
    lines = store.lines("cli-1", 0, ALL)
    assert [decode_record(line) for _, line in lines.lines] == read(store, "cli-1", events=True)[0]
    assert [seq for seq, _ in lines.lines] == [1, 2, 3]
    assert lines.header == store.ends("cli-1")[0]
    assert (lines.footer.last_seq, lines.trashed, lines.complete) == (3, False, True)
    trash(store, "cli-1")
    assert store.lines("cli-1", 0, ALL) == structs.replace(lines, trashed=True)
    with pytest.raises(SessionNotFound):
        store.lines("cli-2", 0, ALL)


def test_lines_come_in_pieces_of_one_at_least(store):
    store.create(header("cli-1"), [said(f"message {number}") for number in range(300)])
    seqs, after, complete = [], 0, False
    while not complete:
        piece = store.lines("cli-1", after, 5000 if seqs else 1)
        seqs += [seq for seq, _ in piece.lines]
        assert len(piece.lines) == 1 or sum(len(line) for _, line in piece.lines) <= 5000
        after, complete = seqs[-1], piece.complete
    assert seqs == list(range(1, 301))
    assert store.lines("cli-1", 300, ALL).lines == []


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_splice_replaces_the_end_of_a_session(store, restartable, kept):
    store.create(header("cli-1"), [said("one"), said("two"), said("three"), event(RENAMED)])
    later = [replace(said(f"other {seq}", second=9), seq=seq) for seq in range(kept + 1, kept + 4)]
    summary = store.splice("cli-1", kept, later, used_at=1234)
    expected = ["one", "two", "three"][:kept] + [record.content for record in later]
    assert contents(store, "cli-1") == expected
    assert (summary.message_count, summary.last_activity) == (kept + 3, at(9))
    header_, footer = store.ends("cli-1")
    assert (footer.use, footer.last_seq, header_) == (1234, kept + 3, header("cli-1"))
    assert add(store, "cli-1", said("after")) == kept + 4
    for start in (lambda: store, restartable.again):
        again = start()
        assert contents(again, "cli-1") == [*expected, "after"]
        assert searched(again, "three") == ["cli-1"] * (kept == 3)
        assert searched(again, "other") == ["cli-1"] * 3


def test_each_replacement_of_all_records_has_a_generation(store):
    store.create(header("cli-1"), [said("one")])
    assert not store.ends("cli-1")[0].generation
    store.rewrite(header("cli-1"), [replace(said("two"), seq=1)], "backup")
    assert store.ends("cli-1")[0].generation == 1
    store.rewrite(header("cli-1", generation=7), [replace(said("three"), seq=1)], "backup")
    assert store.ends("cli-1")[0].generation == 7
    add(store, "cli-1", said("four"))
    assert store.ends("cli-1")[0].generation == 7


def test_the_last_use_can_be_given(store):
    store.create(header("cli-1"), [said("one")], used_at=5000)
    assert store.ends("cli-1")[1].use == 5000
    for given, known in ((4000, 5000), (6000, 6000)):
        with store.writing("cli-1") as session:
            session.append([said("more")], use=False, used_at=given)
        assert store.ends("cli-1")[1].use == known


def test_files_tells_which_sessions_changed(store):
    store.create(header("cli-1"), [said("one")])
    store.create(header("cli-2"), [said("one")])
    before = store.catalogue.files()
    assert before == {name: store.lines(name, 0, 1).signature for name in ("cli-1", "cli-2")}
    add(store, "cli-1", said("two"))
    after = store.catalogue.files()
    assert {name for name in after if after[name] != before[name]} == {"cli-1"}


def test_every_change_of_a_session_is_told(restartable):
    if restartable.kind == "reopened":
        pytest.skip("who wants to know lives in memory")
    store, changed = restartable.store, []
    store.changed = changed.append
    store.create(header("cli-1"), [said("one")])
    add(store, "cli-1", said("two"))
    store.fork("cli-1", 1, header("cli-2"), event("forked"))
    store.splice("cli-1", 1, [replace(said("other"), seq=2)], used_at=1)
    store.rewrite(header("cli-1"), [replace(said("one"), seq=1)], "backup")
    trash(store, "cli-1")
    store.restore("cli-1")
    trash(store, "cli-1")
    store.purge(store.trashed(None, None, 1))
    assert changed == ["cli-1", "cli-1", "cli-2", *["cli-1"] * 6]

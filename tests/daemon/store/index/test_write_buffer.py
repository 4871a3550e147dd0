"""Pending updates: merged, put back, and never more than memory is meant for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.index import write_buffer
from port42_daemon.store.index.sessions import SessionUpdate
from port42_daemon.store.index.write_buffer import PendingRows, PendingText
from port42_protocol.messages.records import Record, Summary, UserMessage

AT = "2026-01-01T00:00:00.000Z"


def said(content: str) -> Record:
    return UserMessage(seq=0, content=content, timestamp=AT)


def update(session_id: str, last_seq: int, *records: Record) -> SessionUpdate:
    summary = Summary(session_id, "a", None, "active", AT, AT, 0, None)
    return SessionUpdate(summary, last_seq, size=last_seq, mtime_ns=last_seq, use=last_seq, records=records)


def states(updates: list[SessionUpdate]) -> dict[str, tuple[int, list[str]]]:
    """Of each session, its last seq and the contents of its records."""
    return {
        update.summary.session_id: (update.last_seq, [record.content for record in update.records])
        for update in updates
    }


def test_of_many_updates_the_last_state_is_taken_once_with_the_records_of_all():
    pending = PendingRows()
    assert not pending
    for number in range(1, 200):
        pending.add(update("a", number, said(str(number))))
        pending.add(update("b", number, said(str(number))))
    contents = [str(number) for number in range(1, 200)]
    assert states(pending.take()) == {"a": (199, contents), "b": (199, contents)}
    assert not pending
    assert pending.take() == []


def test_updates_that_could_not_be_written_come_before_those_added_since():
    pending = PendingRows()
    pending.add(update("a", 1, said("x")))
    taken = pending.take()
    pending.add(update("a", 2, said("y")))
    pending.add(update("b", 1, said("z")))
    pending.put_back(taken)
    assert states(pending.take()) == {"a": (2, ["x", "y"]), "b": (1, ["z"])}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (update("a", 7, said("x")), update("a", 9, said("y"))),
        (update("a", 7, said("x")), update("a", 8)),
        (update("a", 7), update("a", 8, said("y"))),
    ],
    ids=["records missing", "file read anew", "append to a file read anew"],
)
def test_no_records_are_kept_where_some_are_missing(before, after):
    pending = PendingRows()
    pending.add(before)
    pending.add(after)
    assert states(pending.take()) == {"a": (after.last_seq, [])}


def test_records_stay_when_the_file_is_read_as_it_was():
    pending = PendingRows()
    pending.add(update("a", 1, said("x")))
    pending.add(update("a", 1))
    assert states(pending.take()) == {"a": (1, ["x"])}


def test_the_first_record_of_an_empty_session_is_kept():
    pending = PendingRows()
    pending.add(update("a", 0))
    pending.add(update("a", 1, said("x")))
    assert states(pending.take()) == {"a": (1, ["x"])}


def test_no_records_are_kept_beyond_what_memory_is_meant_for(monkeypatch):
    monkeypatch.setattr(write_buffer, "MAX_CHARACTERS", 10)
    pending = PendingRows()
    pending.add(update("a", 1, said("x" * 11)))
    pending.add(update("a", 2, said("y")))
    assert states(pending.take()) == {"a": (2, [])}
    pending.add(update("a", 3, said("z")))
    assert states(pending.take()) == {"a": (3, ["z"])}


def test_a_dropped_session_has_no_updates():
    pending = PendingRows()
    pending.add(update("a", 1))
    pending.add(update("b", 1))
    pending.drop("a")
    assert list(states(pending.take())) == ["b"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.booleans()), max_size=20))
def test_records_are_counted_however_they_come_and_go(steps):
    text, kept = PendingText(), {"a": 0, "b": 0}
    for session_id, number, comes in steps:
        if comes:
            assert text.add(session_id, [said("x" * number)] * number)
            kept[session_id] += number
        else:
            assert len(text.take(session_id)) == kept[session_id]
            kept[session_id] = 0
    assert all(session_id in text for session_id, number in kept.items() if number)
    for session_id in text.sessions():
        text.take(session_id)
    assert (text._messages, text._characters) == (0, 0)


def test_all_text_is_dropped_when_it_is_too_much(monkeypatch):
    monkeypatch.setattr(write_buffer, "MAX_CHARACTERS", 10)
    text = PendingText()
    assert text.add("a", [said("12345")])
    assert not text.add("b", [said("123456")])
    assert text.sessions() == []
    assert text.add("b", [said("1234567890")])

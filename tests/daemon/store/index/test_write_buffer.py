"""What waits to be written: in its order, merged, put back, and never more than memory is meant for."""

from __future__ import annotations

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


def seqs(rows: list[SessionUpdate], session_id: str) -> list[int]:
    return [one.last_seq for one in rows if one.summary.session_id == session_id]


def test_rows_come_back_in_their_order_and_once():
    pending = PendingRows()
    assert not pending
    for number in (1, 2, 3):
        pending.add(update("one", number))
        pending.add(update("two", number))
    taken = pending.take()
    assert seqs(taken, "one") == seqs(taken, "two") == [1, 2, 3]
    assert not pending
    assert pending.take() == []


def test_what_could_not_be_written_stands_before_what_came_since():
    pending = PendingRows()
    pending.add(update("one", 1))
    taken = pending.take()
    pending.add(update("one", 2))
    pending.add(update("two", 1))
    pending.put_back(taken)
    again = pending.take()
    assert (seqs(again, "one"), seqs(again, "two")) == ([1, 2], [1])


def test_of_many_rows_one_is_made_with_the_records_of_all():
    pending = PendingRows()
    for number in range(1, 200):
        pending.add(update("one", number, said(str(number))))
    taken = pending.take()
    assert len(taken) < 70
    contents = [record.content for one in taken for record in one.records]
    assert contents == [str(number) for number in range(1, 200)]
    assert taken[-1].last_seq == 199


def test_rows_that_do_not_follow_each_other_are_merged_to_a_state_without_records():
    pending = PendingRows()
    pending.add(update("one", 7, said("x")))
    for number in range(9, 80):
        pending.add(update("one", number, said("y")))
    assert pending.take()[0].records == ()


def test_a_session_that_is_gone_has_no_rows():
    pending = PendingRows()
    pending.add(update("one", 1))
    pending.add(update("two", 1))
    pending.drop("one")
    assert [one.summary.session_id for one in pending.take()] == ["two"]
    pending.add(update("two", 2))
    pending.clear()
    assert not pending


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
    assert {one for one in kept if one in text} >= {one for one, number in kept.items() if number}
    for session_id in text.sessions():
        text.take(session_id)
    assert (text._messages, text._characters) == (0, 0)


def test_too_much_is_let_go_all_of_it(monkeypatch):
    monkeypatch.setattr(write_buffer, "MAX_CHARACTERS", 10)
    text = PendingText()
    assert text.add("one", [said("12345")])
    assert not text.add("two", [said("123456")])
    assert text.sessions() == []
    assert text.add("two", [said("1234567890")])

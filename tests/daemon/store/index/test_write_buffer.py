"""What waits to be written: in its order, merged, put back, and never more than memory is meant for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.index import write_buffer
from port42_daemon.store.index.sessions import Row
from port42_daemon.store.index.write_buffer import Noted, Unfed
from port42_protocol.messages.records import Message, Summary

AT = "2026-01-01T00:00:00.000Z"


def said(content: str) -> Message:
    return Message(seq=0, role="user", content=content, timestamp=AT)


def row(session_id: str, last_seq: int, *records: Message) -> Row:
    summary = Summary(session_id, "a", None, "active", AT, AT, 0, None)
    return Row(summary, last_seq, size=last_seq, mtime_ns=last_seq, records=records)


def seqs(rows: list[Row], session_id: str) -> list[int]:
    return [one.last_seq for one in rows if one.summary.session_id == session_id]


def test_rows_come_back_in_their_order_and_once():
    noted = Noted()
    assert not noted
    for number in (1, 2, 3):
        noted.add(row("one", number))
        noted.add(row("two", number))
    taken = noted.take()
    assert seqs(taken, "one") == seqs(taken, "two") == [1, 2, 3]
    assert not noted
    assert noted.take() == []


def test_what_could_not_be_written_stands_before_what_came_since():
    noted = Noted()
    noted.add(row("one", 1))
    taken = noted.take()
    noted.add(row("one", 2))
    noted.add(row("two", 1))
    noted.put_back(taken)
    again = noted.take()
    assert (seqs(again, "one"), seqs(again, "two")) == ([1, 2], [1])


def test_of_many_rows_one_is_made_with_the_records_of_all():
    noted = Noted()
    for number in range(1, 200):
        noted.add(row("one", number, said(str(number))))
    taken = noted.take()
    assert len(taken) < 70
    contents = [record.content for one in taken for record in one.records]
    assert contents == [str(number) for number in range(1, 200)]
    assert taken[-1].last_seq == 199


def test_rows_that_do_not_follow_each_other_are_merged_to_a_state_without_records():
    noted = Noted()
    noted.add(row("one", 7, said("x")))
    for number in range(9, 80):
        noted.add(row("one", number, said("y")))
    assert noted.take()[0].records == ()


def test_a_session_that_is_gone_has_no_rows():
    noted = Noted()
    noted.add(row("one", 1))
    noted.add(row("two", 1))
    noted.drop("one")
    assert [one.summary.session_id for one in noted.take()] == ["two"]
    noted.add(row("two", 2))
    noted.clear()
    assert not noted


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.booleans()), max_size=20))
def test_records_are_counted_however_they_come_and_go(steps):
    unfed, kept = Unfed(), {"a": 0, "b": 0}
    for session_id, number, comes in steps:
        if comes:
            assert unfed.keep(session_id, [said("x" * number)] * number)
            kept[session_id] += number
        else:
            assert len(unfed.take(session_id)) == kept[session_id]
            kept[session_id] = 0
    assert {one for one in kept if one in unfed} >= {one for one, number in kept.items() if number}
    for session_id in unfed.sessions():
        unfed.take(session_id)
    assert (unfed._messages, unfed._characters) == (0, 0)


def test_too_much_is_let_go_all_of_it(monkeypatch):
    monkeypatch.setattr(write_buffer, "_MOST_CHARACTERS", 10)
    unfed = Unfed()
    assert unfed.keep("one", [said("12345")])
    assert not unfed.keep("two", [said("123456")])
    assert unfed.sessions() == []
    assert unfed.keep("two", [said("1234567890")])

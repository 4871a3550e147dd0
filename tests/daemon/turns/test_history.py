"""What a model is told: the newest that fits, without what failed; references beside their message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.turns.history import has_more_since_reply, select, with_references
from port42_protocol.messages.records import MESSAGES, EventRecord, Reference, TurnRecord

TIME = "2026-11-23T03:37:11.042Z"
TURN = TurnRecord(backend="shout")


def said(seq, role, content="x", **more):
    return MESSAGES[role](seq=seq, content=content, timestamp=TIME, **more)


def event(seq, name="resumed"):
    return EventRecord(seq=seq, event=name, timestamp=TIME)


def kept(records, budget=1000):
    return [record.seq for record in select(records, budget)[0]]


def test_messages_in_their_order_without_events():
    records = [said(1, "user"), event(2), said(3, "assistant"), said(4, "system"), said(5, "error")]
    assert kept(records) == [1, 3, 4]


def test_a_failed_turn_is_left_out_with_what_was_answered_of_it():
    records = [
        said(1, "user"),
        said(2, "assistant", question=1, turn=TURN),
        said(3, "user", "fails"),
        said(4, "user", "said by another tool meanwhile"),
        said(5, "assistant", "half", question=3, turn=TURN, status="interrupted"),
        said(6, "error", "it broke", question=3, kind="crashed"),
        said(7, "user"),
        said(8, "error", "a tool's own note"),
    ]
    assert kept(records) == [1, 2, 4, 7]


def test_an_interrupted_turn_stays():
    records = [said(1, "user"), said(2, "assistant", "half", question=1, turn=TURN, status="interrupted")]
    assert kept(records) == [1, 2]
    assert kept([said(1, "user"), said(2, "assistant", "", question=1, turn=TURN)]) == [1]


@pytest.mark.parametrize(
    ("budget", "seqs"), [(0, []), (9, []), (10, [3]), (19, [3]), (20, [2, 3]), (30, [1, 2, 3])]
)
def test_the_newest_that_fit(budget, seqs):
    chosen, left_out = select([said(n, "user", "x" * 10) for n in (1, 2, 3)], budget)
    assert [record.seq for record in chosen] == seqs
    assert left_out == 3 - len(seqs)


def test_what_is_older_than_what_does_not_fit_is_left_out_too():
    chosen, left_out = select(
        [said(1, "user", "x"), said(2, "assistant", "x" * 50), said(3, "user", "x")], 10
    )
    assert [record.seq for record in chosen] == [3]
    assert left_out == 2


@given(st.lists(st.text(max_size=30)), st.integers(-10, 200))
def test_never_more_than_the_budget_and_always_the_end(contents, budget):
    records = [said(n, "user", content) for n, content in enumerate(contents, 1)]
    chosen, left_out = select(records, budget)
    assert sum(len(with_references(record)) for record in chosen) <= max(budget, 0)
    with_content = [record for record in records if record.content]
    assert list(chosen) == with_content[len(with_content) - len(chosen) :]
    assert left_out == len(with_content) - len(chosen)


def test_references_stand_beside_their_message():
    references = (Reference("file", "/a.txt", "one"), Reference("text", "stdin", "two"))
    message = said(1, "user", "look", references=references)
    assert with_references(message) == "look\n\n<file /a.txt>\none\n</file>\n\n<text stdin>\ntwo\n</text>"
    assert select([message], len(with_references(message)) - 1)[1] == 1


def test_what_a_back_end_has_not_heard():
    turn = [said(1, "user"), said(2, "assistant", question=1, turn=TURN)]
    assert not has_more_since_reply(turn)
    assert not has_more_since_reply([*turn, event(3)])
    assert not has_more_since_reply([*turn, said(3, "user"), said(4, "error", question=3, kind="crashed")])
    assert has_more_since_reply([*turn, said(3, "user")])
    assert has_more_since_reply([*turn, said(3, "assistant", "said by another tool")])
    assert has_more_since_reply([said(1, "user")])
    assert not has_more_since_reply([])

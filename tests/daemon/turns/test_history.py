"""What a model is told: the newest that fits, without what failed; references beside their message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.turns.history import has_more_since_reply, select, transcript, with_references
from port42_protocol.messages.records import (
    MESSAGES,
    EventRecord,
    Message,
    PlanEntry,
    PlanRecord,
    Reference,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
)

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


def test_what_was_rolled_back_is_left_out():
    def rolled_back(seq, prompts):
        return EventRecord(seq=seq, event="rolled_back", timestamp=TIME, prompts=prompts)

    records = [*(said(seq, role) for seq in (1, 3, 5) for role in ("user",)), rolled_back(6, 1)]
    assert kept(records) == [1, 3]
    assert kept([*records, said(7, "user"), said(8, "assistant", turn=TURN), rolled_back(9, 2)]) == [1]
    assert kept([said(4, "assistant"), said(5, "user"), rolled_back(6, 2), said(7, "user")]) == [7]
    assert kept([said(1, "user"), rolled_back(2, -1)]) == [1]


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


# --- what the agent did -----------------------------------------------------------------------------


def tool(seq, title, state="done", **more):
    return ToolRecord(seq=seq, timestamp=TIME, id=f"t{seq}", title=title, state=state, **more)


def plan(seq, *steps):
    return PlanRecord(seq=seq, timestamp=TIME, entries=tuple(PlanEntry(step, "completed") for step in steps))


def contents(records, budget=1000):
    return [message.content for message in select(records, budget)[0]]


WORK = [
    said(1, "user", "test it"),
    said(2, "assistant", "Let me look.", question=1),
    plan(3, "look"),
    tool(4, "ls"),
    ThoughtRecord(seq=5, timestamp=TIME, content="hm"),
    tool(6, "npm test", "failed", name="Bash", output="1 failed\nexit code 1"),
    plan(7, "look", "test"),
    said(8, "assistant", "It fails.", question=1, turn=TURN, status="complete"),
    said(9, "user", "why?"),
]


def test_the_texts_of_a_turn_are_one_message_with_a_line_for_each_call_and_the_latest_plan():
    work = (
        "Let me look.\n\n[tool] ls (done)\n[tool] Bash: npm test (failed: exit code 1)\n"
        "[plan]\n[x] look\n[x] test\n\nIt fails."
    )
    assert contents(WORK) == ["test it", work, "why?"]
    assert [message.content for message in transcript(WORK)] == ["test it", work, "why?"]


def test_messages_come_before_calls_and_late_calls_before_early_ones():
    texts = sum(map(len, ("test it", "Let me look.", "It fails.", "why?"))) + 2
    assert contents(WORK, texts) == ["test it", "Let me look.\n\nIt fails.", "why?"]
    assert contents(WORK, texts - 1) == ["Let me look.\n\nIt fails.", "why?"]
    assert select(WORK, 10) == ((WORK[-1],), 3)
    with_plan = contents(WORK, texts + len("[plan]\n[x] look\n[x] test") + 2)
    assert with_plan[1] == "Let me look.\n\n[plan]\n[x] look\n[x] test\n\nIt fails."


def test_a_turn_that_only_used_tools_is_told():
    records = [said(1, "user"), tool(2, "ls", question=1), said(3, "assistant", "", question=1, turn=TURN)]
    assert contents(records) == ["x", "[tool] ls (done)"]


def test_a_failed_turn_is_left_out_with_what_was_done_in_it():
    records = [
        said(1, "user", "fails"),
        tool(2, "ls", question=1),
        said(3, "error", "it broke", question=1, kind="crashed"),
        said(4, "user", "again"),
    ]
    assert contents(records) == ["again"]


def test_replies_of_other_tools_that_follow_each_other_stay_apart():
    records = [said(1, "user"), said(2, "assistant", "one"), said(3, "assistant", "two"), tool(4, "ls")]
    assert contents(records) == ["x", "one", "two\n\n[tool] ls (done)"]


RECORDS = st.lists(st.sampled_from(["user", "assistant", "tool", "plan", "thought"]), max_size=20)


@given(RECORDS, st.integers(-5, 300))
def test_whatever_was_done_the_budget_holds(roles, budget):
    records = [
        tool(seq, f"tool {seq}")
        if role == "tool"
        else plan(seq, f"step {seq}")
        if role == "plan"
        else ThoughtRecord(seq=seq, timestamp=TIME, content="hm")
        if role == "thought"
        else said(seq, role, f"text {seq}.")
        for seq, role in enumerate(roles, 1)
    ]
    messages, left_out = select(records, budget)
    assert sum(len(message.content) for message in messages) <= max(budget, 0)
    texts = [record.content for record in records if isinstance(record, Message)]
    together = "\n".join(message.content for message in messages)
    assert [text in together for text in texts] == [False] * left_out + [True] * (len(texts) - left_out)

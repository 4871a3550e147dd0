"""Reading a source again: nothing that was added here is lost, and nothing of the source is there twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from port42_daemon.transfer.merge import merged
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    Message,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
    replace,
)

WHEN = "2026-02-03T04:05:06.000Z"


def user(text, **fields):
    return UserMessage(seq=0, content=text, timestamp=WHEN, **fields)


def reply(text, **fields):
    return AssistantMessage(seq=0, content=text, timestamp=WHEN, **fields)


def tool(call_id, **fields):
    return ToolRecord(seq=0, timestamp=WHEN, id=call_id, title="ls", state="done", **fields)


def numbered(*records):
    return [replace(record, seq=seq) for seq, record in enumerate(records, 1)]


def test_an_older_readers_session_gets_its_activities():
    renamed = EventRecord(seq=0, event="renamed", timestamp=WHEN, title="mine")
    source = [user("sail"), tool("t"), reply("done"), user("again")]
    assert merged(numbered(user("sail"), reply("done"), renamed), source) == numbered(*source, renamed)


def test_what_was_added_here_stays_behind_the_source_with_its_question():
    added = [user("and now?", key="k"), tool("u", question=3), reply("so", question=3, status="complete")]
    stored = numbered(user("sail"), reply("done"), *added)
    source = [user("sail"), tool("t"), reply("done"), user("again"), reply("yes")]
    result = merged(stored, source)
    assert [getattr(record, "content", "tool") for record in result] == [
        *("sail", "tool", "done", "again", "yes"),
        *("and now?", "tool", "so"),
    ]
    assert [record.question for record in result[-2:]] == [6, 6]
    assert [record.seq for record in result] == list(range(1, 9))


def test_a_turn_of_port42_that_the_tool_wrote_too_is_there_once():
    turn = [user("reef", key="k"), tool("t", question=2), reply("reefed", question=2, status="complete")]
    stored = numbered(user("sail"), *turn, user("more"))
    source = [user("sail"), user("reef"), tool("t"), reply("reefed"), user("more"), reply("yes")]
    assert merged(stored, source) == numbered(user("sail"), *turn, user("more"), reply("yes"))


def test_thoughts_of_an_earlier_reading_are_not_kept_beside_those_of_today():
    old = ThoughtRecord(seq=0, timestamp=WHEN, content="cut off")
    new = ThoughtRecord(seq=0, timestamp=WHEN, content="whole")
    assert merged(numbered(user("a"), old), [user("a"), new]) == numbered(user("a"), new)


def test_tokens_that_are_counted_elsewhere_today_move_nothing():
    usage = EventRecord(seq=0, event="usage", timestamp=WHEN)
    stored = numbered(user("sail"), reply("aye"), usage, user("home"), reply("we are"), usage)
    source = [user("sail"), reply("aye"), user("home"), reply("we are"), usage]
    assert merged(stored, source) == numbered(*source)


def test_what_the_source_has_not_come_to_yet_stays():
    stored = numbered(user("a"), reply("b"), tool("t"))
    assert merged(stored, [user("a"), reply("b")]) == stored


SOURCE = st.lists(
    st.one_of(
        st.sampled_from("abc").map(user),
        st.sampled_from("abc").map(reply),
        st.sampled_from("xyz").map(tool),
    ),
    max_size=12,
)
ADDED = st.lists(
    st.one_of(
        st.sampled_from("abd").map(lambda text: user(text, key="k")),
        st.sampled_from("abd").map(lambda text: reply(text, question=1)),
        st.just(EventRecord(seq=0, event="pinned", timestamp=WHEN, pinned=True)),
    ),
    max_size=6,
)


@given(SOURCE, SOURCE, ADDED, st.booleans())
def test_nothing_is_lost_and_nothing_is_twice(source, later, added, with_activities):
    read_then = [record for record in source if with_activities or isinstance(record, Message)]
    result = merged(numbered(*read_then, *added), [*source, *later])
    plain = [_plain(record) for record in result]
    for record in [*source, *later, *added]:
        assert plain.count(_plain(record)) >= 1
    assert len(result) <= len(source) + len(later) + len(added)
    assert merged(result, [*source, *later]) == result, "once more changes nothing"


def _plain(record):
    fields = {"seq": 0}
    if getattr(record, "question", UNSET) is not UNSET:
        fields["question"] = UNSET
    if getattr(record, "key", UNSET) is not UNSET:
        fields["key"] = UNSET
    return replace(record, **fields)

"""The store's contract: sessions, and each agent's last one."""

from __future__ import annotations

import json
from functools import partial

import pytest
from msgspec import UNSET, structs
from peers.session_files import add, page
from peers.stores import at, contents, event, header, read, said, searched

from port42_daemon.store.interface import (
    ENDED,
    RESUMED,
)
from port42_protocol.errors import SessionExists, SessionNotFound


def test_what_was_created_is_there(store):
    made = store.create(header("cli-1", title="T", cwd="/tmp", metadata={"a": [1, None]}), [said("hello")])
    assert store.summary("cli-1") == made
    assert structs.asdict(made) == {
        "session_id": "cli-1",
        "agent": "ai-muse",
        "title": "T",
        "state": "active",
        "created_at": at(0),
        "last_activity": at(1),
        "message_count": 1,
        "cwd": "/tmp",
        "tags": (),
        "pinned": False,
        "forked_from": None,
        "parent": UNSET,
    }
    assert store.ends("cli-1")[0].metadata == {"a": [1, None]}
    assert contents(store, "cli-1") == ["hello"]
    assert store.where("cli-1") == "sessions"


def test_an_id_is_given_once(store):
    store.create(header("cli-1"), [said("mine")])
    with pytest.raises(SessionExists):
        store.create(header("cli-1", agent="ai-analyst"), [said("yours")])
    assert store.summary("cli-1").agent == "ai-muse"
    assert contents(store, "cli-1") == ["mine"]


def test_many_sessions_are_begun_at_once_but_for_those_that_cannot_be(store):
    store.create(header("cli-1"), [said("mine")])
    wanted = [
        (header(name), [said(f"in {name}"), said("b")]) for name in ("cli-3", "cli-1", "cli-2", "cli-3")
    ]
    made = store.create_all([*wanted, (header("cli-4"), [])])
    assert [isinstance(one, SessionExists) for one in made] == [False, True, False, True, False]
    assert [one[0].session_id for one in made if isinstance(one, tuple)] == ["cli-3", "cli-2", "cli-4"]
    assert [record.seq for record in made[0][1]] == [1, 2]
    assert made[0][0] == store.summary("cli-3")
    assert contents(store, "cli-3") == ["in cli-3", "b"]
    assert contents(store, "cli-1") == ["mine"]
    assert store.catalogue.counts() == {"ai-muse": 4}
    assert sorted(searched(store, "in")) == ["cli-2", "cli-3"]


def test_ids_that_differ_in_case_are_two_sessions_or_one_is_refused(store):
    store.create(header("cli-a"), [said("small")])
    try:
        store.create(header("cli-A"), [said("large")])
    except SessionExists:  # a file system that folds case
        assert not page(store, agent="ai-muse", limit=10)[1:]
    else:
        assert contents(store, "cli-A") == ["large"]
    assert contents(store, "cli-a") == ["small"]


@pytest.mark.parametrize(
    "session_id", ["cli-9", "", ".", "..", "../x", "a/b", "x\x00", "x" * 10_000, "é", "x\n"]
)
def test_what_is_not_there_is_not_found(store, session_id):
    store.create(header("cli-1"))
    assert store.where(session_id) != "sessions"
    assert store.remembered("cli-9") is None
    asks = (store.summary, store.ends, partial(read, store), lambda one: add(store, one, said("x")))
    for ask in asks:
        with pytest.raises(SessionNotFound):
            ask(session_id)


def test_records_are_numbered_in_order_and_read_as_they_were_given(store):
    store.create(header("cli-1"), [said("a"), said("b", role="assistant")])
    assert add(store, "cli-1", said("c", role="system", key="k"), event(ENDED)) == 4
    assert add(store, "cli-1", said("ü\n\x00]\u2028")) == 5
    everything, onward = read(store, "cli-1", events=True)
    assert onward is None
    assert [one.seq for one in everything] == [1, 2, 3, 4, 5]
    assert [one.role for one in everything] == ["user", "assistant", "system", "event", "user"]
    assert (everything[2].key, everything[3].event, everything[4].content) == ("k", ENDED, "ü\n\x00]\u2028")
    assert [one.seq for one in read(store, "cli-1")[0]] == [1, 2, 3, 5]


def test_records_that_have_their_places_keep_them(store):
    """A session that comes in whole from elsewhere may have lost a line there."""
    store.create(header("cli-1"), [structs.replace(said("a"), seq=1), structs.replace(said("b"), seq=4)])
    records, _ = read(store, "cli-1", events=True)
    assert [one.seq for one in records] == [1, 4]
    assert add(store, "cli-1", said("c")) == 5


def test_the_ends_are_those_of_any_time(store):
    store.create(header("cli-1"))
    seen = [store.ends("cli-1")]
    for text in ("a", "b", "c"):
        add(store, "cli-1", *[said(text)])
        seen.append(store.ends("cli-1"))
    assert [footer.last_seq for _, footer in seen] == [0, 1, 2, 3]
    for seq, (made, footer) in enumerate(seen):
        # The order of uses is that of the whole home: what it was at an earlier record, nobody asks.
        assert store.ends("cli-1", seq) in [(made, footer), (made, structs.replace(footer, used=UNSET))]


def test_an_error_of_the_rule_changes_nothing(store):
    store.create(header("cli-1"), [said("a")])
    before = store.summary("cli-1")
    with pytest.raises(LookupError), store.writing("cli-1"):
        raise LookupError("no")
    assert store.summary("cli-1") == before
    with store.writing("cli-1") as session:
        pass
    assert (session.summary, session.last_seq, session.added) == (before, 1, ())
    assert contents(store, "cli-1") == ["a"]


def test_a_session_can_be_written_again_after_a_rule_refused(store):
    store.create(header("cli-1"))
    for _ in range(3):
        with pytest.raises(LookupError), store.writing("cli-1"):
            raise LookupError("no")
        with pytest.raises(SessionNotFound), store.writing("cli-9"):
            pytest.fail("there is none")
    with store.writing("cli-1") as session:
        session.append([said("a")], use=True)
        session.append([said("b"), said("c")], use=True)
    assert [record.seq for record in session.added] == [1, 2, 3]
    assert session.summary == store.summary("cli-1")
    assert contents(store, "cli-1") == ["a", "b", "c"]


def test_pages_of_a_transcript_join_without_gap_or_repetition(store):
    store.create(header("cli-1"))
    for number in range(40):
        add(store, "cli-1", said("x" * 500 + str(number)), *([event(RESUMED)] if number % 3 == 0 else []))
    for limit, max_bytes in ((1, 1 << 22), (7, 1 << 22), (40, 1), (40, 2000), (1000, 1 << 22)):
        got, after_seq = [], 0
        while after_seq is not None:
            page, after_seq = read(store, "cli-1", after_seq=after_seq, limit=limit, max_bytes=max_bytes)
            assert 1 <= len(page) <= limit
            got += page
        assert [one.content for one in got] == ["x" * 500 + str(number) for number in range(40)]


def test_reading_behind_the_end_is_empty(store):
    store.create(header("cli-1"), [said("a")])
    assert read(store, "cli-1", after_seq=1) == ([], None)
    assert read(store, "cli-1", after_seq=2**53 - 1) == ([], None)


def test_a_record_longer_than_a_page_still_comes(store):
    store.create(header("cli-1"), [said("x" * 3000), said("y" * 3000)])
    page, onward = read(store, "cli-1", max_bytes=10)
    assert ([one.seq for one in page], onward) == ([1], 1)


def test_the_last_record_comes_however_little_of_the_end_was_asked_for(store):
    store.create(header("cli-1"))
    assert store.recent("cli-1", 1).records == []
    for number in range(1, 4):
        add(store, "cli-1", said("x" * 3000))
        for at_least in (1, 3000, 3001):
            recent = store.recent("cli-1", at_least)
            assert [record.seq for record in recent.records][-1] == number
            assert recent.all == (number == 1)
    assert len(store.recent("cli-1", 4000).records) == 2


def test_a_session_of_many_long_lines_is_read_from_anywhere(store):
    store.create(header("cli-1"), [said("z" * (number * 9973 % 90_000)) for number in range(1, 31)])
    for after_seq in range(31):
        found = [one.seq for one in read(store, "cli-1", after_seq=after_seq, max_bytes=1 << 30)[0]]
        assert found == list(range(after_seq + 1, 31))


def test_each_agent_has_its_own_last_session(store):
    assert store.last_sessions.get("ai-muse") is None
    assert dict(store.last_sessions) == {}
    store.create(header("cli-1"))
    store.create(header("cli-2", agent="ai-analyst"))
    store.set_last("ai-muse", "cli-1")
    store.set_last("ai-analyst", "cli-2")
    store.set_last("ai-analyst", "cli-2")
    assert (
        store.last_sessions.get("ai-muse"),
        store.last_sessions.get("ai-analyst"),
        store.last_sessions.get("ai-engineer"),
    ) == (
        "cli-1",
        "cli-2",
        None,
    )
    assert dict(store.last_sessions) == {"ai-muse": "cli-1", "ai-analyst": "cli-2"}


def test_last_is_last_used_twenty_stops_in_a_row(restartable):
    """Four sessions of one agent, stop, start, `last` is right: 20 times, each time another of them."""
    ids = [f"cli-{number}" for number in range(4)]
    for session_id in ids:
        restartable.store.create(header(session_id), [said("hello")])
        restartable.store.set_last("ai-muse", session_id)
    for round_ in range(20):
        used = ids[round_ * 3 % 4]
        add(restartable.store, used, said(f"round {round_}", 10 + round_))
        restartable.store.set_last("ai-muse", used)
        store = restartable.again()
        assert store.last_sessions.get("ai-muse") == used
        assert page(store, agent="ai-muse", limit=1)[0].session_id == used


@pytest.mark.parametrize("ruin", [lambda path: path.unlink(), lambda path: path.write_bytes(b'{"ai-muse": ')])
def test_a_lost_mapping_comes_back_from_the_sessions(restartable, ruin):
    for number, second in ((1, 5), (2, 9), (3, 7)):
        restartable.store.create(header(f"cli-{number}", second=number), [said("x", second)])
    restartable.store.create(header("rpc-4", agent="ai-analyst"))
    restartable.store.set_last("ai-muse", "cli-2")
    restartable.store.set_last("ai-analyst", "rpc-4")
    store = restartable.again(lambda: ruin(restartable.home / "agent_sessions.json"))
    assert dict(store.last_sessions) == {"ai-muse": "cli-2", "ai-analyst": "rpc-4"}
    assert json.loads((restartable.home / "agent_sessions.json").read_bytes()) == dict(store.last_sessions)

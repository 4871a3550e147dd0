"""The store's contract: forks, and the trash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import structs
from peers.session_files import add, page, trash
from peers.stores import Restartable, at, contents, event, header, ids, read, said

from port42_daemon.store.interface import (
    ENDED,
    FORKED,
    UnfinishedTurn,
)
from port42_protocol.errors import InvalidParams, SessionExists, SessionNotFound
from port42_protocol.messages.records import (
    AssistantMessage,
    ForkPoint,
    ToolRecord,
    TurnRecord,
)


def fork(store: Any, original: str, named: str, at_seq: int | None = None, **more: Any) -> Any:
    header, footer = store.ends(original)
    seq = footer.last_seq if at_seq is None else at_seq
    changed = {"id": named, "created_at": at(50), "forked_from": ForkPoint(original, seq), **more}
    return store.fork(original, seq, structs.replace(header, **changed), event(FORKED, 50))


def with_its_index_and_without(restartable: Restartable) -> Iterator[Any]:
    yield restartable.store
    yield restartable.again((restartable.home / "index.db").unlink)


def answered(store: Any, session_id: str) -> None:
    turn = TurnRecord(backend="claude", native_id="native-1")
    reply = AssistantMessage(seq=0, content="a", timestamp=at(2), status="complete", turn=turn)
    store.create(header(session_id), [said("q", key="key-1"), reply])


def test_a_fork_has_the_same_records_and_one_of_its_own(store):
    answered(store, "cli-1")
    made = fork(store, "cli-1", "cli-2")
    assert (made.session_id, made.agent, made.title, made.message_count) == ("cli-2", "ai-muse", "q", 2)
    assert made.forked_from == ForkPoint("cli-1", 2)
    assert store.summary("cli-2") == made
    records = read(store, "cli-2", events=True)[0]
    assert records[:2] == read(store, "cli-1")[0]
    assert [(one.seq, one.event) for one in records[2:]] == [(3, FORKED)]
    assert add(store, "cli-2", said("on", 60)) == 4
    assert contents(store, "cli-1") == ["q", "a"]
    assert add(store, "cli-1", said("further", 60)) == 3
    assert contents(store, "cli-2") == ["q", "a", "on"]


def test_a_fork_never_goes_on_with_the_back_ends_own_conversation(store):
    answered(store, "cli-1")
    fork(store, "cli-1", "cli-2")
    assert store.recent("cli-1", 1).turn.native_id == "native-1"
    assert store.recent("cli-2", 1).turn is None


def test_what_a_turn_kept_is_there_until_it_is_forgotten(store):
    store.create(header("cli-1"), [said("q")])
    turn = UnfinishedTurn("cli-1", "ai-muse", 1, TurnRecord(backend="claude"))
    call = ToolRecord(seq=0, timestamp=at(2), id="t", title="ls", state="interrupted", question=1)
    checkpoint = store.checkpoint(turn)
    checkpoint.add(["Let me ", call])
    checkpoint.add(["look."])
    checkpoint.close()
    assert store.unfinished() == store.unfinished("cli-1") == [(turn, "Let me look.", [call])]
    assert store.unfinished("cli-2") == []
    store.forget_unfinished("cli-1")
    assert store.unfinished() == []
    ended = store.checkpoint(turn)
    ended.add(["all of it"])
    ended.end()
    assert store.unfinished() == []


def test_what_an_agent_did_is_read_with_the_events_only(store):
    call = ToolRecord(seq=0, timestamp=at(2), id="t", title="ls", state="done", question=1)
    store.create(header("cli-1"), [said("q"), call, said("a", 3, "assistant")])
    assert contents(store, "cli-1") == ["q", "a"]
    assert read(store, "cli-1", events=True)[0][1] == structs.replace(call, seq=2)
    assert store.summary("cli-1").message_count == 2


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_fork_at_a_record_has_what_there_was_then(store, seq):
    store.create(header("cli-1"), [said("one", 1), event(ENDED, 2), said("two", 3)])
    made = fork(store, "cli-1", "cli-2", seq)
    assert contents(store, "cli-2") == [["one"], ["one"], ["one", "two"]][seq - 1]
    assert made.message_count == len(contents(store, "cli-2"))
    assert made.state == "active"
    assert made.forked_from == ForkPoint("cli-1", seq)


@pytest.mark.parametrize(("seq", "empty"), [(4, False), (2**53 - 1, False), (1, True), (None, True)])
def test_a_fork_at_no_record_is_refused_and_leaves_nothing(store, seq, empty):
    store.create(header("cli-1"), [] if empty else [said("x"), said("y"), said("z")])
    with pytest.raises(InvalidParams) as refused:
        fork(store, "cli-1", "cli-2", seq)
    assert refused.value.data["field"] == "at_seq"
    assert store.where("cli-2") != "sessions"


def test_a_fork_is_never_its_original_and_has_one(store):
    store.create(header("cli-1"), [said("x")])
    with pytest.raises(SessionExists):
        fork(store, "cli-1", "cli-1")
    assert contents(store, "cli-1") == ["x"]
    with pytest.raises(SessionNotFound):
        fork(store, "gone", "cli-2")


def test_a_copied_key_answers_for_the_original_only_with_or_without_its_index(restartable):
    answered(restartable.store, "cli-2")
    fork(restartable.store, "cli-2", "cli-1")
    add(restartable.store, "cli-1", said("own", key="key-2"))
    for store in with_its_index_and_without(restartable):
        assert store.catalogue.with_key("ai-muse", "key-1", None) == ("cli-2", 1)
        assert store.catalogue.with_key("ai-muse", "key-1", "cli-1") is None
        assert store.catalogue.with_key("ai-muse", "key-2", "cli-1") == ("cli-1", 4)


def test_forks_are_found_by_their_original(restartable):
    restartable.store.create(header("cli-1"), [said("x")])
    fork(restartable.store, "cli-1", "cli-2")
    fork(restartable.store, "cli-2", "cli-3")
    for store in with_its_index_and_without(restartable):
        assert [one.session_id for one in store.catalogue.family(["cli-1"])] == ["cli-1", "cli-2"]
        family = store.catalogue.family(["cli-1", "cli-2"])
        assert sorted(ids(family)) == ["cli-1", "cli-2", "cli-3"]
        assert ids(store.catalogue.family(["cli-3", "gone"])) == ["cli-3"]
        assert store.catalogue.family([]) == []


def test_a_fork_meets_no_torn_record_while_its_original_grows(restartable):
    if restartable.kind == "reopened":
        pytest.skip("one operation at a time")
    store = restartable.store
    store.create(header("cli-1"), [said("x" * 100_000)])
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [add(store, "cli-1", said(f"{n}")) for n in range(100)])
        for number in range(20):
            fork(store, "cli-1", f"fork-{number}")
        writing.result()
    for number in range(20):
        path = restartable.home / "sessions" / f"fork-{number}.json"
        kept = [one["seq"] for one in json.loads(path.read_bytes())["messages"]]
        assert kept == list(range(1, len(kept) + 1))


def test_what_is_in_the_trash_is_nowhere_else(restartable):
    store = restartable.store
    made = store.create(header("cli-1"), [said("x", key="key-1")])
    store.create(header("cli-2"))
    assert trash(store, "cli-1") == made
    for _ in range(2):
        assert store.where("cli-1") != "sessions"
        assert store.where("cli-1")
        assert [one.session_id for one in page(store, limit=9)] == ["cli-2"]
        assert store.catalogue.with_key("ai-muse", "key-1", None) is None
        with pytest.raises(SessionNotFound):
            store.summary("cli-1")
        with pytest.raises(SessionNotFound):
            trash(store, "cli-1")
        with pytest.raises(SessionExists):
            store.create(header("cli-1"))
        (shown,) = store.trashed(None, None, 9)
        assert (shown.session_id, shown.message_count) == ("cli-1", 1)
        assert store.summary("cli-1", trashed=True) == made
        store = restartable.again()


def test_what_is_restored_is_as_it_was(restartable):
    store = restartable.store
    made = store.create(header("cli-1"), [said("x", key="key-1")])
    trash(store, "cli-1")
    assert store.restore("cli-1") == made
    for _ in range(2):
        assert contents(store, "cli-1") == ["x"]
        assert [one.session_id for one in page(store, limit=9)] == ["cli-1"]
        assert store.catalogue.with_key("ai-muse", "key-1", None) == ("cli-1", 1)
        assert store.trashed(None, None, 9) == []
        with pytest.raises(SessionNotFound):
            store.restore("cli-1")
        store = restartable.again()


def test_the_trash_is_paged_the_latest_first_and_by_agent(store):
    for number in range(5):
        store.create(header(f"cli-{number}", agent="ai.muse" if number % 2 else "ai-engineer"))
        trash(store, f"cli-{number}")
    found = store.trashed(None, None, 9)
    times = [(one.trashed_at, one.session_id) for one in found]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 5
    paged = [store.trashed(None, before, 1)[0] for before in [None, *times[:-1]]]
    assert paged == found
    assert {one.session_id for one in store.trashed("ai.muse", None, 9)} == {"cli-1", "cli-3"}
    assert store.trashed(None, times[-1], 9) == []


def test_what_is_purged_is_gone_and_its_id_free(store):
    store.create(header("cli-1"))
    store.create(header("cli-2"))
    trash(store, "cli-1")
    trash(store, "cli-2")
    store.purge([one for one in store.trashed(None, None, 9) if one.session_id == "cli-1"])
    assert [one.session_id for one in store.trashed(None, None, 9)] == ["cli-2"]
    assert not store.where("cli-1")
    store.create(header("cli-1"))


def test_the_last_session_changes_only_from_the_one_that_goes(store):
    for number in range(3):
        store.create(header(f"cli-{number}"))
    store.set_last("ai-muse", "cli-0")
    store.set_last("ai-muse", "cli-2", instead_of="cli-1")
    assert store.last_sessions.get("ai-muse") == "cli-0"
    store.set_last("ai-muse", "cli-2", instead_of="cli-0")
    assert store.last_sessions.get("ai-muse") == "cli-2"
    store.set_last("ai-muse", None, instead_of="cli-2")
    assert store.last_sessions.get("ai-muse") is None
    assert dict(store.last_sessions) == {}

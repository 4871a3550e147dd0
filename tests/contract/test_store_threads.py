"""The store's contract: threads that write and read at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from peers.session_files import add, page
from peers.stores import Restartable, contents, header, read, said

from port42_protocol.errors import SessionExists


def at_once(work: Callable[[int], Any], times: int, threads: int = 8) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(times)))


@pytest.fixture
def many(restartable: Restartable) -> int:
    """How many operations a hammering has: opening a store for each one costs more."""
    return 64 if restartable.kind == "reopened" else 400


def test_one_session_hammered_by_threads_keeps_every_message_at_the_seq_it_was_given(restartable, many):
    store = restartable.store
    store.create(header("cli-1"))
    seqs = at_once(lambda number: add(store, "cli-1", said(f"m{number}")), many)
    assert sorted(seqs) == list(range(1, many + 1))
    store = restartable.again()
    kept = {one.seq: one.content for one in read(store, "cli-1")[0]}
    assert kept == {seq: f"m{number}" for number, seq in enumerate(seqs)}
    json.loads((restartable.home / "sessions" / "cli-1.json").read_bytes())


def test_different_sessions_hammered_by_threads_never_mix(restartable, many):
    store = restartable.store
    for number in range(8):
        store.create(header(f"cli-{number}", agent=f"agent-{number}"))

    def work(number: int) -> None:
        mine = number % 8
        add(store, f"cli-{mine}", said(f"{mine}/{number}"))
        store.set_last(f"agent-{mine}", f"cli-{mine}")
        assert store.summary(f"cli-{mine}").agent == f"agent-{mine}"

    at_once(work, many)
    store = restartable.again()
    for mine in range(8):
        assert sorted(contents(store, f"cli-{mine}")) == sorted(
            f"{mine}/{number}" for number in range(many) if number % 8 == mine
        )
        assert store.last_sessions.get(f"agent-{mine}") == f"cli-{mine}"
    assert store.catalogue.counts() == {f"agent-{mine}": 1 for mine in range(8)}


def test_an_id_that_many_want_goes_to_one(store):
    def work(number: int) -> str:
        try:
            store.create(header("cli-1", agent=f"agent-{number}"), [said(str(number))])
        except SessionExists:
            return "refused"
        return str(number)

    (winner,) = set(at_once(work, 16)) - {"refused"}
    assert contents(store, "cli-1") == [winner]
    assert store.summary("cli-1").agent == f"agent-{winner}"


def test_readers_meet_writers_and_see_whole_sessions(restartable, many):
    store = restartable.store
    store.create(header("cli-1"), [said("m0", key="k0")])

    def work(number: int) -> None:
        if number % 2:
            add(store, "cli-1", said("m" * 5000, number))
            return
        got, _ = read(store, "cli-1", max_bytes=1 << 30)
        assert [one.seq for one in got] == list(range(1, len(got) + 1))
        assert store.summary("cli-1").message_count >= len(got)
        assert page(store, limit=5)[0].session_id == "cli-1"
        assert store.catalogue.with_key("ai-muse", "k0", None) == ("cli-1", 1)

    at_once(work, many // 2)
    assert store.summary("cli-1").message_count == 1 + many // 4


def test_last_set_by_many_threads_is_one_of_theirs_and_is_on_the_disk(restartable, many):
    store = restartable.store
    for number in range(8):
        store.create(header(f"cli-{number}"))
    at_once(lambda number: store.set_last("ai-muse", f"cli-{number % 8}"), many)
    said_last = store.last_sessions.get("ai-muse")
    assert (
        restartable.again().last_sessions.get("ai-muse")
        == said_last
        in {f"cli-{number}" for number in range(8)}
    )

"""What is thrown away, brought back and pruned, and which session an agent goes on with."""

from __future__ import annotations

import asyncio
import os

import pytest
from msgspec import structs
from peers.parts import Played, RecordingPeer, played
from peers.session_files import add, header, said, trash

from port42_daemon.backends.base import Done, Text
from port42_daemon.sessions.service import Sessions
from port42_daemon.sessions.trash import Trash
from port42_protocol.errors import (
    InvalidParams,
    NoSessions,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    StorageFailed,
    WrongAgent,
)
from port42_protocol.messages.forks_and_trash import DeleteSession, ListTrash, PruneSessions, RestoreSession
from port42_protocol.messages.records import EventRecord, Parent
from port42_protocol.messages.sessions import AppendMessage, CreateSession, GetLastSession
from port42_protocol.messages.turns import Subscribe
from port42_protocol.times import now


@pytest.fixture
def begin(rules):
    def begin(session_id: str, agent: str = "ai-muse") -> None:
        rules.ask(rules.sessions.create_session, CreateSession(agent, session_id))
        said = AppendMessage(agent, session_id, "user", "hello")
        rules.ask(rules.sessions.append_message, said)

    return begin


@pytest.fixture
def delete(rules):
    return lambda session_id, agent=None: rules.ask(
        rules.trash.delete_session, DeleteSession(session_id, agent)
    )


@pytest.fixture
def restore(rules):
    return lambda session_id: rules.ask(rules.trash.restore_session, RestoreSession(session_id))


@pytest.fixture
def prune(rules):
    return lambda **asked: rules.ask(rules.trash.prune_sessions, PruneSessions(**asked))


def last(rules, agent="ai-muse"):
    return rules.ask(rules.sessions.get_last_session, GetLastSession(agent)).session_id


def test_an_agent_goes_on_with_the_one_it_used_before_and_then_with_none(rules, begin, delete):
    begin("one")
    begin("two")
    begin("other", "ai-engineer")
    assert delete("two").last_session == "one"
    assert last(rules) == "one"
    assert delete("one", "ai-muse").last_session is None
    with pytest.raises(NoSessions):
        last(rules)
    assert "ai-muse" not in (rules.home / "agent_sessions.json").read_text()
    assert last(rules, "ai-engineer") == "other"


def test_a_session_that_is_not_the_last_changes_no_mapping(rules, begin, delete):
    begin("one")
    begin("two")
    assert delete("one").last_session == "two"


def test_what_is_refused_stays_where_it_is(rules, begin, delete, restore):
    begin("one")
    with pytest.raises(WrongAgent):
        delete("one", "ai-engineer")
    with pytest.raises(SessionNotFound):
        restore("one")
    assert last(rules) == "one"


def test_a_restored_session_is_the_last_unless_one_was_used_later(rules, begin, delete, restore):
    begin("one")
    delete("one")
    restore("one")
    assert last(rules) == "one"
    delete("one")
    begin("two")
    restore("one")
    assert last(rules) == "two"


def test_sub_agents_go_where_their_session_goes(rules, begin, delete, restore, prune):
    begin("one")
    for child, parent in (("a", "one"), ("b", "one"), ("a-of-a", "a")):
        rules.store.create(structs.replace(header(child), parent=Parent(parent, 1)), [said("hello")])
    everything = {"one", "a", "b", "a-of-a"}

    def trashed():
        return {session.session_id for session in rules.ask(rules.trash.list_trash, ListTrash()).sessions}

    delete("b")
    delete("one")
    assert trashed() == everything
    restore("one")
    assert trashed() == set()
    delete("one")
    prune(trash_older_than_days=0, dry_run=False)
    assert {rules.store.where(session_id) for session_id in everything} == {None}
    begin("two")
    delete("two")
    assert trashed() == {"two"}


def test_a_crash_between_the_move_and_the_mapping_is_made_good_when_asked(rules, begin):
    begin("one")
    begin("two")
    trash(rules.store, "two")  # and then nothing: as if killed here
    assert last(rules) == "one"
    trash(rules.store, "one")
    with pytest.raises(NoSessions):
        last(rules)


def test_a_file_removed_by_hand_is_still_told_as_such(rules, begin):
    begin("one")
    (rules.home / "sessions" / "one.json").unlink()
    with pytest.raises(SessionNotFound, match="session one no longer exists"):
        last(rules)


def test_a_trashed_id_is_never_given_anew(rules, begin, delete, monkeypatch):
    begin("cli-1")
    delete("cli-1")
    with pytest.raises(SessionExists):
        begin("cli-1")
    ids = iter(["cli-1", "cli-2"])
    monkeypatch.setattr(Sessions, "new_id", lambda *_: next(ids))
    assert rules.ask(rules.sessions.create_session, CreateSession("ai-muse")).session_id == "cli-2"


def test_a_trash_that_is_a_link_is_not_followed(rules, begin, delete, tmp_path):
    begin("one")
    (tmp_path / "elsewhere").mkdir()
    (rules.home / "trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed):
        delete("one")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert last(rules) == "one"


def test_what_a_hand_put_into_the_trash_harms_nothing(rules, begin, delete):
    begin("one")
    delete("one")
    trash = rules.home / "trash"
    (trash / "notes.txt").write_text("x")
    (trash / "bad.20260101T000000000Z.ai-muse.json").write_text("no session")
    (trash / "link.20260101T000000000Z.ai-muse.json").symlink_to("/etc/passwd")
    os.mkfifo(trash / "pipe.20260101T000000000Z.ai-muse.json")
    page = rules.ask(rules.trash.list_trash, ListTrash())
    assert [session.session_id for session in page.sessions] == ["one"]


def test_pages_of_the_trash(rules, begin, delete):
    for name in "abcde":
        begin(name)
        delete(name)
    seen, cursor = [], None
    while True:
        page = rules.ask(rules.trash.list_trash, ListTrash(limit=2, cursor=cursor))
        seen += [session.session_id for session in page.sessions]
        if not (cursor := page.next_cursor):
            break
    assert seen == list("edcba")


def test_pruning_shows_first_and_spares_what_is_pinned(rules, begin, prune):
    begin("old")
    begin("pinned")
    pin = EventRecord(seq=0, event="pinned", timestamp="2026-01-01T00:00:00.000Z", pinned=True)
    add(rules.store, "pinned", pin)
    shown = prune(older_than_days=0)
    assert (shown.dry_run, [session.session_id for session in shown.trashed]) == (True, ["old"])
    assert rules.store.where("old") == "sessions"
    assert prune(older_than_days=1, dry_run=False).trashed == ()
    done = prune(older_than_days=0, dry_run=False)
    assert [session.session_id for session in done.trashed] == ["old"]
    assert rules.store.where("pinned") == "sessions"
    assert last(rules) == "pinned"
    assert prune(trash_older_than_days=1, dry_run=False).deleted == ()
    gone = prune(trash_older_than_days=0, dry_run=False)
    assert gone.bytes == gone.deleted[0].bytes > 0
    assert list((rules.home / "trash").iterdir()) == []


def test_pruning_spares_sub_agents_that_are_pinned_or_used(rules, prune):
    long_ago = "2020-01-01T00:00:00.000Z"
    old, new = said("hello"), said("hello")
    old = structs.replace(old, timestamp=long_ago)
    new = structs.replace(new, timestamp=now())
    pinned = EventRecord(seq=0, event="pinned", timestamp=long_ago, pinned=True)
    rules.store.create(header("one"), [old])
    for child, records in (("old", [old]), ("used", [new]), ("pinned", [old, pinned])):
        rules.store.create(structs.replace(header(child), parent=Parent("one", 1)), records)
    rules.store.create(structs.replace(header("below"), parent=Parent("old", 1)), [old])
    shown = prune(older_than_days=1)
    pruned = prune(older_than_days=1, dry_run=False)
    for each in (shown, pruned):
        assert ([session.session_id for session in each.trashed], each.sub_agents) == (["one"], 2)
    assert rules.store.where("below") == "trash"
    places = {each: rules.store.where(each) for each in ("one", "old", "used", "pinned")}
    assert places == {"one": "trash", "old": "trash", "used": "sessions", "pinned": "sessions"}


def test_what_could_not_be_discarded_is_with_the_next_pruning(rules, begin, delete):
    asked = []

    async def discard(session_ids, *, dry_run):
        asked.append(sorted(session_ids))
        if len(asked) == 1:
            raise StorageFailed("the disk is full")
        return 0

    pruning = Trash(rules.sessions, rules.queues, discard=discard)
    request = PruneSessions(trash_older_than_days=0, dry_run=False)
    for session_id in ("one", "again", "two"):
        begin(session_id)
        delete(session_id)
        if session_id == "again":
            with pytest.raises(StorageFailed):
                rules.ask(pruning.prune_sessions, request)
            begin("again")
    rules.ask(pruning.prune_sessions, request)
    rules.ask(pruning.prune_sessions, request)
    assert asked == [["again", "one"], ["one", "two"], []]


def test_what_is_pruned_takes_along_what_damage_left_beside_it(rules, begin, delete, prune):
    begin("one")
    beside = rules.home / "sessions" / "one.json.damaged-20260101T000000.000000"
    beside.write_text("x")
    delete("one")
    prune(trash_older_than_days=0, dry_run=False)
    assert not beside.exists()


def test_pruning_without_an_age_is_an_error(prune):
    with pytest.raises(InvalidParams) as refused:
        prune()
    assert refused.value.data["field"] == "older_than_days"


def test_subscribers_hear_of_it(rules, begin):
    begin("one")
    peer = RecordingPeer()

    async def work() -> None:
        await rules.events.subscribe(Subscribe("ai-muse"), peer)
        await rules.trash.delete_session(DeleteSession("one"))
        await rules.trash.restore_session(RestoreSession("one"))

    asyncio.run(work())
    heard = [event["kind"] for event in peer.events]
    assert heard == ["deleted", "restored"]


def test_while_somebody_is_answered_nothing_moves_and_a_fork_goes_on_beside(home):
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(turn, ask):
        asked.set()
        if turn.message == "wait":
            await go_on.wait()
        yield Text(turn.message)
        yield Done()

    async def work(parts):
        first = await parts.possess("slow", "one")
        session_id = first.session_id
        waiting = asyncio.create_task(parts.possess("slow", "wait", session_id=session_id))
        while (await parts.records(session_id))[-1].content != "wait":  # noqa: ASYNC110  # polled
            await asyncio.sleep(0.01)
        with pytest.raises(SessionBusy):
            await parts.trash.delete_session(DeleteSession(session_id))
        pruned = await parts.trash.prune_sessions(PruneSessions(older_than_days=0, dry_run=False))
        assert pruned.trashed == ()
        beside = await parts.possess(
            "slow", "two", session_id=session_id, if_busy="fork", idempotency_key="k"
        )
        again = await parts.possess("slow", "two", session_id=session_id, if_busy="fork", idempotency_key="k")
        go_on.set()
        await waiting
        await parts.trash.delete_session(DeleteSession(session_id))
        return session_id, beside, again, await parts.records(beside.session_id)

    session_id, beside, again, records = played(home, work, slow=Played(slowly))
    assert beside.session_id == again.session_id != session_id
    assert [getattr(record, "content", "") or record.event for record in records] == [
        "one",
        "one",
        "forked",
        "two",
        "two",
    ]


def test_what_is_restored_while_it_is_pruned_stays_with_all_that_is_kept_of_it(
    rules, begin, delete, monkeypatch
):
    discarded, real = [], rules.store.purge

    async def discard(session_ids, *, dry_run):
        discarded.extend(session_ids)
        return 0

    def purge(old):
        rules.store.restore("one")
        rules.store.restore("two")
        trash(rules.store, "two")
        return real(old)

    for session_id in ("one", "two", "three"):
        begin(session_id)
        delete(session_id)
    monkeypatch.setattr(rules.store, "purge", purge)
    pruning = Trash(rules.sessions, rules.queues, discard=discard)
    pruned = rules.ask(pruning.prune_sessions, PruneSessions(trash_older_than_days=0, dry_run=False))
    assert [session.session_id for session in pruned.deleted] == discarded == ["three"]
    assert rules.store.where("one") == "sessions"
    assert [session.session_id for session in rules.store.trashed(None, None, 9)] == ["two"]

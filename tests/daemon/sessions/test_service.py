"""The rules of sessions: whose they are, which one was last, what a ref means, what a key stands for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from datetime import timedelta

import pytest

from port42_daemon.sessions import service
from port42_protocol.errors import (
    AmbiguousSession,
    InvalidParams,
    NoSessions,
    SessionExists,
    SessionNotFound,
    StorageFailed,
    WrongAgent,
)
from port42_protocol.messages.forks_and_trash import DeleteSession, RestoreSession
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import PinSession
from port42_protocol.messages.sessions import (
    Appended,
    AppendMessage,
    CreateSession,
    EndSession,
    FindSession,
    GetLastSession,
    GetSession,
    ListSessions,
    UpdateLastSession,
)
from port42_protocol.times import now


@pytest.fixture
def create(rules):
    return lambda agent="ai-muse", **more: rules.ask(
        rules.sessions.create_session, CreateSession(agent, **more)
    )


@pytest.fixture
def append(rules):
    def append(session_id: str, content: str, agent: str = "ai-muse", key: str | None = None) -> Appended:
        said = AppendMessage(agent, session_id, "user", content, key)
        return rules.ask(rules.sessions.append_message, said)

    return append


@pytest.fixture
def last(rules):
    def last(agent: str = "ai-muse", cwd: str | None = None) -> Summary:
        return rules.ask(rules.sessions.get_last_session, GetLastSession(agent, cwd))

    return last


@pytest.fixture
def find(rules):
    return lambda ref, agent=None: rules.ask(rules.sessions.find_session, FindSession(ref, agent)).session_id


def test_times_are_rfc_3339_in_utc_with_milliseconds():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())


def test_generated_ids_name_their_client_and_never_repeat(rules):
    asked = [CreateSession("ai-muse", client="my-tool") for _ in range(50)]
    made = rules.ask(rules.sessions.create_session, *asked)
    assert all(re.fullmatch(r"my-tool-\d{13,}", session.session_id) for session in made)
    assert len({session.session_id for session in made}) == 50


def test_an_id_that_is_taken_is_refused_and_nobodys_last_session_changes(create, last):
    create(session_id="mine")
    create("ai-analyst", session_id="other")
    with pytest.raises(SessionExists, match="session mine exists already"):
        create("ai-analyst", session_id="mine")
    assert (last().session_id, last("ai-analyst").session_id) == ("mine", "other")


def test_no_session_is_called_last(create):
    with pytest.raises(InvalidParams) as refused:
        create(session_id="last")
    assert refused.value.data["field"] == "session_id"


def test_last_is_the_one_used_last_and_never_another_agents(create, append, last):
    one, two = create(session_id="one"), create(session_id="two")
    create("ai-analyst", session_id="newest")
    assert last() == two
    append("one", "hello")
    assert last().session_id == one.session_id
    assert last("ai-analyst").session_id == "newest"
    with pytest.raises(NoSessions, match="No sessions found for ai-engineer"):
        last("ai-engineer")


def test_last_in_a_folder(create, append, last):
    create(session_id="here", cwd="/a")
    create(session_id="there", cwd="/b")
    create("ai-analyst", session_id="foreign", cwd="/a")
    assert last(cwd="/a").session_id == "here"
    with pytest.raises(NoSessions, match="No sessions found for ai-muse in /c"):
        last(cwd="/c")


def test_resuming_makes_a_session_the_last_one_and_is_recorded_once(rules, create, last):
    create(session_id="one")
    create(session_id="two")
    for _ in range(3):
        resumed = rules.ask(rules.sessions.update_last_session, UpdateLastSession("ai-muse", "one"))
    assert last() == resumed
    seen = rules.ask(rules.sessions.get_session, GetSession("one", events=True)).messages
    assert [record.event for record in seen] == ["resumed"]


@pytest.mark.parametrize("method", ["append", "resume", "end", "get", "find"])
def test_another_agents_session_is_refused_and_not_touched(rules, create, append, find, method):
    create("ai-analyst", session_id="theirs")
    create(session_id="mine")
    before = (rules.home / "sessions" / "theirs.json").read_bytes()
    how = {
        "append": lambda: append("theirs", "x"),
        "resume": lambda: rules.ask(
            rules.sessions.update_last_session, UpdateLastSession("ai-muse", "theirs")
        ),
        "end": lambda: rules.ask(rules.sessions.end_session, EndSession("theirs", "ai-muse")),
        "get": lambda: rules.ask(rules.sessions.get_session, GetSession("theirs", "ai-muse")),
        "find": lambda: find("theirs", "ai-muse"),
    }
    with pytest.raises(WrongAgent, match="session theirs belongs to @ai-analyst, not to @ai-muse"):
        how[method]()
    assert (rules.home / "sessions" / "theirs.json").read_bytes() == before
    assert dict(rules.store.last_sessions) == {"ai-analyst": "theirs", "ai-muse": "mine"}


def test_a_last_session_whose_file_vanished_no_longer_exists(rules, create, last, append, find):
    create(session_id="gone")
    (rules.home / "sessions" / "gone.json").unlink()
    for ask in (last, lambda: append("gone", "x"), lambda: find("last", "ai-muse")):
        with pytest.raises(SessionNotFound, match="session gone no longer exists"):
            ask()
    with pytest.raises(SessionNotFound, match="session never not found"):
        append("never", "x")


def test_a_mapping_that_points_to_another_agents_session_is_not_followed(rules, create, last):
    create("ai-analyst", session_id="theirs")
    create(session_id="mine")
    rules.store.set_last("ai-muse", "theirs")
    rules.store.set_last("ai-engineer", "theirs")
    assert last().session_id == "mine"
    assert json.loads((rules.home / "agent_sessions.json").read_bytes())["ai-muse"] == "mine"
    with pytest.raises(NoSessions):
        last("ai-engineer")


def test_ending_keeps_a_session_last_and_a_message_makes_it_active_again(rules, create, last, append):
    create(session_id="one")
    for _ in range(2):
        ended = rules.ask(rules.sessions.end_session, EndSession("one"))
        assert ended.state == "ended"
    assert last() == ended
    assert len(rules.ask(rules.sessions.get_session, GetSession("one", events=True)).messages) == 1
    append("one", "hello")
    assert last().state == "active"


def test_a_key_is_recorded_once_also_by_many_at_once(rules, create):
    create(session_id="one")
    said = AppendMessage("ai-muse", "one", "user", "hello", "k")
    first, *again = rules.ask(rules.sessions.append_message, *[said] * 20)
    assert set(again) == {first} == {Appended("one", 1)}
    assert rules.store.summary("one").message_count == 1


def test_a_late_repetition_does_not_make_its_session_the_last_one(create, append, last):
    create(session_id="one")
    append("one", "hello", key="k")
    create(session_id="two")
    append("two", "used since")
    assert append("one", "hello", key="k") == Appended("one", 1)
    assert last().session_id == "two"


def test_a_repetition_mends_a_mapping_that_a_crash_left_behind(rules, create, append, last):
    create(session_id="one")
    create(session_id="two")
    append("one", "hello", key="k")
    rules.store.set_last("ai-muse", "two")  # as if the crash had come before the mapping was written
    assert append("one", "hello", key="k") == Appended("one", 1)
    assert last().session_id == "one"


def test_messages_sent_in_a_row_are_recorded_in_that_order(rules, create):
    create(session_id="one")
    asked = [AppendMessage("ai-muse", "one", "user", str(number)) for number in range(100)]
    appended = rules.ask(rules.sessions.append_message, *asked)
    assert appended == [Appended("one", number + 1) for number in range(100)]
    kept = rules.ask(rules.sessions.get_session, GetSession("one")).messages
    assert [record.seq for record in kept] == list(range(1, 101))


def test_a_mapping_that_cannot_be_written_says_that_the_message_is_recorded(
    rules, create, append, monkeypatch
):
    create(session_id="one")
    create(session_id="two")

    def refuse(*_: object) -> None:
        raise StorageFailed("cannot write agent_sessions.json: no space left on device")

    monkeypatch.setattr(rules.store, "set_last", refuse)
    with pytest.raises(StorageFailed) as refused:
        append("one", "hello")
    assert (refused.value.data["session_id"], refused.value.data["seq"]) == ("one", 1)
    assert rules.store.summary("one").message_count == 1


def test_metadata_that_is_too_much_is_refused(create):
    with pytest.raises(InvalidParams) as refused:
        create(metadata={"a": "x" * 20_000})
    assert refused.value.data["field"] == "metadata"


def test_a_page_of_a_transcript_goes_on_where_it_stopped(rules, create, append):
    create(session_id="one", client="cli", metadata={"a": 1})
    for number in range(5):
        append("one", str(number))
    first = rules.ask(rules.sessions.get_session, GetSession("one", limit=2))
    assert (first.client, first.metadata, first.next_after_seq) == ("cli", {"a": 1}, 2)
    rest = rules.ask(rules.sessions.get_session, GetSession("one", after_seq=2))
    assert [record.content for record in (*first.messages, *rest.messages)] == ["0", "1", "2", "3", "4"]
    assert rest.next_after_seq is None


@pytest.mark.parametrize("length", [1, 10_000])
def test_the_last_records_come_without_those_before_them(rules, create, append, length):
    create(session_id="one", client="cli")
    for number in range(30):
        append("one", str(number).rjust(length))
    end = rules.ask(rules.sessions.get_session, GetSession("one", last=20))
    assert [int(record.content) for record in end.messages] == list(range(10, 30))
    assert (end.client, end.next_after_seq) == ("cli", None)
    assert len(rules.ask(rules.sessions.get_session, GetSession("one", last=100)).messages) == 30
    with pytest.raises(WrongAgent):
        rules.ask(rules.sessions.get_session, GetSession("one", "ai-analyst", last=1))


def test_what_a_ref_means(create, append, find):
    create(session_id="cli-1000", title="The Parser")
    create(session_id="cli-1001", title="cli-1000")
    create("ai-analyst", session_id="rpc-2000", title="Figures")
    append("cli-1000", "used last")
    assert find("last", "ai-muse") == "cli-1000"
    assert find("cli-1000") == "cli-1000", "an id comes before a title"
    assert find("cli-1001", "ai-muse") == "cli-1001"
    assert find("rpc-") == "rpc-2000"
    assert find("the parser") == "cli-1000"
    assert find("figures", "ai-analyst") == "rpc-2000"
    for none in ("rpc", "nothing", "%", "../x", "x" * 200, "\x00"):
        with pytest.raises(SessionNotFound):
            find(none)
    with pytest.raises(WrongAgent):
        find("figures", "ai-muse")
    assert find("last") == find("@ai-muse") == "cli-1000", "used last of all"
    append("rpc-2000", "later", "ai-analyst")
    assert find("last") == find("@ai-analyst", "ai-analyst") == "rpc-2000"
    with pytest.raises(WrongAgent):
        find("@ai-analyst", "ai-muse")
    for ref, agent in (("last", "ai-engineer"), ("@ai-engineer", None)):
        with pytest.raises(NoSessions):
            find(ref, agent)


def test_nobodys_last_session_is_no_session(find):
    with pytest.raises(NoSessions, match=r"No sessions found$"):
        find("last")


def test_a_ref_that_fits_several_lists_them(create, find):
    for number in range(12):
        create(session_id=f"cli-10{number:02}")
    with pytest.raises(AmbiguousSession, match="cli-10 fits several sessions") as refused:
        find("cli-10")
    candidates = refused.value.data["candidates"]
    assert len(candidates) == 10
    assert candidates[0]["session_id"] == "cli-1011"
    assert set(candidates[0]) >= {"agent", "title", "last_activity", "message_count"}


def test_pages_of_a_list_join_while_sessions_are_used(rules, create, append):
    for number in range(7):
        create(session_id=f"cli-{number}")
    got, cursor = [], None
    while True:
        page = rules.ask(rules.listing.list_sessions, ListSessions(limit=2, cursor=cursor))
        got += [session.session_id for session in page.sessions]
        append("cli-6", "used meanwhile")
        cursor = page.next_cursor
        if cursor is None:
            break
    assert got == [f"cli-{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("cursor", ["x", "A", "AAAA", "ICAg", "é", "====", "_-_-", "/w=="])
def test_a_cursor_that_is_none_is_refused(rules, cursor):
    with pytest.raises(InvalidParams) as refused:
        rules.ask(rules.listing.list_sessions, ListSessions(cursor=cursor))
    assert refused.value.data["field"] == "cursor"


def test_locks_go_when_nobody_holds_them(rules):
    async def use() -> None:
        lock = rules.sessions.order("one")
        async with lock:
            assert rules.sessions.order("one") is lock

    asyncio.run(use())
    assert not rules.threads._orders


def test_an_append_passes_few_frames_between_its_handler_and_the_disk(rules, monkeypatch):
    """Handler, rule, store, bytes, one write: whoever reads an append follows no more than this."""
    rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="mine"))
    stacks, pwrite = [], os.pwrite

    def record(*args):
        frame, stack = sys._getframe(1), []
        while frame is not None:
            if "port42_daemon" in frame.f_code.co_filename:
                stack.append(frame.f_code.co_qualname)
            frame = frame.f_back
        stacks.append(stack[::-1])
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", record)
    rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", "mine", "user", "hello"))
    (stack,) = stacks
    assert stack[1:] == ["Sessions._append", "_Writing.append", "overwrite_tail", "write_all"]
    assert 1 + len(stack) <= 7, "with the handler's own frame, which waits for the thread"


@pytest.fixture
def clock(monkeypatch):
    """`clock.back(hours)` sets the clock back: the time that records get, not that of anything else."""

    class Clock:
        hours = 0

        def back(self, hours):
            self.hours = hours

    clock = Clock()
    real = service.now
    monkeypatch.setattr(service, "now", lambda ago=timedelta(): real(ago + timedelta(hours=clock.hours)))
    return clock


@pytest.mark.parametrize("restart", ["no", "with its index", "without it"])
def test_the_session_used_last_is_the_last_one_whatever_the_clock_does(rules, tmp_path, clock, restart):
    home, Rules = tmp_path / "other", type(rules)  # noqa: N806  # the fixture is one of them
    rules = Rules(home)
    try:
        for session_id in ("old", "deleted"):
            rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id=session_id))
        rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", "old", "user", "x", "key"))
        clock.back(1)
        if restart != "no":
            rules.close()
            for path in home.glob("index.db*") if restart == "without it" else ():
                path.unlink()
            rules = Rules(home)
        rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="new"))
        assert rules.store.ends("new")[0].created_at < rules.store.ends("old")[0].created_at

        def agree():
            last = rules.ask(rules.sessions.get_last_session, GetLastSession("ai-muse")).session_id
            listed = rules.ask(rules.listing.list_sessions, ListSessions("ai-muse")).sessions
            assert (last, listed[0].session_id) == ("new", "new")

        agree()
        rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", "old", "user", "x", "key"))
        agree()
        rules.ask(rules.trash.delete_session, DeleteSession("deleted"))
        rules.ask(rules.trash.restore_session, RestoreSession("deleted"))
        agree()
        rules.ask(rules.sessions.pin_session, PinSession("old"))
        agree()
        rules.close()
        (home / "agent_sessions.json").unlink()
        for path in home.glob("index.db*"):
            path.unlink()
        rules = Rules(home)
        agree()
        pages, cursor = [], None
        while cursor is not None or not pages:
            page = rules.ask(rules.listing.list_sessions, ListSessions("ai-muse", limit=1, cursor=cursor))
            pages += [session.session_id for session in page.sessions]
            cursor = page.next_cursor
        assert pages == ["new", "old", "deleted"]
    finally:
        rules.close()

"""What every store must keep. A new one is added to `STORES` and nothing else is changed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, structs
from peers.session_files import add, page, trash

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import (
    ENDED,
    FORKED,
    RESUMED,
    CheckPosition,
    Header,
    SessionFilter,
    SessionWriter,
    UnfinishedTurn,
)
from port42_protocol.errors import InvalidParams, SessionExists, SessionNotFound
from port42_protocol.messages.records import (
    MESSAGES,
    AssistantMessage,
    EventRecord,
    ForkPoint,
    Parent,
    Record,
    Source,
    ToolRecord,
    TurnRecord,
    replace,
)


class Reopened:
    """A store that is closed and opened again between any two operations: nothing lives in memory only."""

    def __init__(
        self, make: Callable[[], FileStore], part: str = "", lock: threading.Lock | None = None
    ) -> None:
        self._make = make
        self._part = part
        self._one_at_a_time = lock or threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name == "writing":
            return self._writing
        if name in {"catalogue", "maintenance"}:
            return Reopened(self._make, name, self._one_at_a_time)
        if name == "last_sessions":
            with self._opened() as store:
                return dict(store.last_sessions)
        if name == "state":
            with self._opened() as part:
                return part.state

        def operate(*args: Any, **named: Any) -> Any:
            with self._opened() as part:
                return getattr(part, name)(*args, **named)

        return operate

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._one_at_a_time:
            store = self._make()
            store.open()
            try:
                yield getattr(store, self._part) if self._part else store
            finally:
                store.close()

    @contextlib.contextmanager
    def _writing(self, session_id: str) -> Iterator[SessionWriter]:
        with self._opened() as store, store.writing(session_id) as session:
            yield session


class Vessel:
    """A store under test, and the ways to meet it again after a stop, with or without its index."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home, self.kind = home, kind
        self.store: Any = None
        self.begin()

    def begin(self) -> None:
        if self.kind == "reopened":
            self.store = Reopened(lambda: FileStore(self.home))
        else:
            self.store = FileStore(self.home)
            self.store.open()

    def end(self) -> None:
        if self.kind != "reopened":
            self.store.close()

    def again(self, between: Callable[[], None] = lambda: None) -> Any:
        self.end()
        between()
        self.begin()
        return self.store


STORES = ["files", "reopened"]


@pytest.fixture(params=STORES)
def vessel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Vessel]:
    vessel = Vessel(tmp_path / "home", request.param)
    yield vessel
    vessel.end()


@pytest.fixture
def store(vessel: Vessel) -> Any:
    return vessel.store


def at(second: int) -> str:
    return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"


def header(session_id: str, agent: str = "ai-muse", second: int = 0, **more: Any) -> Header:
    return Header(id=session_id, agent=agent, created_at=at(second), client="cli", **more)


def said(content: str, second: int = 1, role: str = "user", key: Any = UNSET) -> Record:
    return MESSAGES[role](seq=0, content=content, timestamp=at(second), key=key)


def event(name: str, second: int = 1) -> Record:
    return EventRecord(seq=0, event=name, timestamp=at(second))


def read(store: Any, session_id: str, **more: Any) -> tuple[list[Record], int | None]:
    page = store.read(
        session_id, **{"after_seq": 0, "limit": 1000, "max_bytes": 1 << 22, "events": False, **more}
    )
    return page.records, page.onward


def contents(store: Any, session_id: str) -> list[str]:
    return [one.content for one in read(store, session_id)[0]]


# --- one session ------------------------------------------------------------------------------------


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


def test_a_session_of_many_long_lines_is_read_from_anywhere(store):
    store.create(header("cli-1"), [said("z" * (number * 9973 % 90_000)) for number in range(1, 31)])
    for after_seq in range(31):
        found = [one.seq for one in read(store, "cli-1", after_seq=after_seq, max_bytes=1 << 30)[0]]
        assert found == list(range(after_seq + 1, 31))


# --- the last one -----------------------------------------------------------------------------------


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


def test_last_is_last_used_twenty_stops_in_a_row(vessel):
    """Four sessions of one agent, stop, start, `last` is right: 20 times, each time another of them."""
    ids = [f"cli-{number}" for number in range(4)]
    for session_id in ids:
        vessel.store.create(header(session_id), [said("hello")])
        vessel.store.set_last("ai-muse", session_id)
    for round_ in range(20):
        used = ids[round_ * 3 % 4]
        add(vessel.store, used, said(f"round {round_}", 10 + round_))
        vessel.store.set_last("ai-muse", used)
        store = vessel.again()
        assert store.last_sessions.get("ai-muse") == used
        assert page(store, agent="ai-muse", limit=1)[0].session_id == used


@pytest.mark.parametrize("ruin", [lambda path: path.unlink(), lambda path: path.write_bytes(b'{"ai-muse": ')])
def test_a_lost_mapping_comes_back_from_the_sessions(vessel, ruin):
    for number, second in ((1, 5), (2, 9), (3, 7)):
        vessel.store.create(header(f"cli-{number}", second=number), [said("x", second)])
    vessel.store.create(header("rpc-4", agent="ai-analyst"))
    vessel.store.set_last("ai-muse", "cli-2")
    vessel.store.set_last("ai-analyst", "rpc-4")
    store = vessel.again(lambda: ruin(vessel.home / "agent_sessions.json"))
    assert dict(store.last_sessions) == {"ai-muse": "cli-2", "ai-analyst": "rpc-4"}
    assert json.loads((vessel.home / "agent_sessions.json").read_bytes()) == dict(store.last_sessions)


# --- questions across sessions ----------------------------------------------------------------------


@pytest.fixture
def several(store: Any) -> Any:
    store.create(header("cli-1000", second=1, cwd="/a"), [said("The Parser", 10)])
    store.create(header("cli-1001", second=2, cwd="/a"), [said("the parser again", 40)])
    store.create(header("rpc-2000", agent="ai-analyst", second=3, cwd="/b"), [said("Größe", 30)])
    store.create(header("cli-1002", second=4, cwd="/b"), [said("other", 20), event(ENDED, 50)])
    return store


def ids(found: list[Any]) -> list[str]:
    return [one.session_id for one in found]


def test_a_page_is_by_last_use_and_narrowed_by_every_field(several):
    assert ids(page(several, limit=10)) == ["cli-1001", "rpc-2000", "cli-1002", "cli-1000"]
    assert ids(page(several, agent="ai-muse", limit=10)) == ["cli-1001", "cli-1002", "cli-1000"]
    assert ids(page(several, cwd="/b", limit=10)) == ["rpc-2000", "cli-1002"]
    assert ids(page(several, state="ended", limit=10)) == ["cli-1002"]
    assert ids(page(several, agent="ai-muse", cwd="/a", state="active", limit=1)) == ["cli-1001"]
    assert page(several, agent="ai-engineer", limit=10) == []


def test_what_a_page_shows_is_what_the_session_says(several):
    for listed in page(several, limit=10):
        shown = structs.asdict(listed)
        assert listed.session_id.startswith(shown.pop("short_id"))
        assert shown == structs.asdict(several.summary(listed.session_id))


def test_a_use_moves_a_session_to_the_front_at_once(several):
    add(several, "cli-1000", said("again", 60))
    assert ids(page(several, limit=1)) == ["cli-1000"]
    add(several, "rpc-2000", event(RESUMED, 70))
    assert ids(page(several, limit=2)) == ["rpc-2000", "cli-1000"]


def test_the_cursor_keeps_its_place_while_sessions_change(store):
    for number in range(20):
        # Four sessions share each moment: a cursor by time alone would skip or repeat some.
        store.create(header(f"cli-{number:04}", second=number // 4))
    got: list[str] = []
    rows, before = store.catalogue.page(SessionFilter(), None, 3)[:2]
    while rows:
        got += ids(rows)
        add(store, got[0], said("used meanwhile", 100 + len(got)))
        store.create(header(f"new-{len(got)}", second=500))
        rows, before = store.catalogue.page(SessionFilter(), before, 3)[:2] if before else ([], None)
    assert got == [f"cli-{number:04}" for number in range(19, -1, -1)]


def test_a_short_id_fits_its_session_alone(store):
    for session_id in ("cli-1757350466684", "cli-1757350466685", "cli-1757350123456", "ab", "abc", "x"):
        store.create(header(session_id))
    for listed in page(store, limit=10):
        fitting = ids(store.catalogue.matching(listed.short_id, None, 10))
        # "ab" begins "abc", too; a whole id is looked up before a prefix is tried.
        assert fitting == [listed.session_id] or listed.short_id == listed.session_id


def test_prefixes(several):
    assert ids(several.catalogue.matching("cli-100", None, 10)) == ["cli-1001", "cli-1002", "cli-1000"]
    assert ids(several.catalogue.matching("cli-1002", None, 10)) == ["cli-1002"]
    assert ids(several.catalogue.matching("cli-", "ai-analyst", 10)) == []
    assert len(several.catalogue.matching("cli-", None, 2)) == 2
    for none in ("%", "cli_", "CLI", "cli-1002x", "\x00", "'", "é"):
        assert several.catalogue.matching(none, None, 10) == []


def test_titles_in_any_case_and_the_whole_one_before_those_that_begin_so(several):
    assert ids(several.catalogue.matching("the PARSER", None, 10)) == ["cli-1000"]
    assert ids(several.catalogue.matching("the pars", None, 10)) == ["cli-1001", "cli-1000"]
    assert ids(several.catalogue.matching("GRÖSSE", None, 10)) == ["rpc-2000"]
    assert several.catalogue.matching("the parser", "ai-analyst", 10) == []
    for none in ("%", "_he parser", "parser"):
        assert several.catalogue.matching(none, None, 10) == []


def test_counts(several):
    assert several.catalogue.counts() == {"ai-muse": 3, "ai-analyst": 1}


def test_a_sub_agents_session_is_in_the_list_of_its_parent_only(several):
    several.create(
        header("sub-1", second=900, title="The parser", parent=Parent("cli-1000", 1)), [said("x", 950)]
    )
    several.create(header("sub-2", second=901, parent=Parent("cli-1000", 2)))
    assert "sub-1" not in ids(page(several, limit=100))
    assert "sub-1" not in ids(page(several, limit=100, agent="ai-muse"))
    assert ids(page(several, limit=100, parent="cli-1000")) == ["sub-1", "sub-2"]
    assert ids(page(several, limit=100, parent="cli-1000", agent="ai-analyst")) == []
    assert page(several, limit=100, parent="cli-1000")[0].parent == Parent("cli-1000", 1)
    assert page(several, limit=100, parent="nowhere") == []
    assert several.catalogue.counts() == {"ai-muse": 3, "ai-analyst": 1}
    assert ids(several.catalogue.matching("sub-1", None, 10)) == ["sub-1"]
    assert ids(several.catalogue.matching("sub-", None, 10)) == ["sub-1", "sub-2"]
    assert "sub-1" not in ids(several.catalogue.matching("the parser", None, 10))


def test_a_session_is_known_by_its_id_in_a_tool(store):
    def reply(native_id: str, second: int) -> Record:
        turn = TurnRecord(backend="claude", native_id=native_id)
        return AssistantMessage(seq=0, content="yes", timestamp=at(second), status="complete", turn=turn)

    store.create(header("cli-1"), [said("x"), reply("n-1", 2)])
    store.create(header("cli-2", imported_from=Source("claude", "n-2")), [said("x")])
    by_native = store.catalogue.by_native
    assert [by_native(f"n-{number}") for number in (1, 2, 3)] == ["cli-1", "cli-2", None]
    add(store, "cli-2", reply("n-3", 5))
    assert [by_native(f"n-{number}") for number in (2, 3)] == ["cli-2", "cli-2"]
    add(store, "cli-1", reply("n-3", 9))
    assert [by_native(f"n-{number}") for number in (1, 3)] == [None, "cli-1"]


def no_index(home: Path) -> None:
    for file in home.glob("index.db*"):
        file.unlink()


def junk_index(home: Path) -> None:
    no_index(home)
    (home / "index.db").write_bytes(b"not a database, not at all" * 400)


def cut_index(home: Path) -> None:
    whole = (home / "index.db").read_bytes()
    (home / "index.db").write_bytes(whole[: len(whole) // 2])


def holed_index(home: Path) -> None:
    """The first page is good, the others are not: it opens, and fails when it is asked."""
    whole = (home / "index.db").read_bytes()
    (home / "index.db").write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


def other_schema(home: Path) -> None:
    whole = bytearray((home / "index.db").read_bytes())
    whole[60:64] = (99).to_bytes(4, "big")  # PRAGMA user_version, in the header (sqlite.org/fileformat2)
    (home / "index.db").write_bytes(whole)


@pytest.mark.parametrize("ruin", [lambda _: None, no_index, junk_index, cut_index, holed_index, other_schema])
def test_every_question_is_answered_as_before_after_a_stop_whatever_became_of_the_index(vessel, ruin):
    store = vessel.store
    for number in range(30):
        first = said(f"title {number}", number, key=f"k-{number}")
        store.create(header(f"cli-{number:04}", second=number), [first])
    add(store, "cli-0003", said("more", 90, key="later"), said("and more", 91, role="assistant"))

    def answers(store: Any) -> list[Any]:
        return [
            page(store, limit=50),
            store.catalogue.matching("cli-000", None, 50),
            store.catalogue.matching("title 7", None, 50),
            [store.catalogue.with_key("ai-muse", f"k-{number}", None) for number in range(30)],
            store.catalogue.with_key("ai-muse", "later", None),
            store.catalogue.counts(),
        ]

    before = answers(store)
    assert before[4] == ("cli-0003", 2)
    assert before[5] == {"ai-muse": 30}
    store = vessel.again(lambda: ruin(vessel.home))
    assert answers(store) == before


def test_a_key_is_its_agents_and_its_sessions(store):
    store.create(header("cli-1"), [said("a", key="k"), said("b", key="other")])
    store.create(header("cli-2"), [said("c"), said("d", key="k")])
    store.create(header("rpc-3", agent="ai-analyst"), [said("e", key="k")])
    assert store.catalogue.with_key("ai-muse", "k", "cli-1") == ("cli-1", 1)
    assert store.catalogue.with_key("ai-muse", "k", "cli-2") == ("cli-2", 2)
    assert store.catalogue.with_key("ai-muse", "k", None) in {("cli-1", 1), ("cli-2", 2)}
    assert store.catalogue.with_key("ai-muse", "other", "cli-2") is None
    assert store.catalogue.with_key("ai-analyst", "k", None) == ("rpc-3", 1)
    assert store.catalogue.with_key("ai-engineer", "k", None) is None


def test_a_rewritten_session_has_the_new_records_and_its_keys_and_is_kept_as_it_was(vessel):
    store = vessel.store
    store.create(header("cli-1"), [said("a"), said("b", key="k")], use=True)
    before = (vessel.home / "sessions" / "cli-1.json").read_bytes()
    records = [replace(said(text), seq=seq) for seq, text in enumerate("xyz", 1)]
    records.append(replace(said("b", key="k"), seq=4))
    summary = store.rewrite(structs.replace(header("cli-1"), title="anew"), records, "then")
    assert (summary.title, summary.message_count) == ("anew", 4)
    assert read(store, "cli-1")[0] == records
    assert store.catalogue.with_key("ai-muse", "k", "cli-1") == ("cli-1", 4)
    assert add(store, "cli-1", said("later")) == 5
    [kept] = (vessel.home / "backups" / "then").rglob("cli-1.json")
    assert kept.read_bytes() == before
    with pytest.raises(SessionNotFound):
        store.rewrite(header("cli-2"), records, "then")


# --- many at once -----------------------------------------------------------------------------------


def at_once(work: Callable[[int], Any], times: int, threads: int = 8) -> list[Any]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(times)))


@pytest.fixture
def many(vessel: Vessel) -> int:
    """How many operations a hammering has: opening a store for each one costs more."""
    return 64 if vessel.kind == "reopened" else 400


def test_one_session_hammered_by_threads_keeps_every_message_at_the_seq_it_was_given(vessel, many):
    store = vessel.store
    store.create(header("cli-1"))
    seqs = at_once(lambda number: add(store, "cli-1", said(f"m{number}")), many)
    assert sorted(seqs) == list(range(1, many + 1))
    store = vessel.again()
    kept = {one.seq: one.content for one in read(store, "cli-1")[0]}
    assert kept == {seq: f"m{number}" for number, seq in enumerate(seqs)}
    json.loads((vessel.home / "sessions" / "cli-1.json").read_bytes())


def test_different_sessions_hammered_by_threads_never_mix(vessel, many):
    store = vessel.store
    for number in range(8):
        store.create(header(f"cli-{number}", agent=f"agent-{number}"))

    def work(number: int) -> None:
        mine = number % 8
        add(store, f"cli-{mine}", said(f"{mine}/{number}"))
        store.set_last(f"agent-{mine}", f"cli-{mine}")
        assert store.summary(f"cli-{mine}").agent == f"agent-{mine}"

    at_once(work, many)
    store = vessel.again()
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


def test_readers_meet_writers_and_see_whole_sessions(vessel, many):
    store = vessel.store
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


def test_last_set_by_many_threads_is_one_of_theirs_and_is_on_the_disk(vessel, many):
    store = vessel.store
    for number in range(8):
        store.create(header(f"cli-{number}"))
    at_once(lambda number: store.set_last("ai-muse", f"cli-{number % 8}"), many)
    said_last = store.last_sessions.get("ai-muse")
    assert (
        vessel.again().last_sessions.get("ai-muse") == said_last in {f"cli-{number}" for number in range(8)}
    )


# --- lineage ----------------------------------------------------------------------------------------


def fork(store: Any, original: str, named: str, at_seq: int | None = None, **more: Any) -> Any:
    header, footer = store.ends(original)
    seq = footer.last_seq if at_seq is None else at_seq
    changed = {"id": named, "created_at": at(50), "forked_from": ForkPoint(original, seq), **more}
    return store.fork(original, seq, structs.replace(header, **changed), event(FORKED, 50))


def with_its_index_and_without(vessel: Vessel) -> Iterator[Any]:
    yield vessel.store
    yield vessel.again((vessel.home / "index.db").unlink)


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


def test_a_copied_key_answers_for_the_original_only_with_or_without_its_index(vessel):
    answered(vessel.store, "cli-2")
    fork(vessel.store, "cli-2", "cli-1")
    add(vessel.store, "cli-1", said("own", key="key-2"))
    for store in with_its_index_and_without(vessel):
        assert store.catalogue.with_key("ai-muse", "key-1", None) == ("cli-2", 1)
        assert store.catalogue.with_key("ai-muse", "key-1", "cli-1") is None
        assert store.catalogue.with_key("ai-muse", "key-2", "cli-1") == ("cli-1", 4)


def test_forks_are_found_by_their_original(vessel):
    vessel.store.create(header("cli-1"), [said("x")])
    fork(vessel.store, "cli-1", "cli-2")
    fork(vessel.store, "cli-2", "cli-3")
    for store in with_its_index_and_without(vessel):
        assert [one.session_id for one in store.catalogue.family(["cli-1"])] == ["cli-1", "cli-2"]
        family = store.catalogue.family(["cli-1", "cli-2"])
        assert sorted(ids(family)) == ["cli-1", "cli-2", "cli-3"]
        assert ids(store.catalogue.family(["cli-3", "gone"])) == ["cli-3"]
        assert store.catalogue.family([]) == []


def test_a_fork_meets_no_torn_record_while_its_original_grows(vessel):
    if vessel.kind == "reopened":
        pytest.skip("one operation at a time")
    store = vessel.store
    store.create(header("cli-1"), [said("x" * 100_000)])
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [add(store, "cli-1", said(f"{n}")) for n in range(100)])
        for number in range(20):
            fork(store, "cli-1", f"fork-{number}")
        writing.result()
    for number in range(20):
        path = vessel.home / "sessions" / f"fork-{number}.json"
        kept = [one["seq"] for one in json.loads(path.read_bytes())["messages"]]
        assert kept == list(range(1, len(kept) + 1))


# --- the trash --------------------------------------------------------------------------------------


def test_what_is_in_the_trash_is_nowhere_else(vessel):
    store = vessel.store
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
        store = vessel.again()


def test_what_is_restored_is_as_it_was(vessel):
    store = vessel.store
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
        store = vessel.again()


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


# --- care -------------------------------------------------------------------------------------------


def test_nothing_is_wrong_with_what_was_kept_in_order(store):
    for number in range(1, 4):
        store.create(header(f"cli-{number}"), [said("a"), said("b", role="assistant")])
        store.set_last("ai-muse", f"cli-{number}")
    found = store.maintenance.check(None)
    assert [one for one in found if one.level != "ok" and one.about != "permissions"] == []  # pytest's umask
    swept = store.maintenance.check_sessions(CheckPosition(), 60.0, lambda _: False, None)
    assert (swept.findings, swept.partial, swept.remaining, swept.position) == ([], [], 0, None)
    assert swept.examined == 3


def test_what_was_said_is_counted_and_what_takes_room_is_added_up(store):
    store.create(header("cli-1"), [said("a"), said("b", role="assistant"), event(ENDED)])
    add(store, "cli-1", said("c"))
    store.create(header("cli-2", agent="ai-analyst"))
    agents = store.catalogue.statistics(None, None).agents
    counted = {one.agent: (one.user_messages, one.assistant_messages) for one in agents}
    assert counted == {"ai-muse": (2, 1), "ai-analyst": (0, 0)}
    used = store.maintenance.usage(None)
    assert {one.agent: one.sessions for one in used.agents} == {"ai-muse": 1, "ai-analyst": 1}
    assert used.total_bytes > sum(one.total_bytes for one in used.agents) > 0

"""The index's writer: updates from appends and from files, and what queries return then."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from port42_daemon.store.index import entries, messages, search, sessions
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import SHORT_ID, SessionFilter, SessionUpdate
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter, PendingUpdates
from port42_daemon.store.session_file.document import RENAMED, numbered
from port42_protocol.messages.records import EventRecord, Record, Summary, UserMessage
from port42_protocol.times import milliseconds

AT = "2026-01-01T00:00:00.000Z"


def said(content: str, key: str | None = None) -> Record:
    return UserMessage(seq=0, content=content, timestamp=AT, key=UNSET if key is None else key)


def event(name: str, **more) -> Record:
    return EventRecord(seq=0, event=name, timestamp=AT, **more)


def update(session_id: str, last_seq: int = 0, size: int = 0, **more) -> SessionUpdate:
    """Of a file that was read anew, unless `after_seq` and `keys` are given."""
    names = SessionUpdate.__struct_fields__
    known = {"title": None, "state": "active", "created_at": AT, "last_activity": AT, "message_count": 0}
    fields = {name: value for name, value in more.items() if name not in names}
    summary = Summary(session_id=session_id, **{"agent": "a", "cwd": None, **known, **fields})
    own = {name: value for name, value in more.items() if name in names}
    return SessionUpdate(summary, last_seq, size, size, milliseconds(summary.last_activity), **own)


class Index(IndexWriter):
    """A writer with its database, queried as by `SessionIndex`, and sessions' records in place of files."""

    def __init__(self, database: Database) -> None:
        self.database, self.state = database, IndexState()
        self.records: dict[str, list[Record]] = {}
        self.updates: dict[str, SessionUpdate] = {}
        super().__init__(database, self.state)

    def append(self, session_id: str, *records: Record, **more) -> None:
        stored = self.records.setdefault(session_id, [])
        after_seq = len(stored)
        stored += (numbered(record, seq) for seq, record in enumerate(records, after_seq + 1))
        size = sum(len(str(record)) for record in stored)
        state = update(session_id, len(stored), size, after_seq=after_seq, **more)
        self.updates[session_id] = structs.replace(
            state, keys=entries.keys(state.summary, stored[after_seq:])
        )
        self.note(self.updates[session_id])

    def rewrite(self, session_id: str, *records: Record, **more) -> None:
        """Another program writes the file."""
        self.records[session_id] = [numbered(record, seq) for seq, record in enumerate(records, 1)]
        self.updates[session_id] = update(session_id, len(records), 99_999, **more)
        self.note(self.updates[session_id])

    def part(self, session_id: str, after_seq: int, most: int = 1_000) -> entries.Part:
        """Of the records as they are now, in a reading that begins now."""
        records = [record for record in self.records[session_id] if record.seq > after_seq][:most]
        session = self.session(session_id)
        assert session
        return entries.part(self.updates[session_id], after_seq, records, fed_seq=session.fed_seq)

    def read(self, session_id: str, after_seq: int, most: int = 1_000) -> None:
        self.add([self.part(session_id, after_seq, most)])

    def catch_up(self) -> None:
        for session_id, fed_seq, _ in self.behind():
            self.read(session_id, max(fed_seq, 0))

    def ids(self, **filters) -> list[str]:
        self.flush()
        rows = sessions.page(self.database.reading, SessionFilter(**filters), None, 100)
        return sorted(row.session.session_id for row in rows)

    def find(self, text: str) -> list[tuple[str, int]]:
        self.catch_up()
        hits, *_ = search.page(self.database.reading, parse(text), None, 0, 100)
        return sorted((hit.session.session_id, hit.seq) for hit in hits)

    def with_key(self, key: str, session_id: str | None = None) -> tuple[str, int] | None:
        self.flush()
        return messages.with_key(self.database.reading, "a", key, session_id and [session_id])

    def erase(self) -> None:
        while self.remove_text():
            pass
        for table in ("said", "done"):
            more = self.merge(table, everything=True)
            while more:
                more = self.merge(table, everything=False)
        self.empty_log()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.db"


@pytest.fixture(params=["file", "memory"])
def index(request, path):
    database = Database(path)
    if request.param == "file":
        database.open()
    else:
        database.open_in_memory()
    index = Index(database)
    index.state.mark_listed(damaged=False)
    index.mark_caught_up()
    yield index
    index.close()
    database.close()


def test_an_update_is_listed_and_found_at_once(index):
    index.append("one", said("build a parser", key="k"))
    index.append("one", said("and a lexer"), said("parser", key="k2"))
    index.append("empty")
    assert index.ids() == ["empty", "one"]
    assert index.with_key("k2", "one") == ("one", 3)
    assert index.find("parser") == [("one", 1), ("one", 3)]
    assert index.behind() == []
    assert index.state.phase is Phase.READY


def test_a_forgotten_session_leaves_nothing_in_the_file(index, path):
    for name in ("one", "two"):
        index.append(name, said(f"the secret of {name} is xyzzy{name}", key=name), tags=("kept",))
    assert index.find("secret") == [("one", 1), ("two", 1)]
    index.forget("one")
    assert (index.ids(), index.ids(tag="kept"), index.find("secret")) == (["two"], ["two"], [("two", 1)])
    assert index.with_key("one") is None
    index.erase()
    if index.database.in_memory:
        return
    index.close()
    index.database.close()
    kept = b"".join(path.read_bytes() for path in path.parent.iterdir())
    assert b"xyzzytwo" in kept
    assert b"xyzzyone" not in kept


def test_the_text_of_a_large_session_is_deleted_in_steps(index):
    index.append("one", *(said("alpha " + f"x{number} " * 7_000) for number in range(40)))
    index.append("two", said("alpha"))
    assert len(index.find("alpha")) == 41
    index.forget("one")
    assert index.find("alpha") == [("two", 1)], "without its row a session's text is in no answer"
    index.append("three", said("alpha"))
    assert index.find("alpha") == [("three", 1), ("two", 1)], "no session takes the place of another"
    steps = 0
    while index.remove_text():
        steps += 1
    assert steps == 3
    database = index.database.reading
    assert database.execute("SELECT count(*), sum(entries) FROM blocks").fetchone() == (2, 2)
    assert database.execute("SELECT count(*) FROM said WHERE said MATCH 'alpha'").fetchone() == (2,)
    assert index.find("alpha") == [("three", 1), ("two", 1)]


def stale(index):
    return {session_id: records for session_id, fed_seq, records in index.behind() if fed_seq < 0}


def test_a_file_that_another_program_wrote_is_stale_until_it_is_read(index):
    index.append("one", said("old words"), said("more"))
    assert index.find("old") == [("one", 1)]
    index.rewrite("one", said("new words"), said("at last", key="k"))
    assert stale(index) == {"one": 2}
    assert index.state.phase is Phase.STALE
    index.read("one", 0, most=1)
    assert stale(index) == {"one": 2}, "half a session counts for nothing"
    index.read("one", 0, most=1)
    index.read("one", 1)
    index.mark_caught_up()
    assert (index.find("old"), index.find("words"), index.find("last")) == ([], [("one", 1)], [("one", 2)])
    assert index.with_key("k") == ("one", 2)
    assert index.state.phase is Phase.READY


def test_an_unchanged_file_is_not_read_again(index):
    index.append("one", said("words"))
    assert index.find("words") == [("one", 1)]
    index.note(update("one", 1, index.updates["one"].size))
    assert index.behind() == []


def test_an_append_to_a_stale_session_is_read_with_it(index):
    index.rewrite("one", *(said(f"w{seq}") for seq in range(1, 6)))
    index.append("one", said("sixth", key="six"))
    assert stale(index) == {"one": 6}
    assert (index.find("sixth"), index.find("w3"), index.behind()) == ([("one", 6)], [("one", 3)], [])
    assert index.with_key("six") == ("one", 6)


def test_a_part_that_was_read_twice_is_added_once(index):
    index.append("one", said("alpha"))
    index.flush()
    index.read("one", 0)
    index.read("one", 0)
    assert index.find("alpha") == [("one", 1)]


def test_a_long_append_is_read_in_parts(index):
    index.append("one", *(said(f"alpha {number}") for number in range(10)))
    index.flush()
    index.read("one", 0, most=4)
    assert index.behind() == [("one", 4, 6)]
    assert len(index.find("alpha")) == 10


def test_a_session_that_became_another_agents_is_found_as_theirs(index):
    index.append("one", said("words"))
    assert index.find("words agent:a") == [("one", 1)]
    index.rewrite("one", said("words"), agent="b")
    assert (index.find("words agent:a"), index.find("words agent:b")) == ([], [("one", 1)])


def test_given_titles_and_tags_are_found(index):
    index.append("one", said("build a parser"), title="build a parser")
    assert index.find("role:title") == []
    index.append("one", event(RENAMED, title="Größe"), title="Größe", tags=("later",))
    assert index.find("größe") == [("one", 0)]
    assert index.find("later role:title") == [("one", 0)]
    index.append("one", event(RENAMED, title="other"), title="other")
    assert (index.find("größe"), index.find("other")) == ([], [("one", 0)])


def test_many_updates_of_a_session_keep_every_key_and_the_last_state(index):
    for number in range(1, 200):
        index.append("cli-1", said("x", key=f"k-{number}"), message_count=number)
    index.flush()
    (kept,) = sessions.with_prefix(index.database.reading, "cli-1", None, 5)
    assert kept.message_count == 199
    assert [index.with_key(f"k-{number}") for number in range(1, 200)] == [
        ("cli-1", number) for number in range(1, 200)
    ]


def test_a_short_id_is_a_prefix_that_fits_no_other(index):
    given = ["cli-1757350466684", "cli-1757350466689", "cli-1757350466600", "cli-1757350123456", "x"]
    for session_id in given:
        index.append(session_id)
    index.flush()
    rows = sessions.page(index.database.reading, SessionFilter(), None, 10)
    for session in (row.session for row in rows):
        assert len(session.short_id) >= min(SHORT_ID, len(session.session_id))
        assert [other for other in given if other.startswith(session.short_id)] == [session.session_id]


def test_an_update_does_not_wait_for_a_write(index):
    with index.database.write_lock:
        noting = threading.Thread(target=index.append, args=("one", said("alpha")))
        noting.start()
        noting.join(10)
        assert not noting.is_alive()
    assert index.find("alpha") == [("one", 1)]


# --- pending updates ----------------------------------------------------------------------------------


def pending(*updates: SessionUpdate) -> list[tuple[str, int, int | None, tuple[str, ...]]]:
    gathered = PendingUpdates()
    gathered.add(*updates)
    return states(gathered.take())


def states(updates: list[SessionUpdate]) -> list[tuple[str, int, int | None, tuple[str, ...]]]:
    return [
        (item.summary.session_id, item.last_seq, item.after_seq, tuple(key for _, key, *_ in item.keys))
        for item in updates
    ]


def test_appends_are_merged():
    appends = [
        update("a", seq, seq, after_seq=seq - 1, keys=(("a", f"k{seq}", "a", seq),)) for seq in (3, 4, 5)
    ]
    assert pending(*appends) == [("a", 5, 2, ("k3", "k4", "k5"))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (update("a", 7, 7, after_seq=6), update("a", 9, 9, after_seq=8)),
        (update("a", 7, 7, after_seq=6), update("a", 8, 8)),
    ],
    ids=["records missing", "file read anew"],
)
def test_what_does_not_follow_is_to_be_read_anew(before, after):
    assert pending(before, after) == [("a", after.last_seq, None, ())]


def test_what_is_appended_to_a_file_as_it_was_found_comes_behind_that():
    """The index may know the file as it was: then only what was appended is new."""
    appends = [update("a", seq, seq, after_seq=seq - 1, keys=(("a", f"k{seq}", "a", seq),)) for seq in (8, 9)]
    assert pending(update("a", 7, 7), *appends) == [("a", 7, None, ()), ("a", 9, 7, ("k8", "k9"))]
    assert pending(update("a", 7, 7), *appends, update("a", 3, 3)) == [("a", 3, None, ())]


def test_a_file_that_is_read_as_it_was_changes_nothing():
    append = update("a", 1, 1, after_seq=0, keys=(("a", "k", "a", 1),))
    assert pending(append, update("a", 1, 1)) == [("a", 1, 0, ("k",))]


@given(st.integers(0, 6), st.integers(0, 6))
def test_updates_that_could_not_be_written_come_before_those_added_since(written, since):
    gathered = PendingUpdates()
    assert not gathered
    appends = [update("a", seq, seq, after_seq=seq - 1) for seq in range(1, written + since + 1)]
    gathered.add(*appends[:written])
    taken = gathered.take()
    gathered.add(*appends[written:])
    gathered.put_back(taken)
    assert states(gathered.take()) == [("a", written + since, 0, ())] * bool(appends)
    gathered.add(*appends)
    gathered.drop("a")
    assert not gathered


def test_a_key_that_came_while_a_stale_session_was_read_is_found_after_it_is_read_again(index):
    index.rewrite("s", said("one", "k1"))
    part = index.part("s", 0)
    index.append("s", said("two", "k2"))
    index.flush()
    index.add([part])
    assert stale(index) == {"s": 2}
    index.catch_up()
    assert messages.with_key(index.database.writing, "a", "k2", ["s"]) == ("s", 2)
    assert index.session("s").fed_seq == 2


def test_what_was_read_of_a_file_does_not_count_for_the_one_that_took_its_place(index):
    index.append("s", said("one"), said("two", "k2"))
    index.catch_up()
    index.append("s", said("three"))
    growing = index.part("s", 2)
    index.rewrite("s", said("one"), said("second", "k3"), said("third"))
    index.flush()
    index.add([growing])
    whole = index.part("s", 0)
    begun = index.part("s", 0, most=1)
    index.add([begun])
    index.rewrite("s", said("one"), said("II", "k4"), said("III"))
    index.updates["s"] = structs.replace(index.updates["s"], size=100_000)
    index.note(index.updates["s"])
    index.flush()
    rest = structs.replace(index.part("s", 1), fed_seq=begun.fed_seq)
    index.add([whole])
    index.add([rest])
    assert index.find("two") == index.find("three") == index.find("second") == []
    assert index.find("II") == [("s", 2)]
    assert [index.with_key(key) for key in ("k2", "k3", "k4")] == [None, None, ("s", 2)]


def test_a_reading_that_began_two_rewritings_ago_is_not_taken_up_again(index):
    def rewrite(*records: Record, size: int) -> None:
        index.rewrite("s", *records)
        index.updates["s"] = structs.replace(index.updates["s"], size=size)
        index.note(index.updates["s"])
        index.flush()

    rewrite(said("one"), said("two"), size=1)
    index.catch_up()
    rewrite(said("one"), said("2"), size=2)
    rewrite(said("I"), said("II"), size=3)
    [(_, begun, _)] = index.behind()
    index.catch_up()
    rewrite(said("one"), said("2"), size=4)
    rewrite(said("A"), said("B"), size=5)
    index.add([structs.replace(index.part("s", 1), fed_seq=begun)])
    index.catch_up()
    assert index.find("II") == []
    assert index.find("B") == [("s", 2)]

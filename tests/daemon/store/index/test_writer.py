"""The index's writer: updates from appends and from files, and what queries return then."""

from __future__ import annotations

import threading

import pytest
from msgspec import UNSET

from port42_daemon.store.index import messages, search, sessions, write_buffer
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import SHORT_ID, SessionFilter, SessionUpdate
from port42_daemon.store.index.state import IndexState, Phase
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.interface import milliseconds
from port42_daemon.store.session_file.document import RENAMED, numbered
from port42_protocol.messages.records import EventRecord, Record, Summary, UserMessage

AT = "2026-01-01T00:00:00.000Z"


def said(content: str, seq: int = 0, key: str | None = None, **more) -> Record:
    key = UNSET if key is None else key
    return UserMessage(**{"seq": seq, "content": content, "timestamp": AT, "key": key, **more})


def event(name: str, **more) -> Record:
    return EventRecord(seq=0, event=name, timestamp=AT, **more)


def update(
    session_id: str, last_seq: int = 0, *records: Record, size: int | None = None, **more
) -> SessionUpdate:
    known = {"title": None, "state": "active", "created_at": AT, "last_activity": AT, "message_count": 0}
    summary = Summary(session_id=session_id, **{"agent": "a", "cwd": None, **known, **more})
    size = last_seq if size is None else size
    first = last_seq - len(records) + 1
    placed = (record if record.seq else numbered(record, seq) for seq, record in enumerate(records, first))
    return SessionUpdate(
        summary,
        last_seq,
        size=size,
        mtime_ns=size,
        use=milliseconds(summary.last_activity),
        records=tuple(placed),
    )


class Index(IndexWriter):
    """A writer with its database, queried as by `SessionIndex`."""

    def __init__(self, database: Database) -> None:
        self.database, self.state = database, IndexState()
        super().__init__(database, self.state)

    def ids(self, **filters) -> list[str]:
        self.flush_rows()
        rows = sessions.page(self.database.reading, SessionFilter(**filters), None, 100)
        return sorted(row.session.session_id for row in rows)

    def find(self, text: str) -> list[tuple[str, int]]:
        self.flush()
        hits, *_ = search.page(self.database.reading, parse(text), None, 0, 100)
        return sorted((hit.session.session_id, hit.seq) for hit in hits)

    def with_key(self, key: str, session_id: str | None = None) -> tuple[str, int] | None:
        self.flush_rows()
        return messages.with_key(self.database.reading, "a", key, session_id)


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
    index.state.mark_listed()
    index.mark_caught_up()
    yield index
    index.close()
    database.close()


def test_an_update_is_listed_and_found_at_once(index):
    index.note(update("one", 1, said("build a parser", key="k")))
    index.note(update("one", 3, said("and a lexer"), said("parser", key="k2")))
    index.note(update("empty"))
    assert index.ids() == ["empty", "one"]
    assert index.find("parser") == [("one", 1), ("one", 3)]
    assert index.with_key("k2", "one") == ("one", 3)
    assert index.stale_sessions() == []
    assert index.state.phase is Phase.READY


def test_a_forgotten_session_leaves_nothing_in_the_file(index, path):
    for name in ("one", "two"):
        index.note(update(name, 1, said(f"the secret of {name} is xyzzy{name}", key=name), tags=("kept",)))
    assert index.find("secret") == [("one", 1), ("two", 1)]
    index.forget("one")
    assert (index.ids(), index.ids(tag="kept"), index.find("secret")) == (["two"], ["two"], [("two", 1)])
    assert index.with_key("one") is None
    assert index.erase_deleted_text(first=True) in {True, False}
    while index.erase_deleted_text(first=False):
        pass
    if index.database.in_memory:
        return
    index.close()
    index.database.close()
    kept = b"".join(path.read_bytes() for path in path.parent.iterdir())
    assert b"xyzzytwo" in kept
    assert b"xyzzyone" not in kept


def test_a_file_that_another_program_wrote_is_stale_until_it_is_read(index):
    index.note(update("one", 2, said("old words"), said("more")))
    assert index.find("old") == [("one", 1)]
    index.note(update("one", 2, size=99))
    assert index.stale_sessions() == [("one", 2)]
    assert index.is_stale("one")
    assert index.state.phase is Phase.STALE
    assert index.resume_from("one") == 0
    index.add_records([update("one", 2, said("new words", 1), size=99)])
    assert index.is_stale("one"), "half a session counts for nothing"
    index.add_records([update("one", 2, said("at last", 2, key="k"), size=99)])
    index.mark_caught_up()
    assert (index.find("old"), index.find("words"), index.find("last")) == (
        [],
        [("one", 1)],
        [("one", 2)],
    )
    assert index.with_key("k") == ("one", 2)
    assert index.state.phase is Phase.READY


def test_an_unchanged_file_is_not_read_again(index):
    index.note(update("one", 1, said("words")))
    index.note(update("one", 1))
    assert index.stale_sessions() == []
    assert index.find("words") == [("one", 1)]


def test_an_append_to_a_stale_session_is_read_with_it(index):
    index.note(update("one", 5))
    index.note(update("one", 6, said("sixth", key="six")))
    assert index.find("sixth") == []
    assert index.resume_from("one") == 0
    index.add_records([update("one", 6, *(said(f"w{seq}", seq) for seq in range(1, 6)), said("sixth", 6))])
    assert (index.stale_sessions(), index.find("sixth")) == ([], [("one", 6)])


def test_a_session_that_became_another_agents_is_found_as_theirs(index):
    index.note(update("one", 1, said("words")))
    assert index.find("words agent:a") == [("one", 1)]
    index.note(update("one", 1, size=9, agent="b"))
    index.resume_from("one")
    index.add_records([update("one", 1, said("words", 1), size=9, agent="b")])
    assert (index.find("words agent:a"), index.find("words agent:b")) == ([], [("one", 1)])


def test_given_titles_and_tags_are_found(index):
    index.note(update("one", 1, said("build a parser"), title="build a parser"))
    assert index.find("role:title") == []
    index.note(update("one", 2, event(RENAMED, title="Größe"), title="Größe", tags=("later",)))
    assert index.find("größe") == [("one", 0)]
    assert index.find("later role:title") == [("one", 0)]
    index.note(update("one", 3, event(RENAMED, title="other"), title="other"))
    assert (index.find("größe"), index.find("other")) == ([], [("one", 0)])


def test_a_burst_is_read_from_files(index):
    for number in range(30):
        index.note(update(f"cli-{number}", 100, *(said(f"burst {number}") for _ in range(100))))
    index.flush_rows()
    assert len(index.stale_sessions()) >= 20, "text above the limit is read from its file"
    assert index.state.phase is Phase.STALE


def test_many_updates_of_a_session_keep_every_key_and_the_last_state(index):
    for number in range(1, 200):
        index.note(update("cli-1", number, said("x", key=f"k-{number}"), message_count=number))
    index.flush_rows()
    (kept,) = sessions.with_prefix(index.database.reading, "cli-1", None, 5)
    assert kept.message_count == 199
    assert [index.with_key(f"k-{number}") for number in range(1, 200)] == [
        ("cli-1", number) for number in range(1, 200)
    ]


def test_a_short_id_is_a_prefix_that_fits_no_other(index):
    given = ["cli-1757350466684", "cli-1757350466689", "cli-1757350466600", "cli-1757350123456", "x"]
    for session_id in given:
        index.note(update(session_id))
    index.flush_rows()
    rows = sessions.page(index.database.reading, SessionFilter(), None, 10)
    for session in (row.session for row in rows):
        assert len(session.short_id) >= min(SHORT_ID, len(session.session_id))
        assert [other for other in given if other.startswith(session.short_id)] == [session.session_id]


def test_a_session_with_dropped_text_stays_stale_when_more_comes(index, monkeypatch):
    """Text that is missing and taken for indexed would never be found."""
    index.note(update("one", 1, said("alpha")))
    assert index.find("alpha") == [("one", 1)]
    monkeypatch.setattr(write_buffer, "MAX_MESSAGES", 2)
    index.note(update("one", 4, *(said(f"beta {number}") for number in range(3))))
    index.flush_rows()  # three are too many: they are dropped
    index.note(update("one", 5, said("gamma")))
    index.flush()
    assert index.stale_sessions() == [("one", 5)]
    records = [said(text, seq) for seq, text in enumerate(("beta", "beta", "beta", "gamma"), 2)]
    index.add_records([update("one", 5, *records)])
    assert index.find("beta") == [("one", 2), ("one", 3), ("one", 4)]
    assert index.find("gamma") == [("one", 5)]
    assert index.stale_sessions() == []


def test_an_update_does_not_wait_for_a_write(index):
    with index.database.write_lock:
        noting = threading.Thread(target=index.note, args=(update("one", 1, said("alpha")),))
        noting.start()
        noting.join(10)
        assert not noting.is_alive()
    assert index.find("alpha") == [("one", 1)]

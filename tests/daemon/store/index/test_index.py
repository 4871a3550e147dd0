"""The index alone: what it is told, what it forgets, who waits, what becomes of a bad file."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from msgspec import UNSET

from port42_daemon.store.index import write_buffer
from port42_daemon.store.index.index import Index
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.sessions import SHORT_ID, Row, Wanted
from port42_daemon.store.session_file.document import RENAMED
from port42_protocol.messages.records import Message, Summary

AT = "2026-01-01T00:00:00.000Z"


def said(content: str, seq: int = 0, key: str | None = None, **more) -> Message:
    key = UNSET if key is None else key
    return Message(**{"seq": seq, "role": "user", "content": content, "timestamp": AT, "key": key, **more})


def event(name: str, **more) -> Message:
    return Message(seq=0, role="event", event=name, timestamp=AT, **more)


def row(session_id: str, last_seq: int = 0, *records: Message, size: int | None = None, **more) -> Row:
    known = {"title": None, "state": "active", "created_at": AT, "last_activity": AT, "message_count": 0}
    summary = Summary(session_id=session_id, **{"agent": "a", "cwd": None, **known, **more})
    size = last_seq if size is None else size
    return Row(summary, last_seq, size=size, mtime_ns=size, records=records)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.db"


@pytest.fixture
def index(path):
    index = Index(path)
    index.open()
    index.all_listed()
    index.settle()
    yield index
    index.close()


def ids(index: Index, **wanted) -> list[str]:
    return sorted(one.session.session_id for one in index.page(Wanted(**wanted), None, 100))


def found(index: Index, text: str) -> list[tuple[str, int]]:
    hits, *_ = index.search(parse(text), None, 0, 100)
    return sorted((hit.session.session_id, hit.seq) for hit in hits)


def test_what_was_noted_is_listed_and_found_at_once(index):
    index.note(row("one", 1, said("build a parser", key="k")))
    index.note(row("one", 3, said("and a lexer"), said("parser", key="k2")))
    index.note(row("empty"))
    assert ids(index) == ["empty", "one"]
    assert found(index, "parser") == [("one", 1), ("one", 3)]
    assert index.with_key("a", "k2", "one") == ("one", 3)
    assert index.behind() == []
    assert index.search(parse("lexer"), None, 0, 1)[3]


def test_a_session_that_is_forgotten_leaves_nothing_behind_it(index, path):
    for name in ("one", "two"):
        index.note(row(name, 1, said(f"the secret of {name} is xyzzy{name}", key=name), tags=("kept",)))
    assert found(index, "secret") == [("one", 1), ("two", 1)]
    index.forget("one")
    assert (ids(index), ids(index, tag="kept"), found(index, "secret")) == (["two"], ["two"], [("two", 1)])
    assert index.with_key("a", "one", None) is None
    assert index.erase_traces(first=True) in {True, False}
    while index.erase_traces(first=False):
        pass
    index.close()
    kept = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"xyzzytwo" in kept
    assert b"xyzzyone" not in kept


def test_a_file_that_somebody_else_wrote_is_behind_until_it_was_read(index):
    index.note(row("one", 2, said("old words"), said("more")))
    assert found(index, "old") == [("one", 1)]
    index.note(row("one", 2, size=99))
    assert index.behind() == [("one", 2)]
    assert index.is_behind("one")
    assert not index.search(parse("old"), None, 0, 1)[3]
    assert index.read_from("one") == 0
    index.take_in([row("one", 2, said("new words", 1), size=99)])
    assert index.is_behind("one"), "half a session counts for nothing"
    index.take_in([row("one", 2, said("at last", 2, key="k"), size=99)])
    index.settle()
    assert (found(index, "old"), found(index, "words"), found(index, "last")) == (
        [],
        [("one", 1)],
        [("one", 2)],
    )
    assert index.with_key("a", "k", None) == ("one", 2)
    assert index.search(parse("new"), None, 0, 1)[3]


def test_a_file_that_is_as_it_was_is_not_read_again(index):
    index.note(row("one", 1, said("words")))
    index.note(row("one", 1))
    assert index.behind() == []
    assert found(index, "words") == [("one", 1)]


def test_an_append_to_a_session_that_is_behind_is_read_with_it(index):
    index.note(row("one", 5))
    index.note(row("one", 6, said("sixth", key="six")))
    assert found(index, "sixth") == []
    assert index.read_from("one") == 0
    index.take_in([row("one", 6, *(said(f"w{seq}", seq) for seq in range(1, 6)), said("sixth", 6))])
    assert (index.behind(), found(index, "sixth")) == ([], [("one", 6)])


def test_a_session_that_became_another_agents_is_found_as_theirs(index):
    index.note(row("one", 1, said("words")))
    assert found(index, "words agent:a") == [("one", 1)]
    index.note(row("one", 1, size=9, agent="b"))
    index.read_from("one")
    index.take_in([row("one", 1, said("words", 1), size=9, agent="b")])
    assert (found(index, "words agent:a"), found(index, "words agent:b")) == ([], [("one", 1)])


def test_titles_that_were_given_and_tags_are_found_and_change(index):
    index.note(row("one", 1, said("build a parser"), title="build a parser"))
    assert found(index, "role:title") == []
    index.note(row("one", 2, event(RENAMED, title="Größe"), title="Größe", tags=("later",)))
    assert found(index, "größe") == [("one", 0)]
    assert found(index, "later role:title") == [("one", 0)]
    index.note(row("one", 3, event(RENAMED, title="other"), title="other"))
    assert (found(index, "größe"), found(index, "other")) == ([], [("one", 0)])


def test_a_burst_does_not_pile_up_in_memory(index):
    for number in range(30):
        index.note(row(f"cli-{number}", 100, *(said(f"burst {number}") for _ in range(100))))
    index.counts()
    assert len(index.behind()) >= 20, "what is too much is read from its file"
    assert not index.search(parse("burst"), None, 0, 1)[3]


def test_a_question_waits_until_the_sessions_are_known_and_a_key_until_all_are_read(path):
    index = Index(path)
    index.open()
    index.note(row("one", 1))
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(index.counts())),
        threading.Thread(target=lambda: answers.append(index.with_key("a", "k", None))),
    ]
    for one in asking:
        one.start()
    asking[0].join(0.05)
    assert answers == []
    index.all_listed()
    asking[0].join()
    index.settle()
    asking[1].join(0.05)
    assert answers == [{"a": 1}]
    index.read_from("one")
    index.take_in([row("one", 1, said("words", 1, key="k"))])
    index.settle()
    asking[1].join()
    assert answers == [{"a": 1}, ("one", 1)]
    index.close()


def test_who_waits_for_what_nobody_reads_hears_so(path):
    index = Index(path)
    index.open()
    index.release()
    assert index.counts() == {}
    with pytest.raises(sqlite3.OperationalError, match="not every session was read"):
        index.with_key("a", "k", None)
    index.close()


def test_many_notes_of_one_session_keep_every_key_and_the_last_state(index):
    for number in range(1, 200):
        index.note(row("cli-1", number, said("x", key=f"k-{number}"), message_count=number))
    (kept,) = index.with_prefix("cli-1", None, 5)
    assert kept.message_count == 199
    assert [index.with_key("a", f"k-{number}", None) for number in range(1, 200)] == [
        ("cli-1", number) for number in range(1, 200)
    ]


def test_a_short_id_is_a_prefix_that_fits_no_other(index):
    given = ["cli-1757350466684", "cli-1757350466689", "cli-1757350466600", "cli-1757350123456", "x"]
    for session_id in given:
        index.note(row(session_id))
    for one in (listed.session for listed in index.page(Wanted(), None, 10)):
        assert len(one.short_id) >= min(SHORT_ID, len(one.session_id))
        assert [other for other in given if other.startswith(one.short_id)] == [one.session_id]


@pytest.mark.parametrize("junk", [b"", b"junk" * 500, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_file_that_is_no_index_is_made_anew(path, junk):
    path.write_bytes(junk)
    index = Index(path)
    index.open()
    index.mend()
    index.all_listed()
    index.note(row("cli-1"))
    assert ids(index) == ["cli-1"]
    index.close()


def test_a_folder_in_its_place_is_an_error_and_every_question_too(path):
    path.mkdir()
    index = Index(path)
    with pytest.raises((OSError, sqlite3.Error)):
        index.open()
    with pytest.raises(sqlite3.Error):
        index.mend()
    index.release()
    with pytest.raises(sqlite3.Error):
        index.counts()
    index.close()


def test_what_was_let_go_for_its_size_is_behind_also_when_more_comes(index, monkeypatch):
    """Not found would be bad; believed to be there would be for ever."""
    index.note(row("one", 1, said("alpha")))
    assert found(index, "alpha") == [("one", 1)]
    monkeypatch.setattr(write_buffer, "MOST", 2)
    index.note(row("one", 4, *(said(f"beta {number}") for number in range(3))))
    index.write()  # three are too many: they are let go
    index.note(row("one", 5, said("gamma")))
    index.feed()
    assert index.behind() == [("one", 5)]
    records = [said(text, seq) for seq, text in enumerate(("beta", "beta", "beta", "gamma"), 2)]
    index.take_in([row("one", 5, *records)])
    assert found(index, "beta") == [("one", 2), ("one", 3), ("one", 4)]
    assert found(index, "gamma") == [("one", 5)]
    assert index.behind() == []


def test_whoever_notes_waits_for_nobody_who_writes(index):
    with index._lock:
        noting = threading.Thread(target=index.note, args=(row("one", 1, said("alpha")),))
        noting.start()
        noting.join(10)
        assert not noting.is_alive()
    assert found(index, "alpha") == [("one", 1)]

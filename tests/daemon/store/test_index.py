"""The index alone: what it keeps of files, what it forgets, what becomes of a bad one."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from port42_daemon.store.index import SHORT_ID, Index, Row
from port42_protocol.messages import Summary


def row(session_id: str, size: int = 1, keys: tuple[tuple[str, int], ...] = (), **more) -> Row:
    said = {"title": None, "state": "active", "created_at": "t", "last_activity": "t0", "message_count": 0}
    summary = Summary(session_id=session_id, **{"agent": "a", "cwd": None, **said, **more})
    return Row(summary, last_seq=size, size=size, mtime_ns=size, keys=keys)


def opened(path, files=(), read=None) -> Index:
    index = Index(path)
    index.open()
    index.catch_up(files, read or (lambda *_: pytest.fail("nothing changed")))
    return index


def ids(index: Index) -> list[str]:
    found = index.page(agent=None, cwd=None, state=None, before=None, limit=100)
    return sorted(one.session_id for one in found)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.db"


def test_only_files_that_changed_are_read_and_those_gone_are_forgotten(path):
    index = opened(path)
    for session_id in ("same", "grown", "gone"):
        index.note(row(session_id, 5, keys=((f"k-{session_id}", 1),)))
    index.close()
    asked = []

    def read(session_id: str, after_seq: int) -> Row:
        asked.append((session_id, after_seq))
        return row(session_id, 9, keys=(("k-later", 7),))

    index = opened(path, [("same", 5, 5), ("grown", 9, 9), ("new", 9, 9)], read)
    assert sorted(asked) == [("grown", 5), ("new", 0)]
    assert ids(index) == ["grown", "new", "same"]
    assert index.with_key("a", "k-gone", None) is None
    assert index.with_key("a", "k-grown", None) == ("grown", 1)
    assert index.with_key("a", "k-later", "grown") == ("grown", 7)
    index.close()


def test_a_file_that_cannot_be_read_is_left_out_and_tried_again(path):
    opened(path, [("bad", 1, 1)], lambda *_: None).close()
    index = opened(path, [("bad", 1, 1)], lambda session_id, _: row(session_id))
    assert ids(index) == ["bad"]
    index.close()


def test_a_question_waits_until_the_index_is_up_to_date(path):
    index = Index(path)
    index.open()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(index.counts()))
    asking.start()
    asking.join(0.1)
    assert asking.is_alive()
    index.catch_up([("one", 1, 1)], lambda session_id, _: row(session_id))
    asking.join()
    assert answers == [{"a": 1}]
    index.close()


def test_a_question_does_not_wait_for_ever_when_catching_up_failed(path):
    index = Index(path)
    index.open()

    def unreadable(*_: object) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        index.catch_up([("cli-1", 1, 1)], unreadable)
    assert index.counts() == {}
    index.close()


def test_an_early_stop_loses_no_key(path):
    """A session met before its turn in the catch-up is noted without its older keys."""
    index = Index(path)
    index.open()
    files = [(f"cli-{number}", 9, 9) for number in range(300)]

    def read(session_id: str, _: int) -> Row:
        index.note(row("cli-299", 9))
        index.interrupt()
        return row(session_id, 9)

    index.catch_up(files, read)
    index.close()
    index = opened(path, files, lambda session_id, _: row(session_id, 9, keys=((f"k-{session_id}", 1),)))
    assert index.with_key("a", "k-cli-299", None) == ("cli-299", 1)
    index.close()


def test_many_notes_of_one_session_keep_every_key_and_the_last_state(path):
    index = opened(path)
    for number in range(1, 200):
        index.note(row("cli-1", number, keys=((f"k-{number}", number),), message_count=number))
    (found,) = index.with_prefix("cli-1", None, 5)
    assert found.message_count == 199
    assert [index.with_key("a", f"k-{number}", None) for number in range(1, 200)] == [
        ("cli-1", number) for number in range(1, 200)
    ]
    index.close()


def test_a_short_id_is_a_prefix_that_fits_no_other(path):
    index = opened(path)
    given = ["cli-1757350466684", "cli-1757350466689", "cli-1757350466600", "cli-1757350123456", "x"]
    for session_id in given:
        index.note(row(session_id))
    for one in index.page(agent=None, cwd=None, state=None, before=None, limit=10):
        assert len(one.short_id) >= min(SHORT_ID, len(one.session_id))
        assert [other for other in given if other.startswith(one.short_id)] == [one.session_id]
    index.close()


@pytest.mark.parametrize("junk", [b"", b"junk" * 500, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_file_that_is_no_index_is_made_anew(path, junk):
    path.write_bytes(junk)
    index = opened(path)
    index.note(row("cli-1"))
    assert ids(index) == ["cli-1"]
    index.close()


def test_a_folder_in_its_place_is_an_error_and_every_question_too(path):
    path.mkdir()
    index = Index(path)
    with pytest.raises((OSError, sqlite3.Error)):
        index.open()
    with pytest.raises(sqlite3.Error):
        index.catch_up([], lambda *_: None)
    with pytest.raises(sqlite3.Error):
        index.counts()
    index.close()

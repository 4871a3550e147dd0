"""The rows of one conversation of a database, as they are kept, are read as the database is."""

from __future__ import annotations

import sqlite3

import pytest
from peers import llm_database
from peers.tool_sessions import LIMITS, TOOLS

from port42_daemon.transfer.readers import database_rows, detect, llm
from port42_daemon.transfer.readers.base import Skipped

DATABASES = sorted(TOOLS.rglob("*.db"))


@pytest.mark.parametrize("path", DATABASES, ids=lambda path: path.parent.name)
def test_the_rows_of_a_conversation_have_all_that_is_read_of_it(path, tmp_path):
    name = detect.recognise(path)
    listed = detect.sources_of(name, path)
    assert listed
    for number, source in enumerate(listed):
        copy = tmp_path / f"{number}.db"
        database_rows.make_database(database_rows.lines_of(name, path, source.conversation), copy)
        read = detect.Source("", name, copy, source.conversation).read(LIMITS)
        for ours, theirs in zip(read, source.read(LIMITS), strict=True):
            assert (list(ours.records), ours.info) == (list(theirs.records), theirs.info)


def test_what_was_attached_in_older_versions_of_llm_has_a_placeholder(tmp_path):
    path, copy = tmp_path / "logs.db", tmp_path / "copy.db"
    llm_database.old(path, {"01a": [("", "a boat"), ("and this?", "a mast")], "01b": [("hi", "hello")]})
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE prompt_attachments (response_id, attachment_id, "order")')
        attached = [("01a-0", "h1", 0), ("01a-1", "h2", 0), ("01a-1", "h3", 1), ("01b-7", "h4", 0)]
        database.executemany("INSERT INTO prompt_attachments VALUES (?, ?, ?)", attached)
    database.close()
    database_rows.make_database(database_rows.lines_of("llm", path, "01a"), copy)
    for each in (path, copy):
        [session] = llm.read(each, "01a", LIMITS)
        assert [record.content for record in session.records if record.role == "user"] == [
            "[attachment]",
            "and this?\n\n[attachment]\n\n[attachment]",
        ]


def test_blobs_and_odd_values_stay_what_they_are(tmp_path):
    path, copy = tmp_path / "opencode.db", tmp_path / "copy.db"
    row = ("ses_1", b"\x00\xff", None, 2**60, 1.5, "half \ufffd")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE session (id, a, b, c, d, e)")
        database.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", row)
        database.execute("INSERT INTO session (id) VALUES ('ses_2')")
    database_rows.make_database(database_rows.lines_of("opencode", path, "ses_1"), copy)
    assert sqlite3.connect(copy).execute("SELECT * FROM session").fetchall() == [row]


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"table":"a; DROP","columns":["b"]}'],
        [b'{"table":"a","columns":["b\\" c"]}'],
        [b"[1]"],
        [b'{"table":"a","columns":["b"]}', b"[1,2]"],
        [b"{"],
        [b"7"],
    ],
)
def test_other_lines_are_refused(lines, tmp_path):
    with pytest.raises(Skipped):
        database_rows.make_database(lines, tmp_path / "x.db")

"""A derived database stays as it is, or is made anew where it cannot be used."""

from __future__ import annotations

import contextlib
import sqlite3
import stat

import pytest

from port42_daemon import databases

TABLES = "CREATE TABLE facts (fact TEXT);"


def facts(path, version=1, add=None):
    """What is in the database at `path`, to which `add` is added first."""
    with contextlib.closing(databases.opened(path, version, TABLES)) as database:
        if add is not None:
            with database:
                database.execute("INSERT INTO facts VALUES (?)", (add,))
        return [fact for (fact,) in database.execute("SELECT fact FROM facts")]


def test_it_is_made_for_its_owner_alone_and_keeps_what_is_in_it(tmp_path, caplog):
    path = tmp_path / "x.db"
    assert facts(path, add="one") == facts(path) == ["one"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [b"no database at all" * 200, b"SQLite format 3\0" + b"\xff" * 4080])
def test_one_that_is_damaged_is_made_anew(tmp_path, caplog, damage):
    path = tmp_path / "x.db"
    path.write_bytes(damage)
    path.with_name("x.db-wal").write_bytes(b"left by another one")
    assert facts(path, add="one") == facts(path) == ["one"]
    assert "x.db is made anew: " in caplog.text


def test_one_of_another_version_is_made_anew(tmp_path, caplog):
    path = tmp_path / "x.db"
    facts(path, add="one")
    assert facts(path, version=2) == []
    assert "x.db is made anew: its version is 1" in caplog.text


def test_one_that_fails_later_can_be_made_anew(tmp_path):
    path = tmp_path / "x.db"
    facts(path, add="one")
    databases.made_anew(path, 1, TABLES, sqlite3.DatabaseError("disk image is malformed")).close()
    assert facts(path) == []

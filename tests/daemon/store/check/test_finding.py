"""A finding and what became of its repair."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from port42_daemon.store.check.backup import Backup
from port42_daemon.store.check.finding import mended, open_to_others, shown
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.doctor_and_stats import Finding

FOUND = Finding("problem", "sessions", "cli-1 is damaged", "mend it", mendable=True)


def test_without_a_backup_nothing_is_repaired():
    def repair(_: Backup) -> str:
        raise AssertionError

    assert mended(FOUND, None, repair) is FOUND


def test_what_was_repaired_is_said(tmp_path):
    done = mended(FOUND, Backup(tmp_path, "b"), lambda _: "made whole")
    assert (done.what, done.do, done.fixed) == ("cli-1 is damaged: made whole", None, True)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, "x", "/a/path"), "no space left on device"),
        (sqlite3.OperationalError("disk I/O error in /a/path"), "the index failed"),
        (SessionNotFound("cli-1"), "session cli-1 not found"),
    ],
)
def test_what_could_not_be_repaired_says_why_and_stays_a_problem(tmp_path, error, why):
    def repair(_: Backup) -> str:
        raise error

    tried = mended(FOUND, Backup(tmp_path, "b"), repair)
    assert (tried.level, tried.fixed) == ("problem", False)
    assert tried.do == f"it could not be repaired: {why}"


def test_open_places_are_one_finding(tmp_path):
    places = [tmp_path / name for name in "abc"]
    assert open_to_others([], tmp_path, None) == []
    assert open_to_others(places, tmp_path, None) == []  # gone meanwhile
    for place in places[:2]:
        place.touch(mode=0o644)
    (found,) = open_to_others(places, tmp_path, None)
    assert (found.level, found.what) == ("problem", "a and 1 more can be looked into by other users")
    (found,) = open_to_others(places, tmp_path, Backup(tmp_path, "b"))
    assert found.fixed
    assert {oct(place.stat().st_mode & 0o777) for place in places[:2]} == {"0o600"}


def test_any_name_can_be_sent():
    assert shown(Path("caf\udce9")) == "caf\\xe9"

"""A finding and its repair; what a repair changes is kept first, and nothing that is kept is overwritten."""

from __future__ import annotations

import errno
import re
import sqlite3
import stat
from pathlib import Path

import pytest

from port42_daemon.store.check.repair import Backup, open_to_others, repaired, shown
from port42_daemon.store.interface import new_backup
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.doctor_and_stats import Finding

FINDING = Finding("problem", "sessions", "cli-1 is damaged", "mend it", mendable=True)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "sessions").mkdir(mode=0o700)
    return tmp_path


def test_a_backup_is_named_after_the_time():
    assert re.fullmatch(r"\d{8}T\d{6}-doctor", new_backup())


def test_no_folder_is_made_before_it_is_used(home):
    Backup(home, "now-doctor")
    assert [path.name for path in home.iterdir()] == ["sessions"]


def test_a_kept_file_outlives_its_replacement(home):
    path = home / "sessions" / "cli-1.json"
    path.write_text("old")
    backup = Backup(home, "now-doctor")
    kept = backup.keep(path)
    path.unlink()
    path.write_text("new")
    assert kept == home / "backups" / "now-doctor" / "sessions" / "cli-1.json"
    assert kept.read_text() == "old"
    again = backup.keep(path)
    assert (again.name, again.read_text(), kept.read_text()) == ("cli-1.json.2", "new", "old")
    for folder in (home / "backups", home / "backups" / "now-doctor", kept.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_moved_folder_is_gone_from_its_path(home):
    backup = Backup(home, "now-doctor")
    for number in (1, 2):
        folder = home / "sessions" / "dir"
        folder.mkdir()
        (folder / "inside").write_text(str(number))
        backup.move(folder)
        assert not folder.exists()
    kept = home / "backups" / "now-doctor" / "sessions"
    assert {path.name: (path / "inside").read_text() for path in kept.iterdir()} == {"dir": "1", "dir.2": "2"}


def test_a_mode_that_is_changed_is_written_down(home):
    path = home / "config.toml"
    path.touch(mode=0o644)
    home.chmod(0o755)
    backup = Backup(home, "now-doctor")
    backup.close_to_others([path, home])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    notes = (home / "backups" / "now-doctor" / "modes.txt").read_text()
    assert notes == "0644 config.toml\n0755 .\n"


def test_without_a_backup_nothing_is_repaired():
    def repair(_: Backup) -> str:
        raise AssertionError

    assert repaired(FINDING, None, repair) == FINDING


def test_what_was_repaired_is_said(tmp_path):
    done = repaired(FINDING, Backup(tmp_path, "b"), lambda _: "made whole")
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

    tried = repaired(FINDING, Backup(tmp_path, "b"), repair)
    assert (tried.level, tried.fixed) == ("problem", False)
    assert tried.do == f"it could not be repaired: {why}"


def test_all_open_paths_are_one_finding(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    assert open_to_others([], tmp_path, None) == []
    assert open_to_others(paths, tmp_path, None) == []  # gone meanwhile
    for path in paths[:2]:
        path.touch(mode=0o644)
    (finding,) = open_to_others(paths, tmp_path, None)
    assert (finding.level, finding.what) == ("problem", "a and 1 more can be looked into by other users")
    (finding,) = open_to_others(paths, tmp_path, Backup(tmp_path, "b"))
    assert finding.fixed
    assert {oct(path.stat().st_mode & 0o777) for path in paths[:2]} == {"0o600"}


def test_any_name_can_be_sent():
    assert shown(Path("caf\udce9")) == "caf\\xe9"

"""What a repair changes is kept first, in its place, and nothing that is kept is written over."""

from __future__ import annotations

import re
import stat

import pytest

from port42_daemon.store.check.backup import Backup, new_name


@pytest.fixture
def home(tmp_path):
    (tmp_path / "sessions").mkdir(mode=0o700)
    return tmp_path


def test_its_name_says_when_and_by_whom():
    assert re.fullmatch(r"\d{8}T\d{6}-doctor", new_name())


def test_nothing_is_made_before_it_is_wanted(home):
    assert not Backup(home, "now-doctor").used
    assert [one.name for one in home.iterdir()] == ["sessions"]


def test_what_is_kept_outlives_what_takes_its_place(home):
    path = home / "sessions" / "cli-1.json"
    path.write_text("old")
    backup = Backup(home, "now-doctor")
    kept = backup.keep(path)
    path.unlink()
    path.write_text("new")
    assert kept == home / "backups" / "now-doctor" / "sessions" / "cli-1.json"
    assert kept.read_text() == "old"
    assert backup.used
    again = backup.keep(path)
    assert (again.name, again.read_text(), kept.read_text()) == ("cli-1.json.2", "new", "old")
    for folder in (home / "backups", home / "backups" / "now-doctor", kept.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_taken_is_gone_from_where_it_was(home):
    backup = Backup(home, "now-doctor")
    for number in (1, 2):
        folder = home / "sessions" / "dir"
        folder.mkdir()
        (folder / "inside").write_text(str(number))
        backup.take(folder)
        assert not folder.exists()
    kept = home / "backups" / "now-doctor" / "sessions"
    assert {one.name: (one / "inside").read_text() for one in kept.iterdir()} == {"dir": "1", "dir.2": "2"}


def test_a_mode_that_is_changed_is_written_down(home):
    path = home / "config.toml"
    path.touch(mode=0o644)
    home.chmod(0o755)
    backup = Backup(home, "now-doctor")
    backup.close_to_others(path)
    backup.close_to_others(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    notes = (home / "backups" / "now-doctor" / "modes.txt").read_text()
    assert notes == "0644 config.toml\n0755 .\n"

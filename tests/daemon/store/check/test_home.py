"""Permissions and the mapping: each fault is found, repaired, and then gone."""

from __future__ import annotations

import json
import os

import pytest
from peers.session_files import header, said

from port42_daemon.store.file_store import FileStore

MAPPING = "agent_sessions.json"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o077)  # as the daemon's
    yield
    os.umask(before)


@pytest.fixture
def store(home):
    store = FileStore(home)
    store.open()
    for agent, session_id in (("ai-muse", "cli-1"), ("ai-muse", "cli-2"), ("ai-analyst", "cli-3")):
        store.create(header(session_id, agent), [said("a")])
        store.set_last(agent, session_id)
    store.catalogue.with_key("ai-muse", "none", None)  # waits until the index is up to date
    assert store.catalogue.status().complete
    yield store
    store.close()


def levels(findings):
    return {finding.level for finding in findings}


def faults(store, backup=None):
    return [finding for finding in store.maintenance.check(backup) if finding.level != "ok"]


def repair(store, home):
    """Repair what is found; a second look must find nothing."""
    fixed = faults(store, "b")
    assert all(finding.fixed for finding in fixed), fixed
    assert faults(store) == []
    return fixed


def test_a_sound_home_has_no_problem(store):
    findings = store.maintenance.check(None)
    assert levels(findings) == {"ok"}
    assert {"permissions", "mapping"} <= {finding.about for finding in findings}


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to itself", "link to nothing"])
def test_a_log_that_is_no_file_is_named(store, home, kind):
    log = home / "daemon.log"
    match kind:
        case "fifo":
            os.mkfifo(log, 0o600)
        case "folder":
            log.mkdir(mode=0o700)
        case "link to itself":
            log.symlink_to(log)
        case "link to nothing":
            log.symlink_to(home / "nothing")
    (fault,) = faults(store)
    assert fault.what.startswith("daemon.log is not a file")


def test_a_log_that_is_a_file_is_no_fault(store, home):
    (home / "daemon.log").touch(mode=0o600)
    assert faults(store) == []


def test_what_others_may_look_into_is_closed_to_them(store, home):
    home.chmod(0o755)
    (home / "config.toml").touch()
    (home / "config.toml").chmod(0o644)
    (home / "sessions").chmod(0o750)
    (finding,) = faults(store)
    assert (finding.about, finding.what) == (
        "permissions",
        "the home and 2 more can be looked into by other users",
    )
    repair(store, home)
    assert oct(home.stat().st_mode & 0o777) == "0o700"
    assert "0644 config.toml" in (home / "backups" / "b" / "modes.txt").read_text()


def test_the_file_behind_a_link_is_not_checked(store, home, tmp_path):
    elsewhere = tmp_path / "dotfiles.toml"
    elsewhere.touch()
    elsewhere.chmod(0o644)
    (home / "config.toml").symlink_to(elsewhere)
    assert faults(store) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_named_and_left(store, home):
    (home / "config.toml").touch(mode=0o600)
    os.chown(home / "config.toml", 12345, -1)
    (finding,) = faults(store, "b")
    assert (finding.what, finding.fixed) == ("config.toml belongs to another user (uid 12345)", False)


@pytest.mark.parametrize("content", ['{"ai-muse": "cli-3"}', "junk", "", "[]", None])
def test_a_mapping_that_another_program_wrote_is_written_anew(store, home, content):
    path = home / MAPPING
    good = json.loads(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    (finding,) = faults(store)
    assert (finding.level, finding.what) == ("problem", f"{MAPPING} is not what the daemon wrote")
    repair(store, home)
    assert json.loads(path.read_bytes()) == good
    assert store.last_sessions.get("ai-muse") == "cli-2"
    if content is not None:
        assert (home / "backups" / "b" / MAPPING).read_text() == content


def test_a_last_session_that_is_gone_is_replaced(store, home):
    (home / "sessions" / "cli-3.json").unlink()
    index, finding = faults(store)
    assert (index.level, index.about) == ("notice", "index")
    assert finding.what == ("cli-3, the last session of @ai-analyst, no longer exists, or cannot be read")
    repair(store, home)
    assert store.last_sessions.get("ai-analyst") is None
    assert "ai-analyst" not in json.loads((home / MAPPING).read_bytes())


def test_a_last_session_in_the_trash_is_no_fault_but_is_replaced(store, home):
    """As a crash between a deletion and the change of the mapping leaves it."""
    with store.writing("cli-2") as session:
        session.trash()
    (finding,) = faults(store)
    assert (finding.level, finding.what) == ("notice", "cli-2, the last session of @ai-muse, is in the trash")
    repair(store, home)
    assert store.last_sessions.get("ai-muse") == "cli-1"


def test_a_last_session_of_another_agent_is_replaced_by_its_own(store, home):
    store.set_last("ai-muse", "cli-3")
    (finding,) = faults(store)
    assert finding.what == "cli-3, the last session of @ai-muse, is @ai-analyst's"
    repair(store, home)
    assert store.last_sessions.get("ai-muse") in {"cli-1", "cli-2"}


def test_an_agent_without_a_last_session_gets_its_newest(store, home):
    store.create(header("cli-9", "ai-founder"), [said("a")])
    (finding,) = faults(store)
    assert finding.what == "@ai-founder has sessions, and none of them is known as its last"
    repair(store, home)
    assert store.last_sessions.get("ai-founder") == "cli-9"


def test_the_copy_of_a_damaged_mapping_is_moved(home, store):
    store.close()
    (home / MAPPING).write_text("junk")
    (home / MAPPING).chmod(0o600)
    store = FileStore(home)
    store.open()
    try:
        (finding,) = faults(store)
        assert (finding.level, finding.about) == ("notice", "mapping")
        repair(store, home)
        assert next(path.name for path in (home / "backups" / "b").iterdir()).startswith(
            f"{MAPPING}.damaged-"
        )
    finally:
        store.close()

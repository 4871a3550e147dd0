"""The home's format: recorded, brought up to date through kills and errors, refused when it is newer."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from peers import versions

from port42_daemon import durable
from port42_daemon.store.migrations import MIGRATIONS, Migration, bring_up_to_date
from port42_protocol import __version__
from port42_protocol.errors import StorageFailed

NOTES = {"a.txt": "one", "deep/c.txt": "two"}


def notes(home: Path) -> list[Path]:
    return sorted((home / "sessions").rglob("*.txt"))


def shout(home: Path) -> None:
    for path in notes(home):
        if not path.read_text().isupper():
            durable.replace(path, path.read_bytes().upper())


def gather(home: Path) -> None:
    if notes(home) and not (home / "all").exists():
        durable.replace(home / "all", b" ".join(path.read_bytes() for path in notes(home)))
    for path in notes(home):
        path.unlink()


SHOUT = Migration(2, "shout", notes, shout)
GATHER = Migration(3, "gather", notes, gather)


def fill(home: Path) -> Path:
    """A home of 0.1.0: sessions, and no format.json."""
    for name, text in NOTES.items():
        path = home / "sessions" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
    return home


def stamp(home: Path) -> dict[str, object]:
    return json.loads((home / "format.json").read_bytes())


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def check_done(home: Path) -> None:
    """Both steps were run, and the backup of each has the files as they were before it."""
    assert stamp(home) == {
        "format": 3,
        "version": __version__,
        "done": ["0002-shout", "0003-gather"],
    }
    assert (home / "all").read_text() == "ONE TWO"
    assert notes(home) == []
    backups = list((home / "backups").iterdir())
    assert {backup.name.partition("-before-")[2] for backup in backups} == {"0002-shout", "0003-gather"}
    for backup in backups:  # a kill between a backup and its note costs a second one
        shouted = backup.name.endswith("-0003-gather")
        assert tree(backup / "sessions") == {k: v.upper() if shouted else v for k, v in NOTES.items()}
        folders = {home / "backups", backup, backup / "sessions" / "deep"}
        assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
        assert {path.stat().st_mode & 0o777 for path in backup.rglob("*.txt")} == {0o600}


def test_steps_run_in_order_once_each_backed_up_first(tmp_path):
    home = fill(tmp_path)
    for _ in range(2):
        bring_up_to_date(home, [SHOUT, GATHER])
        check_done(home)
        assert len(list((home / "backups").iterdir())) == 2


def test_a_later_version_runs_only_the_steps_that_are_left(tmp_path):
    home = fill(tmp_path)
    bring_up_to_date(home, [SHOUT])
    assert (stamp(home)["format"], stamp(home)["done"]) == (2, ["0002-shout"])
    bring_up_to_date(home, [SHOUT, GATHER])
    check_done(home)


def test_an_empty_home_begins_with_the_newest_format(tmp_path):
    bring_up_to_date(tmp_path, [SHOUT, GATHER])
    assert (stamp(tmp_path)["format"], stamp(tmp_path)["done"]) == (3, ["0002-shout", "0003-gather"])
    assert not (tmp_path / "backups").exists()


def test_a_home_that_is_up_to_date_is_only_read(tmp_path, monkeypatch):
    bring_up_to_date(fill(tmp_path), [SHOUT])
    before = tree(tmp_path)

    def refuse(*_: object) -> None:
        pytest.fail("it was written to")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    bring_up_to_date(tmp_path, [SHOUT])
    assert tree(tmp_path) == before


class Killed(BaseException):
    """Ends the program: no handler of OSError runs."""


CALLS = ("open", "pwrite", "fdatasync", "fsync", "replace", "rename", "mkdir", "chmod", "unlink", "rmdir")


@contextmanager
def failing_at(nth: int, error: BaseException) -> Iterator[list[str]]:
    """The Nth change to the disk does not happen: `error` is raised instead. Gives where it was."""
    calls, met = itertools.count(1), []

    def watched(name, real):
        def call(*args, **named):
            if next(calls) == nth:
                met.append(name)
                raise error
            return real(*args, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, watched(name, getattr(os, name)))
        yield met


def test_killed_at_any_point_the_next_start_finishes(tmp_path):
    for nth in range(1, 500):
        home = fill(tmp_path / str(nth))
        with failing_at(nth, Killed()) as met, suppress(Killed):
            bring_up_to_date(home, [SHOUT, GATHER])
        bring_up_to_date(home, [SHOUT, GATHER])
        check_done(home)
        if not met:
            assert nth > 50, "the kills must have reached every step"
            return
    pytest.fail("no end of kills")


def test_an_error_of_the_disk_is_reported_and_the_next_start_finishes(tmp_path):
    for nth in range(1, 500):
        home = fill(tmp_path / str(nth))
        message = None
        with failing_at(nth, OSError(errno.ENOSPC, "full")) as met:
            try:
                bring_up_to_date(home, [SHOUT, GATHER])
            except StorageFailed as error:
                message = error.message
        if not met:
            return
        if message is None:
            assert met == ["mkdir"], "only a folder that was there already may be refused without a word"
            check_done(home)
            continue
        assert message.startswith("cannot bring the home to this version's format: ")
        assert str(home) not in message
        bring_up_to_date(home, [SHOUT, GATHER])
        check_done(home)
    pytest.fail("no end of faults")


def test_a_backup_does_not_change_with_its_original(tmp_path):
    home = fill(tmp_path)
    untouched = Migration(2, "look", notes, lambda _: None)
    bring_up_to_date(home, [untouched])
    with (home / "sessions" / "a.txt").open("a") as grown:
        grown.write(" and more")
    (backup,) = (home / "backups").iterdir()
    assert tree(backup / "sessions") == NOTES


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ({"format": 3, "version": "9.1.0"}, "this home has format 3, written by port42d 9.1.0; "),
        ({"format": 2, "version": "9.1.0", "done": ["0002-sing"]}, "has format 2, written by port42d 9.1.0"),
        (
            {"format": 2, "version": "9.1.0", "done": ["0002-shout"], "under_way": "0003-sing"},
            "written by port42d 9.1.0, which was about to run 0003-sing; ",
        ),
    ],
)
def test_a_newer_home_is_refused_and_left_as_it_is(tmp_path, stamp, words):
    home = fill(tmp_path)
    (home / "format.json").write_text(json.dumps(stamp))
    before = tree(home)
    with pytest.raises(StorageFailed) as refused:
        bring_up_to_date(home, [SHOUT])
    assert words in refused.value.message
    assert refused.value.message.endswith(f"port42d {__version__} knows formats up to 2: update port42")
    assert tree(home) == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "1", "version": "x"}', "[" * 10_000, "\x00"])
def test_an_invalid_format_json_is_refused(tmp_path, text):
    home = fill(tmp_path)
    (home / "format.json").write_text(text)
    before = tree(home)
    with pytest.raises(StorageFailed, match=r"^format.json is damaged: expected .*nothing was changed"):
        bring_up_to_date(home, [SHOUT])
    assert tree(home) == before


def test_a_home_of_the_first_format_opens_on_a_full_disk(tmp_path):
    home = fill(tmp_path)
    with failing_at(2, OSError(errno.ENOSPC, "full")):  # the first call opens what is not there
        bring_up_to_date(home, [])
    assert not (home / "format.json").exists()


def test_the_migrations_are_numbered_without_a_gap():
    assert [migration.number for migration in MIGRATIONS] == list(range(2, 2 + len(MIGRATIONS)))


# --- in the daemon --------------------------------------------------------------------------------


def test_a_home_of_an_older_daemon_gets_format_json_and_can_be_used_by_both(start_daemon, home, tmp_path):
    old = versions.older(tmp_path / "older").environ
    before = start_daemon(env=old)
    session_id = before.call("possess", agent="ai-muse", message="one")["session_id"]
    before.stop()
    assert not (home / "format.json").exists()
    for environ, message in (({}, "two"), (old, "three"), ({}, "four")):
        daemon = start_daemon(env=environ)
        daemon.call("possess", agent="ai-muse", message=message, session_id=session_id)
        kept = [
            message["content"] for message in daemon.call("get_session", session_id=session_id)["messages"]
        ]
        daemon.stop()
        assert stamp(home) == {"format": 1, "version": __version__}
    assert kept == ["one", "two", "three", "four"]


def test_a_daemon_does_not_start_in_a_newer_home(start_daemon, home):
    daemon = start_daemon()
    daemon.call("possess", agent="ai-muse", message="one")
    daemon.stop()
    (home / "format.json").write_text('{"format": 7, "version": "9.1.0"}')
    before = tree(home / "sessions")
    with pytest.raises(pytest.CannotStart) as refused:
        start_daemon()
    assert str(refused.value).startswith("error: this home has format 7, written by port42d 9.1.0; ")
    assert tree(home / "sessions") == before


def test_a_session_of_a_newer_format_is_refused_alone_and_not_changed(start_daemon, home):
    daemon = start_daemon()
    newer, other = (daemon.call("possess", agent="ai-muse", message=text)["session_id"] for text in "ab")
    daemon.stop()
    path = home / "sessions" / f"{newer}.json"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2').replace(b'"client"', b'"via"'))
    before = tree(home / "sessions")
    daemon.start()
    session = {"session_id": newer, "agent": "ai-muse"}
    for method, params in (
        ("get_session", session),
        ("possess", {**session, "message": "more"}),
        ("append_message", {**session, "role": "user", "content": "more"}),
        ("update_last_session", session),
    ):
        with pytest.raises(pytest.RpcFailed, match="format 2, this port42d reads 1; a newer one wrote"):
            daemon.call(method, **params)
    assert daemon.call("get_session", session_id=other)["session"]["session_id"] == other
    assert tree(home / "sessions") == before

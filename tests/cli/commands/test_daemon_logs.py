"""The end of a real file, and what is added to it while it is rotated under the reader."""

from __future__ import annotations

import pytest

from port42_cli.commands import daemon as subject
from port42_cli.commands.daemon import following


@pytest.fixture
def looks(monkeypatch):
    """What happens between two looks, in place of waiting: each step is taken once."""
    steps = []
    monkeypatch.setattr(subject.time, "sleep", lambda _: steps.pop(0)())
    return steps


class Enough(Exception):
    """Ends a following that would not end."""


def enough():
    raise Enough


def followed(path):
    seen = []
    with path.open("rb") as log:
        log.seek(0, 2)
        with pytest.raises(Enough):
            seen.extend(following(log, path))
    return seen


@pytest.mark.parametrize(("number", "lines"), [(0, ""), (2, "b\nc"), (9, "a\nb\nc")])
def test_the_last_lines(port42, home, number, lines):
    home.mkdir()
    (home / "daemon.log").write_text("a\nb\nc")
    assert port42("daemon", "logs", "-n", str(number)).stdout == lines


def test_what_is_added_is_followed(tmp_path, looks):
    path = tmp_path / "log"
    path.write_bytes(b"old\n")

    def add():
        with path.open("ab") as log:
            log.write(b"new\n")

    looks += [add, lambda: None, add, enough]
    assert followed(path) == [b"new\n", b"new\n"]


def test_rotation_loses_no_line(tmp_path, looks):
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    writer = path.open("ab", buffering=0)

    def rotate():
        path.rename(tmp_path / "log.1")
        writer.write(b"last of the old\n")
        path.write_bytes(b"first of the new\n")

    def vanish():
        path.rename(tmp_path / "log.2")

    def appear():
        path.write_bytes(b"third\n")

    looks += [rotate, vanish, appear, enough]
    with writer:
        assert followed(path) == [b"last of the old\n", b"first of the new\n", b"third\n"]


def test_a_log_that_is_emptied_is_read_from_its_new_beginning(tmp_path, looks):
    path = tmp_path / "log"
    path.write_bytes(b"much that was there before\n")
    looks += [lambda: path.write_bytes(b"new\n"), enough]
    assert followed(path) == [b"new\n"]

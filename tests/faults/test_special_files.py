"""Something else in the place of a file: a FIFO, a folder, a device without end, links, terabytes of zeros.

The daemon starts, answers every question and stops, as if a damaged file stood there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from peers.damaged_homes import KINDS, MESSAGES, SOUND, check, make, texts


@pytest.fixture
def template(start_daemon, tmp_path):
    home = tmp_path / "template"
    make(start_daemon, home)
    return home


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
        listener.bind(path.name)


OTHERS: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "socket": bound,
    "folder": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "link to itself": lambda path: path.symlink_to(path),
    "four terabytes of zeros": sparse,
    "empty": Path.touch,
    "a foreign file": lambda path: path.write_text("dear diary\n"),
}


def test_something_else_in_place_of_sessions(start_daemon, template):
    for number, place in enumerate(OTHERS.values()):
        for name in ("sessions/odd-{}.json", "sessions/odd-{}.partial", "trash/odd-{}.json"):
            place(template / name.format(number))
    daemon = start_daemon(home=template)
    check(daemon)
    daemon.call("check_home", fix=True)
    for session_id in SOUND:
        assert texts(daemon, session_id) == [*MESSAGES, "after"]
    assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["mapping", "index", "config", "address"])
def test_something_else_in_place_of_the_only_one(start_daemon, template, tmp_path, kind):
    for number, (name, place) in enumerate(OTHERS.items()):
        home = tmp_path / str(number)
        shutil.copytree(template, home)
        path = home / KINDS[kind]
        path.unlink(missing_ok=True)
        place(path)
        daemon = start_daemon(home=home)
        try:
            check(daemon)
        except BaseException as error:
            error.add_note(f"{name} in place of {path}")
            raise
        assert daemon.stop() == 0

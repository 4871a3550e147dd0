"""Files that something else has written: every kind the daemon reads, with bytes changed.

Whatever stands in the home, the daemon starts, answers lists and stops; sessions whose files are sound are as
they were; a session whose file is not is listed with what is whole of it, or named by `check_home`.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers.damaged_homes import KINDS, check, make


@pytest.fixture
def template(start_daemon, tmp_path):
    """A home with a file of each kind, as a killed daemon leaves it."""
    home = tmp_path / "template"
    make(start_daemon, home)
    return home


# --- what can happen to the bytes of a file -------------------------------------------------------


def flip(data: bytearray, at: int, _: random.Random) -> None:
    data[at] ^= 1 << (at % 8)


def insert(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = rng.choice(
        [b"\x00", b"\xff", b'"', b"}", b"[", b"\n", b"\xef\xbb\xbf", b"9" * 30, b"\\ud800"]
    )


def delete(data: bytearray, at: int, rng: random.Random) -> None:
    del data[at : at + rng.choice([1, 7, 200])]


def repeat(data: bytearray, at: int, rng: random.Random) -> None:
    data[at:at] = data[at : at + rng.choice([1, 40, 400])]


def zero(data: bytearray, at: int, rng: random.Random) -> None:
    end = min(at + rng.choice([8, 512, 4096]), len(data))
    data[at:end] = bytes(end - at)


def cut(data: bytearray, at: int, _: random.Random) -> None:
    del data[at:]


def windows(data: bytearray, at: int, _: random.Random) -> None:
    data[:] = b"\xef\xbb\xbf" + bytes(data).replace(b"\n", b"\r\n")


def one_line(data: bytearray, at: int, _: random.Random) -> None:
    data[:] = bytes(data).replace(b"\n", b"")


def formatted(data: bytearray, at: int, _: random.Random) -> None:
    """As `jq .` writes it."""
    try:
        data[:] = json.dumps(json.loads(bytes(data)), indent=2).encode()
    except ValueError:
        data[:] = b"{}"


CHANGES: list[Callable[[bytearray, int, random.Random], None]] = [
    *(flip, insert, delete, repeat, zero, cut),
    *(windows, one_line, formatted),
]


def damage(home: Path, rng: random.Random) -> str:
    """Change one file; gives its kind, and how."""
    kind = rng.choice(sorted(KINDS))
    path = home / KINDS[kind]
    if path.is_dir():
        path = min(path.iterdir())
    if not path.exists():
        path.write_bytes(b"{}")
    change = rng.choice(CHANGES)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 3])):
        if data:
            change(data, rng.randrange(len(data)), rng)
    path.write_bytes(data)
    return f"{kind}: {change.__name__}"


# --- the daemon on what is left ----------------------------------------------------------------------


def started(start_daemon: Any, home: Path, what: str) -> Any:
    """A daemon; or None where the file that decides whether this version may write here says no."""
    if not what.startswith("format"):
        return start_daemon(home=home)
    try:
        return start_daemon(home=home)
    except pytest.CannotStart as error:
        if "format.json" in str(error):
            return None
        raise


def start_on_damage(start_daemon: Any, template: Path, home: Path, seed: int) -> None:
    shutil.copytree(template, home, symlinks=True)
    what, daemon = damage(home, random.Random(seed)), None
    try:
        daemon = started(start_daemon, home, what)
        if daemon is not None:
            check(daemon)
            daemon.stop()
    except BaseException as error:
        error.add_note(f"seed {seed}, {what}, in {home}\n{daemon.log()[-5_000:] if daemon else ''}")
        raise
    shutil.rmtree(home)


def test_a_changed_file(start_daemon, template, tmp_path):
    for seed in range(8):
        start_on_damage(start_daemon, template, tmp_path / str(seed), seed)


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_a_thousand_changed_files(start_daemon, template, tmp_path):
    for seed in range(1_000):
        start_on_damage(start_daemon, template, tmp_path / str(seed), seed)

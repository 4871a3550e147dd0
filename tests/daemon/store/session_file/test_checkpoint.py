"""Checkpoints: written and read, damaged, and under another session's name."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest

from port42_daemon.store.interface import UnfinishedTurn
from port42_daemon.store.session_file.checkpoint import Checkpoint, checkpoints_in
from port42_protocol.messages.records import ToolRecord, TurnRecord

TURN = UnfinishedTurn("cli-1", "ai-muse", 1, TurnRecord(backend="x"))


def planted(session_id: str) -> str:
    first = {"session_id": session_id, "agent": "ai-muse", "question": 1, "turn": {"backend": "x"}}
    return json.dumps(first) + '\n"hi"\n'


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    checkpoint = Checkpoint(tmp_path / "cli-1.partial", TURN)
    tool = ToolRecord(seq=0, timestamp="2026-11-23T03:37:11.042Z", id="t", title="ls", state="interrupted")
    checkpoint.add(["he", tool])
    checkpoint.add(["llo"])
    checkpoint.close()
    assert checkpoints_in(tmp_path) == checkpoints_in(tmp_path, "cli-1") == [(TURN, "hello", [tool])]
    assert checkpoints_in(tmp_path, "cli-2") == []


@pytest.mark.parametrize("named", ["../../victim", "../victim", "cli-2", "", "/etc/passwd", "x" * 10_000])
def test_a_checkpoint_of_another_name_is_set_aside_and_touches_no_other_file(tmp_path, named):
    folder = tmp_path / "a" / "sessions"
    folder.mkdir(parents=True)
    victims = [tmp_path / "victim.partial", tmp_path / "a" / "victim.partial", folder / "cli-2.json"]
    for victim in victims:
        victim.write_text("mine")
    (folder / "cli-1.partial").write_text(planted(named))
    assert checkpoints_in(folder) == []
    assert [victim.read_text() for victim in victims] == ["mine"] * 3
    (aside,) = folder.glob("cli-1.partial.damaged-*")
    assert aside.read_text() == planted(named)
    assert checkpoints_in(folder) == []


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "sparse", "junk", "deep"])
def test_anything_in_its_place_blocks_neither_a_start_nor_a_turn(tmp_path, kind):
    path = tmp_path / "cli-1.partial"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 42)
    else:
        path.write_bytes(b"\xff\n" if kind == "junk" else b"[" * 100_000 + b"\n")
    assert checkpoints_in(tmp_path) == []
    checkpoint = Checkpoint(path, TURN)
    checkpoint.add(["hello"])
    checkpoint.close()
    assert checkpoints_in(tmp_path) == [(TURN, "hello", [])]
    assert not (tmp_path / "elsewhere").exists()


def test_of_a_sparse_file_no_more_is_read_than_a_line_may_have(tmp_path):
    path = tmp_path / "cli-1.partial"
    checkpoint = Checkpoint(path, TURN)
    checkpoint.add(["hello"])
    checkpoint.close()
    with path.open("r+b") as file:
        file.truncate(200 * 1024 * 1024)
    tracemalloc.start()
    assert checkpoints_in(tmp_path) == [(TURN, "hello", [])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * 1024 * 1024

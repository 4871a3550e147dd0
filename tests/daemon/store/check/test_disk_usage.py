"""Bytes in the home, added up beside `du`."""

from __future__ import annotations

import subprocess

import pytest
from peers.session_files import header, said

from port42_daemon.store.file_store import FileStore


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(home):
    store = FileStore(home)
    store.open()
    yield store
    store.close()


def write(path, size):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)


def test_every_byte_is_somebodys_or_nobodys(store, home):
    store.create(header("cli-1"), [said("x" * 10_000)])
    store.create(header("cli-2", "ai-analyst"), [said("x")])
    write(home / "trash" / "old-1.20260101T000000000Z.ai.muse.json", 500)
    write(home / "trash" / "stray", 7)
    write(home / "sessions" / "cli-1.partial", 30)
    write(home / "sessions" / "cli-1.json.damaged-2026", 40)
    write(home / "sessions" / "cli-9.partial", 3)
    write(home / "backups" / "one-doctor", 11)
    write(home / "backups" / "two" / "deep", 13) if (home / "backups" / "two").mkdir() is None else None
    write(home / "daemon.log", 17)
    write(home / "daemon.log.1", 19)
    write(home / "config.toml", 23)
    store.set_last("ai-muse", "cli-1")
    found = store.maintenance.usage(None)
    muse, dotted, analyst = (
        next(one for one in found.agents if one.agent == name)
        for name in ("ai-muse", "ai.muse", "ai-analyst")
    )
    assert [one.agent for one in found.agents] == ["ai-muse", "ai.muse", "ai-analyst"]
    size = (home / "sessions" / "cli-1.json").stat().st_size
    assert (muse.sessions, muse.session_bytes, muse.leftover_bytes) == (1, size, 70)
    assert (dotted.sessions, dotted.trash_bytes, dotted.total_bytes) == (0, 500, 500)
    assert analyst.total_bytes == (home / "sessions" / "cli-2.json").stat().st_size
    assert (found.log_bytes, found.backup_bytes) == (36, 24)
    assert found.other_bytes == 23 + 7 + 3 + (home / "agent_sessions.json").stat().st_size
    counted = subprocess.run(
        ["find", str(home), "-type", "f", "-printf", "%s\n"], capture_output=True, text=True, check=True
    )
    assert found.total_bytes == sum(map(int, counted.stdout.split()))
    assert found.free_bytes > 0


def test_of_one_agent_it_is_its_part_alone(store, home):
    store.create(header("cli-1"), [said("x")])
    write(home / "daemon.log", 17)
    found = store.maintenance.usage("ai-muse")
    assert [one.agent for one in found.agents] == ["ai-muse"]
    assert found.total_bytes == found.agents[0].total_bytes
    assert (found.log_bytes, found.index_bytes, found.other_bytes) == (0, 0, 0)
    assert store.maintenance.usage("nobody").agents == ()

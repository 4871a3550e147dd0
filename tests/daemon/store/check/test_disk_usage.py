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


def test_every_byte_is_counted_once(store, home):
    store.create(header("cli-1"), [said("x" * 10_000)])
    store.create(header("cli-2", "ai-analyst"), [said("x")])
    write(home / "trash" / "old-1.20260101T000000000Z.ai.muse.json", 500)
    write(home / "trash" / "stray", 7)
    write(home / "sessions" / "cli-1.partial", 30)
    write(home / "sessions" / "cli-1.json.damaged-2026", 40)
    write(home / "sessions" / "cli-9.partial", 3)
    write(home / "backups" / "one-doctor", 11)
    write(home / "backups" / "two" / "deep", 13) if (home / "backups" / "two").mkdir() is None else None
    (home / "originals" / "claude").mkdir(parents=True)
    write(home / "originals" / "claude" / "1.z", 9)
    write(home / "originals.db", 20)
    write(home / "daemon.log", 17)
    write(home / "daemon.log.1", 19)
    write(home / "config.toml", 23)
    store.set_last("ai-muse", "cli-1")
    usage = store.maintenance.usage(None)
    muse, dotted, analyst = (
        next(agent for agent in usage.agents if agent.agent == name)
        for name in ("ai-muse", "ai.muse", "ai-analyst")
    )
    assert [agent.agent for agent in usage.agents] == ["ai-muse", "ai.muse", "ai-analyst"]
    size = (home / "sessions" / "cli-1.json").stat().st_size
    assert (muse.sessions, muse.session_bytes, muse.leftover_bytes) == (1, size, 70)
    assert (dotted.sessions, dotted.trash_bytes, dotted.total_bytes) == (0, 500, 500)
    assert analyst.total_bytes == (home / "sessions" / "cli-2.json").stat().st_size
    assert (usage.log_bytes, usage.backup_bytes, usage.original_bytes) == (36, 24, 29)
    assert usage.other_bytes == 23 + 7 + 3 + (home / "agent_sessions.json").stat().st_size
    counted = subprocess.run(
        ["find", str(home), "-type", "f", "-printf", "%s\n"], capture_output=True, text=True, check=True
    )
    assert usage.total_bytes == sum(map(int, counted.stdout.split()))
    assert usage.free_bytes > 0


def test_usage_of_one_agent_is_its_part_alone(store, home):
    store.create(header("cli-1"), [said("x")])
    write(home / "daemon.log", 17)
    usage = store.maintenance.usage("ai-muse")
    assert [agent.agent for agent in usage.agents] == ["ai-muse"]
    assert usage.total_bytes == usage.agents[0].total_bytes
    assert (usage.log_bytes, usage.index_bytes, usage.other_bytes) == (0, 0, 0)
    assert store.maintenance.usage("nobody").agents == ()


@pytest.mark.parametrize("name", ["backups", "originals", "trash"])
def test_a_link_to_itself_is_no_folder(store, home, name):
    (home / name).symlink_to(home / name)
    assert store.maintenance.usage(None).total_bytes == sum(
        path.stat().st_size for path in home.rglob("*") if path.is_file()
    )

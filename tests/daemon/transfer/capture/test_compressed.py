"""Rollouts that Codex compresses, unpacks again (codex-rs/rollout/src/compression.rs), and archives."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest
from peers.capturing import captured, eventually, sessions

from port42_daemon.databases import zstandard


class Rollout:
    """A session of Codex's in one file, or in its compressed one."""

    def __init__(self, folder, number=1):
        self.id = f"019c0000-0000-7000-8000-{number:012}"
        day = folder / "2026" / "03" / f"{number:02}"
        day.mkdir(parents=True)
        self.plain = day / f"rollout-2026-03-{number:02}T10-00-00-{self.id}.jsonl"
        self.packed = self.plain.with_name(f"{self.plain.name}.zst")
        self.add(
            type="session_meta", payload={"id": self.id, "cwd": "/home/ada/work", "cli_version": "0.171.0"}
        )

    def add(self, **entry):
        with self.plain.open("a") as file:
            file.write(json.dumps({"timestamp": datetime.now(UTC).isoformat(), **entry}) + "\n")

    def say(self, role, text):
        content = [{"type": "input_text" if role == "user" else "output_text", "text": text}]
        self.add(type="response_item", payload={"type": "message", "role": role, "content": content})

    def pack(self):
        status, aside = self.plain.stat(), self.plain.with_name("rollout-compress-x7Fq.tmp")
        aside.write_bytes(zstandard().compress(self.plain.read_bytes(), level=3))
        os.utime(aside, ns=(time.time_ns(), status.st_mtime_ns))
        os.link(aside, self.packed)
        aside.unlink()
        self.plain.unlink()

    def unpack(self):
        aside = self.plain.with_name(f"{self.plain.name}.decompress.tmp")
        aside.write_bytes(zstandard().decompress(self.packed.read_bytes()))
        os.link(aside, self.plain)
        aside.unlink()
        self.packed.unlink()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "codex" / "sessions"


@pytest.fixture
def on(daemon, folder):
    """Has the daemon capture Codex's rollouts."""
    return lambda: daemon.call("set_capture", name="codex", on=True, path=str(folder))


def codex(daemon):
    return daemon.call("get_capture")["tools"][1]


def read_through(daemon, path):
    """Wait until the daemon has nothing to read, which it was told of before `path`."""
    marker = Rollout(path, 31)
    marker.say("user", "that is all")
    captured(daemon, "that is all", agent="codex")
    eventually(lambda: codex(daemon)["waiting"] == 0)
    shutil.rmtree(marker.plain.parent)


def test_a_rollout_that_is_compressed_and_gone_on_with_is_one_session(daemon, folder, on):
    rollout = Rollout(folder)
    rollout.say("user", "sail")
    on()
    session = captured(daemon, "sail", agent="codex")
    rollout.say("assistant", "aye")
    captured(daemon, "sail", "aye", agent="codex")
    kept = eventually(lambda: codex(daemon)["original_bytes"])
    rollout.pack()
    read_through(daemon, folder)
    assert captured(daemon, "sail", "aye", agent="codex")["session_id"] == session["session_id"]
    rollout.unpack()
    rollout.say("user", "home")
    again = captured(daemon, "sail", "aye", "home", agent="codex")
    assert again["session_id"] == session["session_id"]
    whole = rollout.plain.read_bytes()
    # What comes while no daemon runs is read from the compressed file.
    daemon.stop()
    rollout.say("assistant", "we are")
    rollout.pack()
    daemon.start()
    captured(daemon, "sail", "aye", "home", "we are", agent="codex")
    assert len(sessions(daemon, "codex")) == 2  # with the marker
    eventually(lambda: codex(daemon)["original_bytes"] > kept)
    with pytest.raises(pytest.RpcFailed, match="force"):
        daemon.call("restore_original", session_id=session["session_id"])
    rollout.packed.unlink()
    restored = daemon.call("restore_original", session_id=session["session_id"])
    assert (restored["path"], restored["generations"]) == (str(rollout.plain), 1)
    assert rollout.plain.read_bytes().startswith(whole)
    assert len(rollout.plain.read_bytes()) == restored["bytes"]
    assert b"we are" in rollout.plain.read_bytes()
    imported = daemon.call("import_sessions", path=str(folder), agent="codex")
    assert (imported["imported"], imported["unchanged"]) == ([], 1)


def test_a_rollout_that_was_compressed_before_it_was_seen_is_read_once(daemon, folder, on):
    rollout = Rollout(folder)
    rollout.say("user", "sail")
    rollout.say("assistant", "aye")
    whole = rollout.plain.read_bytes()
    rollout.pack()
    on()
    session = captured(daemon, "sail", "aye", agent="codex")
    assert codex(daemon)["problem"] is None
    other = Rollout(folder, 2)
    other.say("user", "while it is watched")
    other.pack()
    captured(daemon, "while it is watched", agent="codex")
    daemon.stop()
    daemon.start()
    read_through(daemon, folder)
    assert len(sessions(daemon, "codex")) == 3
    # With its session the original stays while the tool has the compressed file, and goes when that is gone.
    rollout.packed.unlink()
    assert daemon.call("restore_original", session_id=session["session_id"])["bytes"] == len(whole)
    assert rollout.plain.read_bytes() == whole
    rollout.pack()
    daemon.call("delete_session", session_id=session["session_id"])
    assert daemon.call("prune_sessions", trash_older_than_days=0)["original_bytes"] == 0
    rollout.packed.unlink()
    assert daemon.call("prune_sessions", trash_older_than_days=0)["original_bytes"] > 0


def test_a_compressed_rollout_that_cannot_be_unpacked_is_named_and_holds_nothing_up(daemon, folder, on):
    rollout, other = Rollout(folder), Rollout(folder, 2)
    rollout.say("user", "sail")
    rollout.pack()
    whole = rollout.packed.read_bytes()
    rollout.packed.write_bytes(whole[:-5])
    other.say("user", "home")
    on()
    captured(daemon, "home", agent="codex")
    assert "cannot be decompressed" in eventually(lambda: codex(daemon)["problem"])
    rollout.packed.write_bytes(whole)
    captured(daemon, "sail", agent="codex")
    eventually(lambda: codex(daemon)["problem"] is None)


def test_a_rollout_that_codex_archives_and_takes_back_is_one_session(daemon, folder, on):
    rollout, before = Rollout(folder), Rollout(folder, 2)
    rollout.say("user", "sail")
    before.say("user", "long ago")
    archive = folder.with_name("archived_sessions")
    archive.mkdir()
    before.plain.rename(archive / before.plain.name)
    on()
    session = captured(daemon, "sail", agent="codex")
    captured(daemon, "long ago", agent="codex")
    place, rollout.plain = rollout.plain, archive / rollout.plain.name
    place.rename(rollout.plain)
    rollout.say("assistant", "aye")
    assert captured(daemon, "sail", "aye", agent="codex")["session_id"] == session["session_id"]
    eventually(lambda: codex(daemon)["waiting"] == 0)
    shutil.rmtree(archive)
    restored = daemon.call("restore_original", session_id=session["session_id"])
    assert restored["path"] == str(rollout.plain)
    rollout.plain.rename(place)
    rollout.plain = place
    rollout.say("user", "home")
    captured(daemon, "sail", "aye", "home", agent="codex")
    eventually(lambda: codex(daemon)["waiting"] == 0)
    assert daemon.call("import_sessions", again=True)["skipped"] == []
    captured(daemon, "sail", "aye", "home", agent="codex")
    assert len(sessions(daemon, "codex")) == 2

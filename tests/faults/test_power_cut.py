"""Power cuts: the states that a disk can be left in, rebuilt from the recorded calls of a real daemon.

A run of every verb is recorded: each call that changed a file, and how far the record was when an answer
came. Then the power fails behind any of the calls. A disk has by then what was synced; what was not may be
there, or not, or in part:

dropped    nothing that was not synced: neither bytes nor names
names      names of files, but no bytes that were not synced, as ext4 does with delayed allocation
torn       everything, and the last write by half

In each state a store must open, and have what was acknowledged before that call.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import copy
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from peers import syscalls
from peers.session_files import add, said
from peers.workload import Client

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import SessionFilter

KINDS = ("dropped", "names", "torn")


@dataclass
class File:
    """What programs see in a file, and what is sure to be on the disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    torn: bytes = b""
    """`data`, but with half of the last write."""


class Disk:
    """A home's files as a record of calls made them: in memory, and as the medium has them."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)
        self._open: dict[int, File | str] = {}
        self.names: dict[str, File] = {}
        self.synced_names: dict[str, File] = {}
        self._new_folders: set[str] = set()
        """Made, and not sure to be there."""
        self._renamed: list[tuple[str, str]] = []

    def apply(self, call: str, args: list[Any], result: int | None) -> None:
        effect = getattr(self, f"_on_{call}", None)
        if effect is not None:
            effect(args, result)

    def state(self, kind: str) -> dict[str, bytes]:
        names = self.names
        if kind == "dropped":
            synced = self.synced_names.items()
            names = {name: file for name, file in synced if not self._new_folders & _above(name)}
        return {
            name: bytes(file.torn or file.data) if kind == "torn" else file.synced
            for name, file in names.items()
        }

    def _own(self, path: str) -> bool:
        return path.startswith(self._home)

    def _on_open(self, args: list[Any], result: int) -> None:
        path, flags = args[0], args[1]
        self._open.pop(result, None)
        if not self._own(path) and path != str(Path(self._home).parent):
            return
        if flags & os.O_CREAT and path not in self.names:
            self.names[path] = File()
        if path in self.names:
            file = self._open[result] = self.names[path]
            if flags & os.O_TRUNC:
                file.data.clear()
                file.torn = b""
        else:
            self._open[result] = path  # a folder

    def _on_close(self, args: list[Any], _: Any) -> None:
        self._open.pop(args[0], None)

    def _on_pwrite(self, args: list[Any], result: int) -> None:
        file = self._open.get(args[0])
        if isinstance(file, File):
            data, offset = base64.b64decode(args[1]["data"])[:result], args[2]
            before = bytes(file.data)
            file.data[offset : offset + len(data)] = data
            half = len(data) // 2
            file.torn = bytes(before[:offset] + data[:half] + before[offset + half :])

    def _on_write(self, args: list[Any], result: int) -> None:
        file = self._open.get(args[0])
        if isinstance(file, File):
            self._on_pwrite([args[0], args[1], len(file.data)], result)

    def _on_ftruncate(self, args: list[Any], _: Any) -> None:
        file = self._open.get(args[0])
        if isinstance(file, File):
            del file.data[args[1] :]

    def _on_fsync(self, args: list[Any], _: Any) -> None:
        opened = self._open.get(args[0])
        if isinstance(opened, File):
            opened.synced, opened.torn = bytes(opened.data), b""
        elif opened is not None:  # a folder: the names in it
            self._new_folders = {name for name in self._new_folders if str(Path(name).parent) != opened}
            inside = {name for name in {*self.names, *self.synced_names} if str(Path(name).parent) == opened}
            # A rename is one step of the file system's journal, also from one folder to another.
            for pair in [pair for pair in self._renamed if inside & set(pair) or opened in _folders(pair)]:
                inside |= set(pair)
                self._renamed.remove(pair)
            for name in inside:
                if name in self.names:
                    self.synced_names[name] = self.names[name]
                else:
                    self.synced_names.pop(name, None)

    _on_fdatasync = _on_fsync

    def _on_replace(self, args: list[Any], _: Any) -> None:
        source, target = args[0], args[1]
        if source in self.names:
            self.names[target] = self.names.pop(source)
            self._renamed.append((source, target))

    _on_rename = _on_replace

    def _on_link(self, args: list[Any], _: Any) -> None:
        source, target = args[0], args[1]
        if source in self.names:
            self.names[target] = self.names[source]

    def _on_mkdir(self, args: list[Any], _: Any) -> None:
        if self._own(args[0]):
            self._new_folders.add(args[0])

    def _on_unlink(self, args: list[Any], _: Any) -> None:
        self.names.pop(args[0], None)


def _above(name: str) -> set[str]:
    return set(map(str, Path(name).parents))


def _folders(names: tuple[str, str]) -> set[str]:
    return {str(Path(name).parent) for name in names}


@dataclass
class Recorded:
    """A run: its calls, and after how many of them the client knew what."""

    calls: list[tuple[str, list[Any], Any]]
    ready: int
    known: list[tuple[int, Client]]
    home: Path


@pytest.fixture
def recorded(start_daemon, home):
    """Records a run of so many requests."""

    def record(requests: int, seed: int) -> Recorded:
        path = home.parent / f"calls-{seed}"
        plan = json.dumps({"record": str(path)})
        there = home.parent / f"home-{seed}"
        daemon = start_daemon(home=there, python=["-P", syscalls.__file__, plan])
        client, known = Client("ai-muse", seed), []

        def calls() -> int:
            return path.read_bytes().count(b"\n")

        ready = calls()
        for _ in range(requests):
            client.one(daemon.call)
            known.append((calls(), copy.deepcopy(client)))
        daemon.kill()
        lines = path.read_bytes().splitlines()
        return Recorded([tuple(json.loads(line)) for line in lines], ready, known, there)

    return record


def cuts(run: Recorded, every: int) -> Iterator[tuple[int, str, dict[str, bytes]]]:
    """States of the disk behind every so many calls."""
    disk = Disk(run.home)
    kinds = 0
    for number, (call, args, result) in enumerate(run.calls, 1):
        disk.apply(call, args, result)
        if number >= run.ready and number % every == 0:
            chosen = KINDS if every == 1 else (KINDS[kinds % len(KINDS)],)
            kinds += 1
            for kind in chosen:
                yield number, kind, disk.state(kind)


def check(run: Recorded, number: int, state: dict[str, bytes], folder: Path) -> None:
    """A store opens in that state, has what was acknowledged by then, and takes more."""
    write(run, state, folder)
    position = bisect.bisect_right([count for count, _ in run.known], number)
    store = FileStore(folder)
    store.open()
    try:
        before = run.known[position - 1][1] if position else Client("ai-muse")
        after = run.known[position][1] if position < len(run.known) else before
        check_sessions(store, before, after)
    finally:
        store.close()


def write(run: Recorded, state: dict[str, bytes], folder: Path) -> None:
    for name, data in state.items():
        path = folder / Path(name).relative_to(run.home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)


def check_sessions(store: FileStore, before: Client, after: Client) -> None:
    """What both know is there as it is; where they differ, either is right."""
    listed = {row.session_id for row in store.catalogue.page(SessionFilter(), None, 500)[0]}
    trashed = {row.session_id for row in store.trashed(None, None, 500)}
    assert not listed & trashed
    for name, session in before.sessions.items():
        later = after.sessions.get(name, session)
        places = {session.trashed, later.trashed}
        assert (name in trashed) in places, f"{name} is not where it was put"
        assert name in listed | trashed, f"{name} is missing"
        if name not in listed:
            continue
        got = store.read(name, after_seq=0, limit=10_000, max_bytes=1 << 30, events=False).records
        messages = [(record.seq, record.role, record.content) for record in got]
        assert messages in (session.messages, later.messages), f"messages of {name}"
        summary = store.summary(name)
        if session.title is not None:
            assert summary.title in {session.title, later.title}
        assert set(summary.tags) in (session.tags, later.tags)
        assert summary.pinned in {session.pinned, later.pinned}
        add(store, name, said("after"))
    if before.last is not None and before.last == after.last:
        assert store.last_sessions.get("ai-muse") == before.last


def cut_everywhere(run: Recorded, every: int, folder: Path) -> int:
    count = 0
    for number, kind, state in cuts(run, every):
        there = folder / f"{number}-{kind}"
        try:
            check(run, number, state, there)
        except Exception as error:
            call, args, _ = run.calls[number - 1]
            error.add_note(f"{kind}, power cut behind call {number}: {call} {str(args)[:300]}, in {there}")
            raise
        count += 1
    return count


def test_after_a_power_cut_there_is_what_was_acknowledged(recorded, tmp_path):
    assert cut_everywhere(recorded(60, 1), 7, tmp_path) > 20


def test_after_a_power_cut_in_an_import_each_session_is_whole_or_not_there(start_daemon, home, tmp_path):
    for number in range(12):
        prompts = [
            {"type": "user", "uuid": f"{number}-{place}", "sessionId": f"s{number}"}
            | {"message": {"role": "user", "content": f"{number} {place}"}}
            for place in range(3)
        ]
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    record = home.parent / "calls"
    plan = json.dumps({"record": str(record)})
    daemon = start_daemon(home=home.parent / "recorded", python=["-P", syscalls.__file__, plan])
    ready = record.read_bytes().count(b"\n")
    page = daemon.call("import_sessions", path=str(tmp_path), agent="ai-muse", format="claude")
    acknowledged = record.read_bytes().count(b"\n")
    daemon.kill()
    imported = {each["session_id"]: each["messages"] for each in page["imported"]}
    assert len(imported) == 12
    lines = record.read_bytes().splitlines()
    calls = [tuple(json.loads(line)) for line in lines[:acknowledged]]
    run = Recorded(calls, ready, [], home.parent / "recorded")
    for number, kind, state in cuts(run, 5):
        assert kept_in(run, state, tmp_path / f"{number}-{kind}").items() <= imported.items(), (number, kind)
    disk = Disk(run.home)
    for call in calls:
        disk.apply(*call)
    for kind in KINDS:
        assert kept_in(run, disk.state(kind), tmp_path / kind) == imported, kind


def kept_in(run: Recorded, state: dict[str, bytes], folder: Path) -> dict[str, int]:
    """Messages by session, as a store that is opened in that state has them."""
    write(run, state, folder)
    with contextlib.closing(FileStore(folder)) as store:
        store.open()
        rows, *_ = store.catalogue.page(SessionFilter(), None, 500)
        return {row.session_id: row.message_count for row in rows}


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_after_a_power_cut_behind_every_call(recorded, tmp_path):
    count = sum(cut_everywhere(recorded(60, seed), 1, tmp_path / str(seed)) for seed in range(2, 6))
    print(f"{count} states", file=sys.stderr)

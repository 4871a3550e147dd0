"""Rounds of a recorder on a real store: in which order sources are read, and what a failing disk leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
import os
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from peers import llm_database

from port42_daemon import durable
from port42_daemon.config import CaptureConfig, CapturedToolConfig, ConfigFile
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header, SessionFilter
from port42_daemon.transfer.capture import service
from port42_daemon.transfer.capture.batch_writer import TurnRuns
from port42_daemon.transfer.capture.methods import CaptureMethods
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.progress import Progress
from port42_daemon.transfer.capture.reading import LineSource
from port42_daemon.transfer.capture.recorder import Recorder
from port42_daemon.transfer.capture.service import Capture
from port42_daemon.transfer.capture.tools import TOOLS
from port42_daemon.transfer.headers import derived_id
from port42_daemon.transfer.readers import files
from port42_daemon.transfer.readers.base import Skipped
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.capture import GetCapture
from port42_protocol.messages.records import AssistantMessage, TurnRecord, UserMessage

CLAUDE = TOOLS["claude"]


def transcript(path, session_id, prompts, length=10):
    """A file of Claude Code with so many prompts of that length."""
    with path.open("w") as file:
        for number in range(prompts):
            message = {"role": "user", "content": f"{session_id} {number} {'x' * length}"}
            entry = {"type": "user", "uuid": f"{session_id}-{number}", "sessionId": session_id}
            time = f"2026-01-15T10:{number // 60 % 60:02}:{number % 60:02}.000Z"
            file.write(json.dumps(entry | {"timestamp": time, "message": message}) + "\n")
    return path


@pytest.fixture
def recording(tmp_path):
    """Runs a coroutine with a recorder and its store."""

    def run(work) -> Any:
        home = tmp_path / "home"
        store, threads = FileStore(home), Threads()
        store.open()
        try:
            sessions = Sessions(store, store.catalogue, threads, Events(store, threads))
            config = ConfigFile(home / "config.toml")
            progress, originals = Progress(home / "capture.db"), Originals(home)
            recorder = Recorder(progress, originals, sessions, SessionQueues(), config)
            try:
                return asyncio.run(work(recorder, store))
            finally:
                progress.close()
                originals.close()
        finally:
            threads.close()
            store.close()

    return run


def begin(recorder, path, *, changes_now=False, tool=CLAUDE):
    recorder.begin(tool, path, CapturedToolConfig(on=True, agent="ai-muse"), changes_now=changes_now)


async def rounds(recorder, most=50):
    """The names of the sources that each round finished."""
    finished = []
    while recorder.reading and len(finished) < most:
        finished.append([read.path.stem for read in await recorder.read() if read.error is None])
    return finished


def counts(store):
    """Messages of the sessions, by the first word of their titles."""
    page, *_ = store.catalogue.page(SessionFilter(), None, 200)
    return {session.title.partition(" ")[0]: session.message_count for session in page}


def test_long_sources_do_not_hold_up_the_others(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("port42_daemon.transfer.capture.recorder._ROUND", 2 * 1024 * 1024)
    long = transcript(tmp_path / "long.jsonl", "long", 60, 100_000)
    longer = transcript(tmp_path / "longer.jsonl", "longer", 90, 100_000)
    short = transcript(tmp_path / "short.jsonl", "short", 2)
    live = transcript(tmp_path / "live.jsonl", "live", 2)

    async def work(recorder, store):
        begin(recorder, long)
        begin(recorder, longer)
        begin(recorder, short)
        begin(recorder, live, changes_now=True)
        finished = await rounds(recorder)
        assert finished[0] == ["live"]
        assert finished[1] == ["short"]
        assert finished[-1] == ["longer"]
        assert len(finished) > 6
        assert counts(store) == {"long": 60, "longer": 90, "short": 2, "live": 2}

    recording(work)


def test_what_a_failed_disk_kept_out_is_read_again(recording, tmp_path, monkeypatch):
    paths = [transcript(tmp_path / f"{name}.jsonl", name, 3) for name in ("a", "b", "c")]

    async def work(recorder, store):
        for path in paths:
            begin(recorder, path)

        def refuse(_):
            raise OSError(errno.EIO, "no")

        with monkeypatch.context() as patch:
            patch.setattr(durable, "sync_folder", refuse)
            failed = await recorder.read()
        assert [type(read.error) for read in failed] == [StorageFailed] * 3
        assert counts(store) == {}
        assert recorder.reading == {}
        for path in paths:
            begin(recorder, path)
        assert await rounds(recorder) == [["a", "b", "c"]]
        for path in paths:  # nothing is new
            begin(recorder, path)
        assert await rounds(recorder) == [["a", "b", "c"]]
        assert counts(store) == {"a": 3, "b": 3, "c": 3}

    recording(work)


def fail_once(patch, owner, name):
    """Have the next call of `owner.name` fail, and all others succeed."""
    call, errors = getattr(owner, name), [sqlite3.OperationalError("disk I/O error")]

    def failing(*args):
        if errors:
            raise errors.pop()
        return call(*args)

    patch.setattr(owner, name, failing)


def test_a_source_whose_sessions_could_not_be_looked_up_is_read_again(recording, tmp_path, monkeypatch):
    path = transcript(tmp_path / "a.jsonl", "a", 25, 100_000)

    async def work(recorder, store):
        begin(recorder, path)
        fail_once(monkeypatch, Progress, "begun_with")
        [failed] = await recorder.read()
        assert isinstance(failed.error, sqlite3.OperationalError)
        begin(recorder, path)
        assert (await rounds(recorder))[-1] == ["a"]
        page = store.read(derived_id("claude", "a"), after_seq=0, limit=100, max_bytes=2**24, events=False)
        assert [int(record.content.split()[1]) for record in page.records] == list(range(25))

    recording(work)


def test_a_source_is_finished_where_its_forks_could_not_be_joined(recording, tmp_path, monkeypatch):
    path = transcript(tmp_path / "a.jsonl", "a", 2)

    async def join(*_):
        return {"cli-1": 1}, set()

    async def work(recorder, store):
        begin(recorder, path)
        monkeypatch.setattr("port42_daemon.transfer.capture.recorder.join_forks", join)
        fail_once(monkeypatch, Progress, "move")
        assert await rounds(recorder) == [["a"]]

    recording(work)


def test_where_a_problem_cannot_be_noted_the_sources_are_read_again(recording, tmp_path, monkeypatch, caplog):
    bad, good = (transcript(tmp_path / f"{name}.jsonl", name, 2) for name in ("bad", "good"))
    read = LineSource.next

    def refuse(source):
        if source._path == bad:
            raise Skipped("no")
        return read(source)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    async def work(recorder, store):
        capture = Capture(tmp_path / "home", SimpleNamespace(), recorder._sessions, SessionQueues())
        capture._recorder = recorder
        capture._config = CaptureConfig(claude=CapturedToolConfig(on=True, agent="ai-muse"))
        monkeypatch.setattr(LineSource, "next", refuse)
        monkeypatch.setattr(Progress, "put", full)
        for path in (bad, good):
            capture._queue(path, CLAUDE)
        await capture._read_due()
        assert capture._pending.add_due(math.inf) is None
        assert capture._pending.count(CLAUDE) == 2
        why = f"{good}: database or disk is full; it is tried again (and 1 more)"
        assert capture.unwritten(CLAUDE) == why
        assert caplog.text.count("is read later") == 2
        await capture._read_due()
        assert caplog.text.count("is read later") == 2  # the log says it once
        monkeypatch.undo()
        for path in (bad, good):
            capture._queue(path, CLAUDE)
        await capture._read_due()
        assert capture.unwritten(CLAUDE) is None
        capture._timer.cancel()

    recording(work)


@pytest.mark.parametrize("faults", [2, 99])
def test_a_source_on_which_the_disk_fails_is_read_again_until_it_can_be(
    recording, tmp_path, monkeypatch, faults
):
    path, read, failed = transcript(tmp_path / "a.jsonl", "a", 2), LineSource.next, []
    os.utime(path, (time.time() - 60,) * 2)
    monkeypatch.setattr(service, "_FAULT_SECONDS", (0.01, 0.02, 0.03))

    def next_batch(source):
        if len(failed) < faults:
            failed.append(source)
            files.whole(Path("/proc/self/mem"), 100)  # whose first page the kernel refuses with EIO
        return read(source)

    async def work(recorder, store):
        capture = Capture(tmp_path / "home", SimpleNamespace(), recorder._sessions, SessionQueues())
        capture._recorder = recorder
        capture._config = CaptureConfig(claude=CapturedToolConfig(on=True, agent="ai-muse"))
        monkeypatch.setattr(LineSource, "next", next_batch)
        capture._queue(path, CLAUDE)
        problems = []
        for _ in range(min(faults + 1, 5)):
            async with asyncio.timeout(30):
                await capture._work.wait()
            capture._work.clear()
            await capture._read_due()
            problems.append(recorder.progress.totals({})["claude"].problem)
        again = f"{path}: it cannot be read: input/output error; it is tried again"
        if faults == 2:
            assert problems == [again, again, None]
            assert counts(store) == {"a": 2}
            assert capture._faults == {}
        else:
            assert problems == [again] * 5
            capture._timer.cancel()
        assert capture._pending.count(CLAUDE) == 0

    recording(work)


def test_a_turn_that_ends_while_its_file_is_read_is_no_second_session(recording, tmp_path, monkeypatch):
    path = transcript(tmp_path / "a.jsonl", "a", 2)
    when = "2026-01-15T10:00:00.000Z"
    turn = TurnRecord(backend="claude", native_id="a")
    own = Header(id="cli-1", agent="ai-muse", created_at=when, client="cli")
    question = UserMessage(seq=1, content=f"a 0 {'x' * 10}", timestamp=when)
    reply = AssistantMessage(seq=2, content="aye", timestamp=when, question=1, turn=turn)

    async def work(recorder, store):
        def ended(_):
            """The turn's session is looked up already, and no turn is found that runs."""
            store.create(own, [question, reply])
            return False

        begin(recorder, path)
        with monkeypatch.context() as patch:
            patch.setattr(recorder, "_is_answering", ended)
            [waits] = await recorder.read()
        assert isinstance(waits.error, TurnRuns)
        begin(recorder, path)
        assert await rounds(recorder) == [["a"]]
        page, *_ = store.catalogue.page(SessionFilter(), None, 10)
        assert [(session.session_id, session.message_count) for session in page] == [("cli-1", 3)]

    recording(work)


def test_conversations_of_a_database_are_read_many_at_once(recording, tmp_path):
    path = tmp_path / "logs.db"
    names = [f"c{number}" for number in range(120)]
    llm_database.old(path, {name: [("one", "eins")] for name in names})
    trashed = derived_id("llm", "c7")

    async def work(recorder, store):
        begin(recorder, path, tool=TOOLS["llm"])
        assert await rounds(recorder) == [[], [], ["logs"]]
        ids = {name: derived_id("llm", name) for name in names}
        assert {store.summary(each).message_count for each in ids.values()} == {2}
        with store.writing(trashed) as session:
            session.trash()
        llm_database.old(path, {name: [("one", "eins"), ("two", "zwei")] for name in names})
        begin(recorder, path, tool=TOOLS["llm"])
        assert await rounds(recorder) == [[], [], ["logs"]]
        assert {store.summary(ids[name]).message_count for name in names if name != "c7"} == {4}
        store.restore(trashed)
        assert store.summary(trashed).message_count == 2
        assert await recorder.restored(trashed) == ("llm", path)
        begin(recorder, path, tool=TOOLS["llm"])
        assert await rounds(recorder) == [["logs"]]
        assert store.summary(trashed).message_count == 4

    recording(work)


def test_what_is_read_again_after_a_crash_is_kept_once(recording, tmp_path, monkeypatch):
    path = transcript(tmp_path / "a.jsonl", "a", 3)

    async def crash(recorder, store):
        begin(recorder, path)
        monkeypatch.setattr(recorder.progress, "put", lambda sources: None)  # a kill comes before that
        assert await rounds(recorder) == [["a"]]
        transcript(path, "a", 5)

    async def read(recorder, store):
        begin(recorder, path)
        assert await rounds(recorder) == [["a"]]
        assert counts(store) == {"a": 5}

    recording(crash)
    recording(read)
    with contextlib.closing(Originals(tmp_path / "home")) as originals:
        [original] = originals.all()
        assert (original.generation, b"".join(originals.data(original))) == (1, path.read_bytes())
    (tmp_path / "home" / "capture.db").unlink()
    path.write_bytes(path.read_bytes()[200:])  # now what was kept is not its beginning
    recording(read)
    with contextlib.closing(Originals(tmp_path / "home")) as originals:
        assert [each.generation for each in originals.all()] == [1, 2]


def test_what_was_read_while_originals_were_not_kept_is_no_gap(recording, tmp_path):
    path = transcript(tmp_path / "a.jsonl", "a", 3)
    config = tmp_path / "home" / "config.toml"

    async def read(recorder, store):
        recorder._config.refresh(anew=True)
        begin(recorder, path)
        assert await rounds(recorder) == [["a"]]

    for number, keep in enumerate(("true", "false", "true", "true"), 3):
        transcript(path, "a", number)
        config.parent.mkdir(exist_ok=True)
        config.write_text(f"[capture]\noriginals = {keep}\n")
        recording(read)
    with contextlib.closing(Originals(tmp_path / "home")) as originals:
        first, second = [b"".join(originals.data(each)) for each in originals.all()]
    assert (first, second) == (b"".join(path.read_bytes().splitlines(keepends=True)[:3]), path.read_bytes())


def test_a_request_that_is_cancelled_while_it_applies_the_config_does_not_end_capture(recording, tmp_path):
    config = CaptureConfig(claude=CapturedToolConfig(on=True, path=str(tmp_path)))

    async def work(recorder, store):
        read = asyncio.Event()

        async def refresh():
            read.set()
            return SimpleNamespace(capture=config)

        agents = SimpleNamespace(refresh=refresh)
        capture = Capture(tmp_path / "home", agents, recorder._sessions, SessionQueues())
        capture._recorder = recorder
        asking = asyncio.create_task(CaptureMethods(capture).get_capture(GetCapture()))
        await read.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await capture.apply()
        assert capture._watching is not None
        capture._watching.cancel()

    recording(work)

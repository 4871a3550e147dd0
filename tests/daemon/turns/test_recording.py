"""What an agent does in a turn is recorded as it happens, however the turn ends and whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peers.parts import Played, RecordingPeer, played, says

from port42_daemon.backends.base import (
    Compacted,
    Decided,
    Done,
    Failure,
    Permission,
    Plan,
    Text,
    Thought,
    Tool,
)
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.turns import partial_reply
from port42_protocol.activity import join_texts
from port42_protocol.errors import BackendFailed, StorageFailed
from port42_protocol.messages.events import PermissionOption
from port42_protocol.messages.records import (
    PlanEntry,
)
from port42_protocol.messages.sessions import CreateSession
from port42_protocol.messages.turns import AnswerPermission, CancelTurn, RetryTurn, Subscribe

PERMISSION = Permission("Write a file", "edit", (PermissionOption("yes", "Allow", "allow_once"),))
TOOL = st.builds(
    Tool, st.sampled_from("abc"), st.just("tool"), st.sampled_from(["running", "done", "failed"])
)
STEPS = st.one_of(
    st.builds(Text, st.text("abc \n", min_size=1, max_size=5)),
    st.builds(Thought, st.text("xyz", min_size=1, max_size=3)),
    TOOL,
    TOOL,
    st.builds(Plan, st.tuples(st.builds(PlanEntry, st.sampled_from("abc")))),
    st.just(Decided(PERMISSION, "yes")),
    st.just(Compacted("what was before")),
    st.sampled_from(["pause", "wait", "permission", "subscribe"]),
)
ENDS = st.sampled_from(["done", "failure", "error", "no end", "cancel"])


class Script:
    """Plays steps; `text` is what it said. Subscribers are made by the step "subscribe"."""

    def __init__(self, steps, end):
        self.steps, self.end = steps, end
        self.text = ""
        self.parts = None
        self.late = []
        self.calls = set()
        self.stopped = asyncio.Event()

    async def pause(self, step, session_id, ask):
        """What a step that is no event does."""
        if step == "permission":
            await ask(PERMISSION)
        elif step == "subscribe":
            peer = RecordingPeer()
            self.late.append(peer)
            await self.parts.events.subscribe(Subscribe(session_id=session_id, since_seq=0), peer)
        else:
            await asyncio.sleep(0 if step == "pause" else 0.003)

    async def play(self, turn, ask):
        for step in self.steps:
            if isinstance(step, str):
                await self.pause(step, turn.session_id, ask)
            else:
                if isinstance(step, Text):
                    self.text += step.text
                if isinstance(step, Tool):
                    self.calls.add(step.id)
                yield step
        if self.end == "done":
            yield Done()
        elif self.end == "failure":
            yield Done(Failure("network", "the network is down"))
        elif self.end == "error":
            raise KeyError("broken")
        elif self.end == "cancel":
            self.stopped.set()
            await asyncio.Event().wait()


async def answer(parts, peer):
    """Allow each permission that the peer is asked for."""
    answered = 0
    while True:
        await peer.heard("permission", answered + 1)
        event = peer.of("permission")[answered]
        request = AnswerPermission(event["session_id"], event["permission_id"], "yes")
        await parts.turns.answer_permission(request)
        answered += 1


async def cancel(parts, peer, script):
    await script.stopped.wait()
    await parts.turns.cancel_turn(CancelTurn(peer.events[0]["session_id"]))


async def play(parts, script):
    """The peer that streamed, the result (None where it failed), and the session's records."""
    script.parts, peer = parts, RecordingPeer()
    helpers = [asyncio.create_task(answer(parts, peer)), asyncio.create_task(cancel(parts, peer, script))]
    result = None
    with contextlib.suppress(BackendFailed):
        result = await parts.possess("agent", "hello", peer, stream=True)
    for helper in helpers:
        helper.cancel()
    return peer, result, await parts.records(peer.events[0]["session_id"])


def run(script):
    with tempfile.TemporaryDirectory() as folder:

        async def work(parts):
            return await play(parts, script)

        return played(Path(folder) / "home", work, agent=Played(script.play))


def check_live(peer, records, *, since=1):
    """A peer has each record once and in order, and text that the next message has, or that was replayed."""
    assert [event["message"]["seq"] for event in peer.of("message")] == list(range(since, len(records) + 1))
    text = ""
    for event in peer.events:
        if event["kind"] == "text":
            text += event["text"]
        elif event["kind"] == "message" and event["message"]["role"] == "assistant":
            assert text in {event["message"]["content"], ""}
            text = ""
    assert peer.kinds[-1] == "ended"


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=14), ENDS)
def test_whatever_an_agent_does_is_recorded_in_its_order(steps, end):
    script = Script(steps, end)
    peer, result, records = run(script)
    pieces = [record.content for record in records if record.role == "assistant"]
    assert "".join(pieces) == script.text
    ended = [record for record in records[1:] if getattr(record, "status", None) or record.role == "error"]
    assert ended, "the turn has no end"
    assert records[-len(ended) :] == ended
    assert all(record.question == 1 for record in records[1:] if record.role != "event")
    if result is not None:
        assert result.reply == join_texts(pieces)
        assert result.reply_seq == len(records)
        assert result.turn == records[-1].turn
        assert result.status == ("interrupted" if end == "cancel" else "answered")
    calls = [step for step in steps if isinstance(step, Tool)]
    assert {record.id for record in records if record.role == "tool"} == {call.id for call in calls}
    asked = [step for step in steps if step == "permission" or isinstance(step, Decided)]
    by = [record.by for record in records if record.role == "permission"]
    assert by == ["rpc" if step == "permission" else "config" for step in asked]
    check_live(peer, records)
    for late in script.late:
        check_live(late, records)


# --- a killed daemon --------------------------------------------------------------------------------


@settings(max_examples=40)
@example([Text("a"), Tool("a", "tool", "running"), Text("b"), Text("c")], 3, True)
@example([Tool("a", "tool", "running"), Tool("a", "tool", "running")], 2, True)
@given(st.lists(st.one_of(TOOL, STEPS), min_size=2, max_size=12), st.integers(1, 12), st.booleans())
def test_a_killed_daemon_loses_nothing_that_was_kept(steps, killed_at, kept):
    """The files as they are at some step are what a kill leaves; another daemon starts on them."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial_reply, "_KEEP_EVERY", 0.001)
        left = Path(folder) / "left"
        script = Script(steps, "done")
        killed_at %= sum(not isinstance(step, str) for step in steps) + 1
        seen: dict[str, object] = {}

        async def play_until(turn, ask):
            number = 0
            async for event in script.play(turn, ask):
                if number == killed_at:
                    copy()
                number += 1
                yield event
                if kept:
                    await asyncio.sleep(0.01)

        def copy():
            shutil.copytree(Path(folder) / "home", left)
            seen.update(text=script.text, calls=set(script.calls))

        async def first(parts):
            peer, _, records = await play(parts, script)
            return peer.events[0]["session_id"], records

        session_id, whole = played(Path(folder) / "home", first, agent=Played(play_until))
        if not left.exists():
            return

        async def second(parts):
            await parts.turns.recover()
            records = await parts.records(session_id)
            await parts.turns.recover()
            assert await parts.records(session_id) == records
            return records

        records = played(left, second, agent=says(Done()))
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert getattr(records[-1], "status", None) or records[-1].role == "error"
        text = "".join(record.content for record in records if record.role == "assistant")
        assert script.text.startswith(text)
        calls = [record.id for record in records if record.role == "tool"]
        ran = [record.id for record in whole if record.role == "tool"]
        assert all(calls.count(tool_id) <= max(1, ran.count(tool_id)) for tool_id in calls)
        if kept and killed_at:
            before = str(seen["text"])
            # The event of the kill itself had been said, but not been taken yet.
            assert len(text) >= len(before) - 5
        assert not list((left / "sessions").glob("*.partial"))


# --- in one append ----------------------------------------------------------------------------------


def test_calls_that_come_together_are_written_together(tmp_path, monkeypatch):
    syncs = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (syncs.append(file), sync(file)))
    events = [Tool(f"t{number}", "ls", state) for number in range(1000) for state in ("running", "done")]

    async def work(parts):
        result = await parts.possess("agent", "hello")
        return await parts.records(result.session_id)

    records = played(tmp_path / "home", work, agent=says(*events, Text("done"), Done()))
    assert [record.role for record in records].count("tool") == 1000
    assert len(syncs) < 200


def test_a_text_is_on_the_disk_when_the_next_call_begins(tmp_path):
    begun = asyncio.Event()

    async def play(turn, ask):
        yield Text("Let me look.")
        yield Tool("t", "ls", "running")
        await begun.wait()
        yield Done()

    async def work(parts):
        peer = RecordingPeer()
        turn = asyncio.create_task(parts.possess("agent", "hello", peer, stream=True))
        await peer.heard("message", 2)
        (path,) = (parts.home / "sessions").glob("*.json")
        assert '"content":"Let me look."' in path.read_text()
        begun.set()
        return await turn

    result = played(tmp_path / "home", work, agent=Played(play))
    assert (result.reply, result.reply_seq) == ("Let me look.", 4)


def test_a_repeated_request_gets_the_same_reply(tmp_path):
    backend = says(Text("one"), Tool("t", "ls", "done"), Text("two"), Done())

    async def work(parts):
        return [await parts.possess("agent", "hello", idempotency_key="k") for _ in range(2)]

    first, again = played(tmp_path / "home", work, agent=backend)
    assert first == again
    assert first.reply == "one\n\ntwo"


def test_a_disk_that_refuses_a_record_stops_the_agent_and_loses_nothing(tmp_path, monkeypatch):
    full = True
    write = os.pwrite

    def pwrite(descriptor, data, offset):
        if full and b'"event":"tool"' in bytes(data):
            raise OSError(28, "no space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    stopped = asyncio.Event()

    async def play(turn, ask):
        try:
            yield Text("Let me look.")
            yield Tool("t", "ls", "done", output="a.py")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def work(parts):
        nonlocal full
        with pytest.raises(StorageFailed) as caught:
            await parts.possess("agent", "hello")
        assert stopped.is_set()
        full = False
        session_id = caught.value.data["session_id"]
        await parts.turns.recover(session_id)
        return await parts.records(session_id)

    records = played(tmp_path / "home", work, agent=Played(play))
    assert sorted({record.role for record in records[1:]}) == ["assistant", "tool"]
    assert records[-1].status == "interrupted"
    assert "".join(record.content for record in records if record.role == "assistant") == "Let me look."
    assert next(record for record in records if record.role == "tool").output == "a.py"


def test_what_an_agent_does_meanwhile_is_no_use_of_its_session(tmp_path):
    go_on = asyncio.Event()

    async def play(turn, ask):
        yield Text("Let me look.")
        yield Tool("t", "ls", "done")
        await go_on.wait()
        yield Done()

    async def work(parts):
        peer = RecordingPeer()
        turn = asyncio.create_task(parts.possess("agent", "hello", peer, stream=True))
        await peer.heard("text")
        later = await parts.sessions.create_session(CreateSession("agent"))
        await peer.heard("message", 3)
        assert parts.store.last_sessions["agent"] == later.session_id
        go_on.set()
        result = await turn
        assert parts.store.last_sessions["agent"] == result.session_id

    played(tmp_path / "home", work, agent=Played(play))


# --- permissions ------------------------------------------------------------------------------------


def test_a_permission_says_who_chose(tmp_path):
    async def play(turn, ask):
        chosen = await ask(PERMISSION)
        yield Text(str(chosen))
        yield Done()

    async def work(parts):
        result = await parts.possess("agent", "hello")
        nobody = await parts.records(result.session_id)
        peer = RecordingPeer()
        turn = asyncio.create_task(parts.possess("agent", "hello", peer, stream=True, client="cli"))
        await peer.heard("permission")
        session_id = peer.events[0]["session_id"]
        await parts.turns.cancel_turn(CancelTurn(session_id))
        await turn
        return nobody[1], (await parts.records(session_id))[1]

    nobody, cancelled = played(tmp_path / "home", work, agent=Played(play))
    assert (nobody.title, nobody.options, nobody.chosen, nobody.by) == (
        "Write a file",
        ("Allow",),
        None,
        "nobody",
    )
    assert (cancelled.chosen, cancelled.by) == (None, "cancel")


def test_a_turn_that_is_run_again_has_the_client_that_asked_for_it(tmp_path):
    failures = [Failure("network", "the network is down")]

    async def play(turn, ask):
        if failures:
            yield Done(failures.pop())
            return
        yield Text(str(await ask(PERMISSION)))
        yield Done()

    async def work(parts):
        with pytest.raises(BackendFailed) as failed:
            await parts.possess("agent", "hello")
        session_id = failed.value.data["session_id"]
        peer = RecordingPeer()
        answering = asyncio.create_task(answer(parts, peer))
        request = RetryTurn("agent", session_id, stream=True, client="cli")
        await parts.turns.retry_turn(request, peer, Cancellation())
        answering.cancel()
        return await parts.records(session_id)

    records = played(tmp_path / "home", work, agent=Played(play))
    assert [record.by for record in records if record.role == "permission"] == ["cli"]

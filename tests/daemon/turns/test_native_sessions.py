"""Turns in sessions that came from a tool: continued there, or with the transcript; and its sub-agents'."""

from __future__ import annotations

import asyncio

import pytest
from peers.parts import RecordingPeer, played, says

from port42_daemon.backends.base import (
    Done,
    Started,
    Text,
)
from port42_daemon.store.interface import Header
from port42_protocol.messages.forks_and_trash import DeleteSession, ForkSession, RestoreSession
from port42_protocol.messages.records import (
    AssistantMessage,
    Parent,
    Source,
    TurnRecord,
    UserMessage,
)
from port42_protocol.messages.sessions import AppendMessage, GetLastSession, UpdateLastSession


async def imported(parts, format_name="claude", **fields):
    when = "2026-11-23T03:37:11.042Z"
    header = Header(
        id="claude-1",
        agent="agent",
        created_at=when,
        client="claude",
        cwd=str(parts.home),
        imported_from=Source(format_name, "native-1"),
        **fields,
    )
    records = [
        UserMessage(seq=0, content="hello", timestamp=when),
        AssistantMessage(seq=0, content="hi", timestamp=when, turn=TurnRecord(backend=format_name)),
    ]
    await parts.threads.files(parts.store.create, header, records)
    return header.id


@pytest.mark.parametrize("tool", ["claude", "codex", None])
def test_a_tools_own_session_is_continued_there_and_elsewhere_with_the_transcript(tmp_path, tool):
    backend = says(Started("native-1"), Text("again"), Done())
    backend.tool = tool

    async def work(parts):
        session_id = await imported(parts)
        peer = RecordingPeer()
        for _ in range(2):
            await parts.possess("agent", "go on", peer, session_id=session_id, stream=True)
        return [event["text"] for event in peer.of("notice")]

    notices = played(tmp_path / "home", work, agent=backend)
    first, second = backend.turns
    if tool == "claude":
        assert (first.native_id, first.cwd) == ("native-1", str(tmp_path / "home"))
        assert notices == ["agent continues its own session native-1"]
    else:
        assert first.native_id is None
        assert notices == ["agent begins with the transcript of this session of claude"]
    assert [message.content for message in first.history] == ["hello", "hi"]
    assert second.native_id == "native-1"


def captured(parts, session_id, text, backend="claude"):
    """What `capture` adds of a turn in the tool itself."""
    when = "2026-11-23T03:37:11.042Z"
    records = [
        UserMessage(seq=0, content=f"{text}?", timestamp=when),
        AssistantMessage(seq=0, content=text, timestamp=when, turn=TurnRecord(backend=backend)),
    ]
    return parts.sessions.add_later(session_id, records)


def test_a_session_that_was_continued_in_the_tool_meanwhile_is_continued_there(tmp_path):
    backend = says(Started("native-1"), Text("hi"), Done())
    backend.tool = "claude"

    async def work(parts):
        session_id = (await parts.possess("agent", "hello")).session_id
        await captured(parts, session_id, "meanwhile")
        peer = RecordingPeer()
        await parts.possess("agent", "go on", peer, session_id=session_id, stream=True)
        fork = await parts.lineage.fork_session(ForkSession(session_id))
        await parts.possess("agent", "apart", session_id=fork.session_id)
        return peer.of("notice")

    assert played(tmp_path / "home", work, agent=backend) == []
    _, second, forked = backend.turns
    assert second.native_id == "native-1"
    assert forked.native_id is None
    assert [message.content for message in forked.history][-2:] == ["go on", "hi"]


def test_a_tools_session_that_was_answered_elsewhere_meanwhile_begins_with_the_transcript(tmp_path):
    backend = says(Started("native-1"), Text("hi"), Done())
    backend.tool = "claude"

    async def work(parts):
        session_id = await imported(parts)
        await captured(parts, session_id, "elsewhere", backend="anthropic")
        await captured(parts, session_id, "in the tool")
        await parts.possess("agent", "go on", session_id=session_id)

    played(tmp_path / "home", work, agent=backend)
    assert backend.turns[0].native_id is None
    assert len(backend.turns[0].history) == 6


def test_a_sub_agents_session_is_never_an_agents_last(tmp_path):
    async def work(parts):
        own = await parts.possess("agent", "mine")
        session_id = await imported(parts, parent=Parent(own.session_id, 1))
        await parts.sessions.append_message(AppendMessage("agent", session_id, "user", "more"))
        await parts.sessions.update_last_session(UpdateLastSession("agent", session_id))
        await parts.possess("agent", "and more", session_id=session_id)
        await parts.trash.delete_session(DeleteSession(session_id))
        await parts.trash.restore_session(RestoreSession(session_id))
        last = parts.sessions.get_last_session(GetLastSession("agent"))
        assert (last if not asyncio.iscoroutine(last) else await last).session_id == own.session_id
        fork = await parts.lineage.fork_session(ForkSession(session_id))
        assert not fork.parent
        assert parts.store.last_sessions["agent"] == fork.session_id

    played(tmp_path / "home", work, agent=says(Text("hi"), Done()))

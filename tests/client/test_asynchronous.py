"""The client for event loops against real daemons: as the blocking one, and calls that are cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from peers.daemons import stop_daemon_of
from peers.talk import outline

from port42_client import (
    AsyncClient,
    BackendFailed,
    MissingCapability,
    NoDaemon,
    RequestCancelled,
    UnknownAgent,
    WrongAgent,
    silence,
)
from port42_protocol.messages.daemon import Status
from port42_protocol.messages.events import MessageEvent, PermissionEvent, TextEvent, WaitingEvent
from port42_protocol.messages.sessions import AppendMessage, CreateSession, GetSession, ListSessions


def append(client, content, session_id="s-1"):
    return client.call(AppendMessage("ai-muse", session_id, "user", content))


@asynccontextmanager
async def opened(tap):
    """As `tap.open`, which waits for the agent, beside the loop."""
    opening = tap.open()
    say = await asyncio.to_thread(opening.__enter__)
    try:
        yield say
    finally:
        opening.__exit__(None, None, None)


async def message(events):
    """The record of the next message event."""
    async for event in events:
        if isinstance(event, MessageEvent):
            return event.message
    return None


async def until(events, kind):
    async for event in events:
        if isinstance(event, kind):
            return event
    return None


def test_turns_at_the_same_time(tap, daemon):
    async def run():
        async with AsyncClient() as client:
            turns = [client.possess("shout", word) for word in ("one", "two", "three")]
            results = await asyncio.gather(*(turn.result() for turn in turns))
            assert [result.reply for result in results] == ["ONE", "TWO", "THREE"]
            turn = client.possess("shout", "four", session_id=results[0].session_id)
            texts = [event.text async for event in turn if isinstance(event, TextEvent)]
            assert "".join(texts) == (await turn.result()).reply == "FOUR"
            assert [event async for event in turn] == []

    asyncio.run(run())


def test_calls_share_a_connection_and_errors_are_of_their_kind(daemon):
    async def run():
        async with AsyncClient() as client:
            await client.call(CreateSession("ai-muse", "s-1"))
            await asyncio.gather(*(append(client, str(number)) for number in range(20)))
            assert (await client.call(Status())).connections == 1
            with pytest.raises(WrongAgent):
                await client.call(GetSession("s-1", "ai-engineer"))
            with pytest.raises(UnknownAgent):
                await client.possess("nobody", "hello").result()
            with pytest.raises(MissingCapability, match="juggle"):
                await client.require("juggle")
            pages = [len(page.messages) async for page in client.pages(GetSession("s-1", limit=8))]
            assert pages == [8, 8, 4]

    asyncio.run(run())


def test_a_turn_is_cancelled_and_one_that_waits_is_not_recorded(tap, daemon):
    async def run():
        async with AsyncClient() as client:
            turn = client.possess("tap", "hello")
            async with opened(tap) as say:
                say("half")
                await until(turn, TextEvent)
                waiting = client.possess("tap", "me too", session_id=turn.session_id)
                await until(waiting, WaitingEvent)
                waiting.cancel()
                with pytest.raises(RequestCancelled):
                    await waiting.result()
                turn.cancel()
                assert (await turn.result()).status == "interrupted"
            async with client.possess("tap", "again", session_id=turn.session_id) as closed:
                await until(closed, MessageEvent)
            return turn.session_id

    session_id = asyncio.run(run())
    assert outline(daemon, session_id)[:3] == [("user", "hello"), ("assistant", "half"), ("user", "again")]


def test_a_call_whose_time_is_over_is_cancelled_in_the_daemon(tap, daemon):
    """A turn by `ask`, as any request: the daemon ends what nobody waits for any more."""

    async def run():
        async with AsyncClient() as client:
            question = {"agent": "tap", "message": "hello", "session_id": "s-1"}
            await client.call(CreateSession("tap", "s-1"))
            asking = asyncio.create_task(client.ask("possess", question))
            async with aclosing(client.subscribe("s-1", since_seq=0)) as events:
                assert (await message(events)).role == "user"
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                record = await message(events)
            assert (record.role, record.status) == ("assistant", "interrupted")
            assert (await client.call(Status())).connections == 1, "the connection is still used"

    asyncio.run(run())


def test_a_subscription_goes_on_after_a_restart_and_a_kill_and_misses_nothing(daemon):
    async def run():
        async with AsyncClient(start=False) as client:
            await client.call(CreateSession("ai-muse", "s-1"))
            await append(client, "before")
            async with aclosing(client.subscribe("s-1", since_seq=0)) as events:
                assert (await message(events)).content == "before"
                for end in (daemon.stop, daemon.kill):
                    await append(client, "read late")
                    await asyncio.to_thread(end)
                    await asyncio.to_thread(daemon.start)
                    await append(client, "of the next daemon")
                    got = [(await message(events)).content for _ in range(2)]
                    assert got == ["read late", "of the next daemon"]
                await append(client, "last")
                assert (await message(events)).seq == 6

    asyncio.run(run())


def test_a_killed_daemon_is_replaced_and_the_question_is_asked_once(tap, daemon):
    async def run():
        async with AsyncClient() as client:
            turn = client.possess("tap", "hello")
            async with opened(tap) as say:
                say("half of it")
                await until(turn, TextEvent)
                daemon.kill()
            with pytest.raises(BackendFailed, match="the daemon was stopped during this turn"):
                await turn.result()
            sessions = await client.call(ListSessions("tap"))
            assert [session.session_id for session in sessions.sessions] == [turn.session_id]

    asyncio.run(run())
    stop_daemon_of(daemon.home)


def test_without_a_daemon_and_without_a_start(home):
    async def run():
        async with AsyncClient(start=False) as client:
            with pytest.raises(NoDaemon):
                await client.call(Status())
            with pytest.raises(NoDaemon):
                await client.possess("ai-muse", "hello").result()
            with pytest.raises(NoDaemon):
                await anext(client.subscribe())

    asyncio.run(run())
    assert not home.exists()


@pytest.mark.parametrize(("option", "outcome"), [(0, "id:allow_once"), (None, "id:reject_once")])
def test_a_permission_is_answered(home, start_daemon, option, outcome):
    agent = [sys.executable, "-S", "-B", str(Path(__file__).parents[1] / "peers" / "acp_permission.py")]
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        '[agents.asks]\nbackend = "asks"\n[backends.asks]\ntype = "acp"\npermissions = "ask"\n'
        f"command = {json.dumps(agent)}\n"
    )
    start_daemon()

    async def run():
        async with AsyncClient() as client:
            turn = client.possess("asks", "edit allow_once reject_once")
            permission = await until(turn, PermissionEvent)
            await turn.answer(permission, None if option is None else permission.options[option])
            return await turn.result()

    assert outcome in asyncio.run(run()).reply


def test_a_daemon_that_hangs_is_given_up_and_a_long_turn_is_not(tap, daemon, monkeypatch):
    monkeypatch.setattr(silence, "PATIENCE", 1.0)
    pid = daemon.call("status")["pid"]

    async def run():
        async with AsyncClient() as client:
            turn = client.possess("tap", "hi")
            async with opened(tap):
                asked, own = 0, 1
                while asked < own + 1:  # the turn's connection asks, too
                    await asyncio.sleep(0.05)
                    own += 1
                    latencies = (await client.call(Status())).latencies
                    asked = next((each.count for each in latencies if each.method == "status"), 0)
                os.kill(pid, signal.SIGSTOP)
                try:
                    for hanging in (turn.result(), client.call(Status())):
                        with pytest.raises(NoDaemon, match="status and did not answer within"):
                            await hanging
                finally:
                    os.kill(pid, signal.SIGCONT)

    asyncio.run(run())

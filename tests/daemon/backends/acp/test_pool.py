"""ACP agents that stay for the next turn of their session, as real processes."""

import asyncio
import os
import signal
import time
from contextlib import aclosing
from typing import Any

import pytest
from peers.acp_turns import NAME, native_id_of, play, runs, wait_for_end
from peers.backends_acp import Journal, config
from peers.turns import done_of, events_of, failure_of, nobody, text_of, turn

from port42_daemon.backends.acp import pool
from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Event,
    Started,
    Turn,
    Usage,
)


def test_an_agent_stays_for_its_sessions_next_turn(journal: Journal) -> None:
    async def turns(backend: Acp) -> None:
        native_id = None
        for message in ("one", "two", "three"):
            native_id = native_id_of(await events_of(backend, turn(message, native_id=native_id)))
        assert runs(journal.pids[0])

    play(Acp(config("echo", journal)), turns)
    assert len(journal.pids) == 1
    assert journal.methods == ["initialize", "session/new", *["session/prompt"] * 3]
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(
    "change",
    [{"system": "You are Bob"}, {"model": "large"}, {"cwd": "/"}, {"native_id": "another"}, {"depth": 1}],
)
def test_a_turn_on_other_terms_gets_another_agent(journal: Journal, change: dict[str, Any]) -> None:
    async def turns(backend: Acp) -> None:
        native_id = native_id_of(await events_of(backend, turn("one")))
        await events_of(backend, turn("two", **{"native_id": native_id} | change))
        assert [runs(pid) for pid in journal.pids] == [False, True]

    play(Acp(config("echo", journal, "load", "models")), turns)
    assert journal.params("session/load")[0]["sessionId"] in (f"native-{journal.pids[0]}", "another")


def test_an_idle_agent_is_ended_in_time(journal: Journal) -> None:
    async def idle(backend: Acp) -> None:
        await events_of(backend, turn())
        await wait_for_end(journal.pids[0])
        again = await events_of(backend, turn(native_id="native-1"))
        assert native_id_of(again) == "native-1"

    play(Acp(config("echo", journal, "load", idle_ttl=0.1)), idle)
    assert {"eof": True} in journal.notes


def test_an_agent_that_crashed_while_idle_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        os.kill(journal.pids[0], signal.SIGKILL)
        await wait_for_end(journal.pids[0])
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert text_of(second) == "two "
        assert native_id_of(second) == native_id_of(first)

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2


def kill_unnoticed(pid: int) -> None:
    """Kill, and wait for the end in the event loop's own thread, so that the loop cannot hear of it."""
    os.kill(pid, signal.SIGKILL)
    while runs(pid):
        time.sleep(0.001)


def test_an_agent_whose_end_the_loop_has_not_noticed_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        kill_unnoticed(journal.pids[0])
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert text_of(second) == "two "
        assert [type(event) for event in second].count(Started) == 1

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2


def test_an_agent_that_dies_before_the_prompt_is_sent_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        async with aclosing(backend.run(turn("two", native_id=native_id_of(first)), nobody)) as stream:
            second = [await anext(stream)]
            kill_unnoticed(journal.pids[0])
            second += [event async for event in stream]
        assert text_of(second) == "two "
        assert done_of(second).failure is None

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2
    assert journal.prompts == ["one", "two"]


def test_a_prompt_that_an_agent_has_read_is_not_sent_to_another(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("die", native_id=native_id_of(first)))
        assert failure_of(second) == ("crashed", f"{NAME} ended with status 3")

    play(Acp(config("echo", journal, "resume")), crash)
    assert journal.prompts == ["one", "die"]


def test_the_longest_idle_goes_when_there_are_many(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MOST_IDLE", 2)

    async def three(backend: Acp) -> None:
        for number in range(3):
            await events_of(backend, Turn(f"s-{number}", "hello"))
        await wait_for_end(journal.pids[0])
        assert [runs(pid) for pid in journal.pids] == [False, True, True]

    play(Acp(config("echo", journal)), three)


def test_several_sessions_at_once(journal: Journal) -> None:
    async def four(backend: Acp) -> list[list[Event]]:
        return await asyncio.gather(*(events_of(backend, Turn(f"s-{n}", f"hello {n}")) for n in range(4)))

    assert [text_of(events) for events in play(Acp(config("echo", journal)), four)] == [
        f"hello {number} " for number in range(4)
    ]
    assert len(set(journal.pids)) == 4
    assert not any(map(runs, journal.pids))


def test_an_agent_that_ignores_all_but_kill_is_ended(journal: Journal, hasty: None) -> None:
    async def single_turn(backend: Acp) -> None:
        await events_of(backend, turn("answer"))
        assert runs(journal.pids[0])
        await backend.aclose()
        assert not runs(journal.pids[0])

    play(Acp(config("stubborn", journal)), single_turn)


def test_closing_lets_a_turn_under_way_end_and_keeps_nothing(journal: Journal) -> None:
    async def closed_meanwhile(backend: Acp) -> None:
        async with aclosing(backend.run(turn("well, hello"), nobody)) as events:
            await anext(events)
            await backend.aclose()
            rest = [event async for event in events]
        assert text_of(rest) == "well, hello "
        assert not runs(journal.pids[0])

    play(Acp(config("echo", journal)), closed_meanwhile)


def test_copilot_counts_the_whole_session_and_a_turn_has_its_own_tokens(journal: Journal) -> None:
    async def usages(backend: Acp) -> list[Event]:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        return [event for event in [*first, *second] if isinstance(event, Usage)]

    backend = Acp(config("echo", journal, "copilot"))
    assert backend.tool == "copilot"
    assert play(backend, usages) == [Usage(10, 1), Usage(10, 1)]

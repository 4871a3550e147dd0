"""What ACP agents ask before they act, and cancelling."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from peers.acp_turns import NAME, native_id_of, notices, play, played, runs
from peers.backends_acp import Journal, config
from peers.turns import done_of, events_of, failure_of, nobody, text_of, turn

from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Decided,
    Done,
    Event,
    Permission,
    Text,
    Tool,
    Turn,
)


@pytest.mark.parametrize(
    ("policy", "asked", "outcome"),
    [
        ("deny", "read allow_once reject_always reject_once", "id:reject_once"),
        ("deny", "read allow_once reject_always", "id:reject_always"),
        ("deny", "read allow_once", None),
        ("read-only", "read allow_always allow_once reject_once", "id:allow_once"),
        ("read-only", "search allow_once", "id:allow_once"),
        ("read-only", "fetch allow_once", "id:allow_once"),
        ("read-only", "think allow_once", "id:allow_once"),
        ("read-only", "edit allow_once reject_once", "id:reject_once"),
        ("read-only", "execute allow_once reject_once", "id:reject_once"),
        ("read-only", "switch_mode allow_once reject_once", "id:reject_once"),
        ("read-only", "tomorrows allow_once reject_once", "id:reject_once"),
        ("read-only", "read quiet allow_once", "id:allow_once"),
        ("read-only", "edit quiet allow_once reject_once", "id:reject_once"),
        ("allow", "execute allow_always allow_once", "id:allow_once"),
        ("allow", "execute allow_always reject_once", "id:reject_once"),
        ("allow", "execute allow_always", None),
        ("allow", "execute", None),
        ("ask", "read allow_once reject_once", "id:reject_once"),
    ],
)
def test_permissions_by_policy(policy: str, asked: str, outcome: str | None) -> None:
    (events,) = played(config("permission", permissions=policy), turn(asked))
    (decided,) = [event for event in events if isinstance(event, Decided)] if policy != "ask" else [None]
    if decided is not None:
        assert (decided.chosen, decided.permission.tool_id) == (outcome, "call-1")
    given = json.loads(text_of(events))
    assert given == ({"outcome": "selected", "optionId": outcome} if outcome else {"outcome": "cancelled"})
    assert bool(notices(events)) == (outcome != "id:allow_once")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("id:allow_once", "id:allow_once"),
        ("id:allow_always", "id:allow_always"),
        ("id:reject_once", "id:reject_once"),
        ("id:something else", "id:reject_once"),
        (None, "id:reject_once"),
    ],
)
def test_a_person_is_asked_and_nobody_else_chooses(answer: str | None, outcome: str) -> None:
    asked: list[Permission] = []
    events: list[Event] = []

    async def ask(permission: Permission) -> str | None:
        assert isinstance(events[-1], Tool), "shown what came before"
        asked.append(permission)
        return answer

    async def single_turn(backend: Acp) -> None:
        message = "edit quiet allow_always allow_once reject_once"
        async with aclosing(backend.run(turn(message), ask)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - one by one: `ask` looks at what is there

    play(Acp(config("permission")), single_turn)
    (permission,) = asked
    assert (permission.title, permission.kind, permission.tool_id) == ("a [31mred file", "edit", "call-1")
    assert [option.kind for option in permission.options] == ["allow_always", "allow_once", "reject_once"]
    assert permission.options[0].name == "allow always"
    assert json.loads(text_of(events)) == {"outcome": "selected", "optionId": outcome}


def test_a_person_may_take_longer_than_an_agent() -> None:
    async def slowly(permission: Permission) -> str | None:
        await asyncio.sleep(1)  # a person, who thinks
        return "id:allow_once"

    async def single_turn(backend: Acp) -> list[Event]:
        async with aclosing(backend.run(turn("edit allow_once"), slowly)) as stream:
            return [event async for event in stream]

    events = play(Acp(config("permission", timeout=0.3)), single_turn)
    assert done_of(events) == Done(None, "end_turn")


async def cancelled(
    backend: Acp, question: Turn, ask: Callable[[Permission], Awaitable[str | None]] = nobody
) -> None:
    """Cancel the task that plays the turn once the first `Text` or `Tool` is there."""
    begun = asyncio.Event()

    async def listen() -> None:
        async with aclosing(backend.run(question, ask)) as stream:
            async for event in stream:
                if isinstance(event, Text | Tool):
                    begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_agent_is_told_and_stays(journal: Journal) -> None:
    async def cancel(backend: Acp) -> None:
        await cancelled(backend, turn())
        assert journal.methods[-1] == "session/cancel"
        assert runs(journal.pids[0])
        await cancelled(backend, turn(native_id=f"native-{journal.pids[0]}"))

    play(Acp(config("slow", journal)), cancel)
    assert len(journal.pids) == 1
    assert not runs(journal.pids[0])


def test_cancelling_takes_back_what_a_person_was_asked(journal: Journal) -> None:
    taken_back = asyncio.Event()

    async def for_ever(permission: Permission) -> str | None:
        try:
            await asyncio.Event().wait()
        finally:
            taken_back.set()
        return None

    async def cancel(backend: Acp) -> None:
        asked = asyncio.Event()

        async def ask(permission: Permission) -> str | None:
            asked.set()
            return await for_ever(permission)

        async def listen() -> None:
            async with aclosing(backend.run(turn("edit allow_once"), ask)) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(listen())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert taken_back.is_set()
        assert runs(journal.pids[0])

    play(Acp(config("permission", journal)), cancel)
    cancel_at = next(n for n, note in enumerate(journal.notes) if note.get("method") == "session/cancel")
    answer_at = next(n for n, note in enumerate(journal.notes) if note.get("id") == "agent-1")
    assert cancel_at < answer_at
    assert journal.notes[answer_at]["result"] == {"outcome": {"outcome": "cancelled"}}


def test_an_agent_that_does_not_stop_is_ended(journal: Journal, hasty: None) -> None:
    async def cancel(backend: Acp) -> None:
        await cancelled(backend, turn())
        assert not runs(journal.pids[0])

    play(Acp(config("stubborn", journal)), cancel)


def test_what_is_cancelled_before_it_was_asked_is_not_asked(journal: Journal) -> None:
    async def leave(backend: Acp) -> None:
        async with aclosing(backend.run(turn("one"), nobody)) as stream:
            await anext(stream)
            asking = asyncio.ensure_future(anext(stream))
            # `auto-waits` answers the request for another mode when it gets the cancel.
            while "session/set_mode" not in (journal.methods if journal.path.exists() else []):  # noqa: ASYNC110 - polling: a file tells nobody
                await asyncio.sleep(0.02)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert runs(journal.pids[0])

    play(Acp(config("echo", journal, "auto-waits")), leave)
    assert journal.methods[-1] == "session/cancel"
    assert journal.prompts == []


def test_an_agent_that_no_longer_listens_is_ended(journal: Journal) -> None:
    async def two(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert failure_of(second) == ("timeout", f"{NAME} said nothing for 0.3 s")
        assert not runs(journal.pids[0])

    play(Acp(config("deaf", journal, timeout=0.3)), two)


def test_leaving_early_is_cancelling(journal: Journal) -> None:
    async def leave(backend: Acp) -> None:
        async with aclosing(backend.run(turn(), nobody)) as stream:
            async for event in stream:
                if isinstance(event, Text):
                    break
        assert journal.methods[-1] == "session/cancel"

    play(Acp(config("slow", journal)), leave)


@pytest.mark.parametrize("agent", ["mute", "noload"])
def test_cancelling_while_an_agent_opens_leaves_nothing(journal: Journal, agent: str) -> None:
    async def cancel(backend: Acp) -> None:
        question = turn(native_id="old")
        task = asyncio.create_task(events_of(backend, question))
        waits_for = "initialize" if agent == "mute" else "session/load"
        while not (journal.path.exists() and waits_for in journal.methods):  # noqa: ASYNC110 - polling: a file tells nobody
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not runs(journal.pids[0])

    play(Acp(config(agent, journal, "initialize" if agent == "mute" else "hangs")), cancel)

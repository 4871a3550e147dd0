"""The contract of `backends/interface.py`, held by every kind of back end against its own peers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, get_args

import pytest
from peers import backends_acp, backends_anthropic, backends_command, backends_echo, backends_openai
from peers.turns import done_of, events_of, history, nobody, text_of, turn

from port42_daemon.backends.base import Backend, Done, FailureKind, HealthState, Started, Text, Tool
from port42_daemon.backends.presets import build
from port42_daemon.config import BackendConfig, NoneBackend

KINDS = {
    "command": backends_command.CASES,
    "acp": backends_acp.CASES,
    "openai": backends_openai.CASES,
    "anthropic": backends_anthropic.CASES,
    "echo": backends_echo.CASES,
}
CASES = {"answers", "slow", "fails", "missing", "uses tools"}
_WITHIN = 30.0

every_kind = pytest.mark.parametrize("kind", KINDS)


def every(*cases: str) -> pytest.MarkDecorator:
    """Every kind with each of these cases that it has."""
    pairs = [(kind, case) for kind, of_kind in KINDS.items() for case in cases if case in of_kind]
    return pytest.mark.parametrize(("kind", "case"), pairs)


@contextlib.contextmanager
def backend_of(kind: str, case: str) -> Iterator[Backend]:
    """What the factory makes of that case's settings."""
    with KINDS[kind][case]() as config:
        backend = build(config)
        assert backend is not None
        yield backend


def children() -> set[int]:
    """The processes that this one started and has not waited for."""
    pids = set()
    for task in Path("/proc/self/task").glob("*/children"):
        pids |= {int(pid) for pid in task.read_text().split()}
    return pids


def at_work(backend: Backend, work: Any) -> Any:
    """Run `work`, then close the back end, in one loop."""

    async def run() -> Any:
        try:
            async with asyncio.timeout(_WITHIN):
                return await work
        finally:
            await backend.aclose()

    return asyncio.run(run())


def test_none_never_answers() -> None:
    assert build(NoneBackend()) is None


def test_every_kind_of_configuration_is_held_to_the_contract() -> None:
    tags = {config.__struct_config__.tag for config in get_args(BackendConfig)}
    assert tags == {*KINDS, "none"}
    assert {kind for kind, cases in KINDS.items() if set(cases) != CASES} == {"echo"}
    assert set(KINDS["echo"]) == {"answers", "slow"}, "it cannot fail, and uses no tools"


@every_kind
def test_an_answer_holds_what_was_said(kind: str) -> None:
    with backend_of(kind, "answers") as backend:
        events = at_work(backend, events_of(backend, turn("hello")))
    assert "hello" in text_of(events)
    assert done_of(events).failure is None
    assert all(event.text for event in events if isinstance(event, Text))


@every_kind
def test_a_history_is_taken(kind: str) -> None:
    earlier = history(("user", "before"), ("assistant", "indeed"), ("system", "be brief"))
    with backend_of(kind, "answers") as backend:
        events = at_work(backend, events_of(backend, turn("hello", history=earlier, system="You are terse.")))
    assert "hello" in text_of(events)


@every_kind
def test_turns_of_many_sessions_at_once(kind: str) -> None:
    async def work(backend: Backend) -> list[Any]:
        return await asyncio.gather(*(events_of(backend, turn("hello")) for _ in range(4)))

    with backend_of(kind, "answers") as backend:
        for events in at_work(backend, work(backend)):
            assert "hello" in text_of(events)


@every("fails", "missing")
def test_a_failure_is_told_in_a_line(kind: str, case: str) -> None:
    with backend_of(kind, case) as backend:
        events = at_work(backend, events_of(backend, turn("hello")))
    failure = done_of(events).failure
    assert failure is not None
    assert failure.kind in get_args(FailureKind)
    assert failure.message.strip()
    assert "\n" not in failure.message
    assert "Traceback" not in failure.message


@every("fails")
def test_a_back_end_that_failed_can_be_asked_again(kind: str, case: str) -> None:
    async def work(backend: Backend) -> list[Any]:
        return [await events_of(backend, turn("hello")) for _ in range(2)]

    with backend_of(kind, case) as backend:
        assert all(done_of(events).failure for events in at_work(backend, work(backend)))


@every_kind
def test_cancelling_ends_the_turn_and_leaves_nothing_at_work(kind: str) -> None:
    before = children()

    async def work(backend: Backend) -> str:
        heard = asyncio.Event()
        pieces: list[str] = []

        async def listen() -> None:
            async with aclosing(backend.run(turn("hello"), nobody)) as events:
                async for event in events:
                    if isinstance(event, Text):
                        pieces.append(event.text)
                        heard.set()

        task = asyncio.create_task(listen())
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "".join(pieces)

    with backend_of(kind, "slow") as backend:
        assert at_work(backend, work(backend))
    assert children() <= before


@every_kind
def test_who_stops_listening_ends_the_turn(kind: str) -> None:
    before = children()

    async def work(backend: Backend) -> None:
        async with aclosing(backend.run(turn("hello"), nobody)) as events:
            async for event in events:
                if isinstance(event, Text):
                    break

    with backend_of(kind, "slow") as backend:
        at_work(backend, work(backend))
    assert children() <= before


@every_kind
def test_cancelling_before_anything_came(kind: str) -> None:
    before = children()

    async def work(backend: Backend) -> None:
        task = asyncio.create_task(events_of(backend, turn("hello")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with backend_of(kind, "slow") as backend:
        at_work(backend, work(backend))
    assert children() <= before


@every("answers", "fails", "missing")
def test_a_look_costs_little_and_never_raises(kind: str, case: str) -> None:
    with backend_of(kind, case) as backend:
        health = at_work(backend, backend.probe())
    assert health.state in get_args(HealthState)
    assert "\n" not in health.detail
    if case == "missing":
        assert health.state != "ready"


@every("answers", "fails", "missing")
def test_models_are_offered_or_a_reason_is_given(kind: str, case: str) -> None:
    with backend_of(kind, case) as backend:
        offer = at_work(backend, backend.models())
    assert offer.models or offer.detail
    assert "\n" not in (offer.detail or "")


@every_kind
def test_closing_is_quiet_and_may_be_repeated(kind: str) -> None:
    async def work(backend: Backend) -> None:
        await backend.aclose()
        await backend.aclose()

    with backend_of(kind, "answers") as backend:
        at_work(backend, work(backend))


@every("uses tools")
def test_a_tool_call_runs_before_it_ends_and_has_name_input_and_output(kind: str, case: str) -> None:
    with backend_of(kind, case) as backend:
        events = at_work(backend, events_of(backend, turn("how much rye?")))
    assert done_of(events).failure is None
    calls: dict[str, list[Tool]] = {}
    for event in events:
        if isinstance(event, Tool):
            calls.setdefault(event.id, []).append(event)
    assert calls
    for updates in calls.values():
        *running, last = updates
        assert {update.state for update in running} <= {"running"}
        assert last.state in ("done", "failed")
        assert all(update.title and "\n" not in update.title for update in updates)
    complete = [updates for updates in calls.values() if len(updates) > 1]
    assert complete
    for updates in complete:
        assert any(update.name for update in updates)
        assert any(update.input for update in updates)
        # A server of Chat Completions says nothing of what its tools gave.
        assert any(update.output for update in updates) or kind == "openai"


@every_kind
def test_what_begins_begins_once(kind: str) -> None:
    with backend_of(kind, "answers") as backend:
        events = at_work(backend, events_of(backend, turn("hello")))
    kinds = [type(event) for event in events]
    assert kinds.count(Done) == 1
    if Started in kinds:
        assert kinds.index(Started) < kinds.index(Text)

"""Playing turns with a back end, and reading what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from port42_daemon.backends.base import Backend, Done, Event, Permission, Text, Turn
from port42_protocol.messages.records import MESSAGES, Record

_WITHIN = 30.0


async def nobody(permission: Permission) -> str | None:
    """There is nobody to ask."""
    return None


def turn(message: str = "hello", **more: Any) -> Turn:
    """A turn of some session."""
    return Turn(session_id="s-1", message=message, **more)


def history(*said: tuple[str, str]) -> tuple[Record, ...]:
    """Messages of these roles and texts."""
    return tuple(
        MESSAGES[role](seq=seq, content=text, timestamp="2026-11-23T03:37:11.042Z")
        for seq, (role, text) in enumerate(said)
    )


async def events_of(backend: Backend, turn: Turn) -> list[Event]:
    """All the events of a turn: exactly one `Done`, last."""
    async with asyncio.timeout(_WITHIN), aclosing(backend.run(turn, nobody)) as stream:
        events = [event async for event in stream]
    assert [isinstance(event, Done) for event in events] == [False] * (len(events) - 1) + [True]
    return events


def played(backend: Backend, *turns: Turn) -> list[Event]:
    """The events of the last of these turns, played one after the other; then the back end is closed."""

    async def play() -> list[Event]:
        try:
            for question in turns or (turn(),):
                events = await events_of(backend, question)
        finally:
            await backend.aclose()
        return events

    return asyncio.run(play())


def text_of(events: Sequence[Event]) -> str:
    """The reply."""
    return "".join(event.text for event in events if isinstance(event, Text))


def done_of(events: Sequence[Event]) -> Done:
    """How it ended."""
    assert isinstance(events[-1], Done)
    return events[-1]


def failure_of(events: Sequence[Event]) -> tuple[str, str]:
    """The kind and the message of the failure it ended in."""
    failure = done_of(events).failure
    assert failure is not None, events
    assert "\n" not in failure.message
    return failure.kind, failure.message

"""The interface of writers, what they share, and the JSON writer, whose output is a session file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from port42_daemon.store.interface import Footer, Header
from port42_protocol.activity import describe
from port42_protocol.counting import count
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Record,
    ToolRecord,
    TurnRecord,
    encode_stored,
)


class Frame(msgspec.Struct, frozen=True):
    """A session's header, and its footer as it was when the export began."""

    header: Header
    footer: Footer

    @property
    def name(self) -> str:
        """The title, or else the id: one line."""
        return self.footer.title or self.header.id


class Writer(NamedTuple):
    """A format: `opening`, then each record with `between` them, then `closing`. All are pure."""

    opening: Callable[[Frame], str]
    record: Callable[[Record], str]
    closing: Callable[[Frame], str]
    between: str = ""


def describe_event(event: EventRecord) -> str:
    """A short text about an event, with who recorded it if that was another owner at the hub."""
    return f"{event.author}: {_event(event)}" if event.author else _event(event)


def _event(event: EventRecord) -> str:
    if event.event == "renamed":
        return f"renamed to “{event.title}”" if event.title else "renamed"
    if event.event == "tagged":
        return f"tagged {', '.join(event.tags)}" if event.tags else "tags removed"
    if event.event == "pinned":
        return "pinned" if event.pinned is True else "unpinned"
    if event.event == "usage" and event.turn:
        return " · ".join(["usage", *_facts(event.turn)])
    if event.event == "rolled_back" and event.prompts:
        return f"rolled back: goes on without the last {count(event.prompts, 'message')} of the user"
    return event.event


def minute(timestamp: str) -> str:
    """``2026-11-23 03:37 UTC`` of an RFC 3339 time: who reads it may be in another zone than the daemon."""
    return f"{timestamp[:16].replace('T', ' ')} UTC"


def turn_facts(message: Record) -> list[str]:
    """The failure, model, duration and tokens of the turn behind a reply or an error."""
    if isinstance(message, ErrorMessage) and message.kind:
        return [message.kind.replace("_", " ")]
    if not isinstance(message, AssistantMessage):
        return []
    facts = ["interrupted"] if message.status == "interrupted" else []
    return [*facts, *_facts(message.turn)] if message.turn else facts


def _facts(turn: TurnRecord) -> list[str]:
    facts = [turn.model or turn.backend]
    if turn.mode:
        facts.append(f"mode {turn.mode}")
    if turn.total_ms:
        facts.append(f"{turn.total_ms / 1000:.1f} s")
    if turn.input_tokens is not None and turn.output_tokens is not None:
        facts.append(f"tokens: {turn.input_tokens:,} in, {turn.output_tokens:,} out")
    return facts


def describe_activity(record: Activity) -> str:
    """An activity in a line, with what it is where that is not plain, and its author as for events."""
    line = describe(record)
    if not isinstance(record, ToolRecord):
        line = f"{record.role}: {line}"
    elif record.duration_ms is not UNSET:
        line = f"{line} · {record.duration_ms / 1000:.1f} s"
    return f"{record.author}: {line}" if record.author else line


def _json_closing(frame: Frame) -> str:
    return ("\n" if frame.footer.last_seq else "") + frame.footer.line().decode()


JSON = Writer(
    opening=lambda frame: frame.header.line().decode(),
    record=lambda record: encode_stored(record).decode(),
    closing=_json_closing,
    between=",\n",
)

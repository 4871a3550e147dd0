"""The interface of writers, what they share, and the JSON writer, whose output is a session file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from port42_daemon.store.interface import Footer, Header
from port42_protocol.messages.records import AssistantMessage, ErrorMessage, EventRecord, Record


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
    """A short text about an event."""
    if event.event == "renamed":
        return f"renamed to “{event.title}”" if event.title else "renamed"
    if event.event == "tagged":
        return f"tagged {', '.join(event.tags)}" if event.tags else "tags removed"
    if event.event == "pinned":
        return "pinned" if event.pinned is True else "unpinned"
    return event.event


def minute(timestamp: str) -> str:
    """``2026-11-23 03:37`` of an RFC 3339 time."""
    return timestamp[:16].replace("T", " ")


def turn_facts(message: Record) -> list[str]:
    """The failure, model, duration and tokens of the turn behind a reply or an error."""
    if isinstance(message, ErrorMessage) and message.kind:
        return [message.kind.replace("_", " ")]
    if not isinstance(message, AssistantMessage):
        return []
    facts = ["interrupted"] if message.status == "interrupted" else []
    if turn := message.turn:
        facts.append(turn.model or turn.backend)
        if turn.total_ms:
            facts.append(f"{turn.total_ms / 1000:.1f} s")
        if turn.input_tokens is not None and turn.output_tokens is not None:
            facts.append(f"{turn.input_tokens:,} + {turn.output_tokens:,} tokens")
    return facts


def _json_closing(frame: Frame) -> str:
    return ("\n" if frame.footer.last_seq else "") + frame.footer.line().decode()


JSON = Writer(
    opening=lambda frame: frame.header.line().decode(),
    record=lambda record: msgspec.json.encode(record).decode(),
    closing=_json_closing,
    between=",\n",
)

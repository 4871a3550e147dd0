"""What an export is made from: a session's ends as they stood at its start, and how pieces are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from port42_daemon.store.session_file.document import Footer, Header
from port42_protocol.messages.records import Message


@dataclass(frozen=True, slots=True)
class Ends:
    """The header, and the footer as it was when the export began."""

    header: Header
    footer: Footer

    @property
    def name(self) -> str:
        """The title, or else the id: one line."""
        return self.footer.title or self.header.id


@dataclass(frozen=True, slots=True)
class Writer:
    """A format: `opening`, then a piece for each record with `between` them, then `closing`. All are pure."""

    opening: Callable[[Ends], str]
    record: Callable[[Message], str]
    closing: Callable[[Ends], str]
    between: str = ""


def happened(event: Message) -> str:
    """An event in a few words."""
    if event.event == "renamed":
        return f"renamed to “{event.title}”" if event.title else "renamed"
    if event.event == "tagged":
        return f"tagged {', '.join(event.tags)}" if event.tags else "tags removed"
    if event.event == "pinned":
        return "pinned" if event.pinned is True else "unpinned"
    return str(event.event or "event")


def minute(timestamp: str) -> str:
    """``2026-11-23 03:37`` of an RFC 3339 time."""
    return timestamp[:16].replace("T", " ")


def went(message: Message) -> list[str]:
    """How the turn of a reply or a failure went, in words."""
    facts = [message.kind.replace("_", " ")] if isinstance(message.kind, str) else []
    if message.status == "interrupted":
        facts.append("interrupted")
    turn = message.turn
    if turn:
        facts.append(turn.model or turn.backend)
        if turn.total_ms:
            facts.append(f"{turn.total_ms / 1000:.1f} s")
        if turn.input_tokens is not None and turn.output_tokens is not None:
            facts.append(f"{turn.input_tokens:,} + {turn.output_tokens:,} tokens")
    return facts

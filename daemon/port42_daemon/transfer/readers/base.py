"""What a reader makes of a source: a session to be, the pieces it could not use, or why there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from port42_daemon.store.session_file.document import Header
from port42_protocol.messages.records import Message, TurnRecord
from port42_protocol.messages.types import Role

MESSAGE_BYTES = 4 * 1024 * 1024
"""Of one message: what a request to append one may have, too."""
SESSION_BYTES = 256 * 1024 * 1024
PROBLEMS = 20
"""Bad pieces of one source that are told one by one."""


class Skipped(Exception):
    """This source is no session that can be had; the text says why, without a path."""


@dataclass(slots=True)
class Found:
    """A session as its source tells of it. `source_id` is what it is called there, in whatever folder.

    `agent` and `whole` are set where the source has them: `whole` is the header of one of our own, whose
    records then keep everything they have.
    """

    source_id: str
    title: str | None = None
    cwd: str | None = None
    agent: str | None = None
    created_at: str | None = None
    whole: Header | None = None
    records: list[Message] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """``(place, reason)``: `place` is empty or within the source, as in ``line 12``."""
    _unsaid: int = 0
    _bytes: int = 0

    def problem(self, place: str, reason: str) -> None:
        """Leave a piece out; the first `PROBLEMS` are told one by one, the rest is counted."""
        if len(self.problems) < PROBLEMS:
            self.problems.append((place, reason))
        else:
            self._unsaid += 1

    def all_problems(self) -> list[tuple[str, str]]:
        """Those told, and how many more there are."""
        more = [("", f"{self._unsaid:,} more pieces that could not be read")] if self._unsaid else []
        return self.problems + more

    def add(self, record: Message) -> None:
        """Take one more record. Raises `Skipped` when there are more than a session can have."""
        self._bytes += len(record.content or "")
        if self._bytes > SESSION_BYTES:
            raise Skipped(f"it has more than {SESSION_BYTES:,} characters")
        self.records.append(record)

    def say(
        self,
        role: Role,
        text: str,
        when: str | None,
        *,
        place: str = "",
        turn: TurnRecord | None = None,
    ) -> None:
        """Take a message, unless it says nothing; without a time it has that of the one before it."""
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate is no text
        if not text.strip():
            return
        if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
            self.problem(place, f"a message of more than {MESSAGE_BYTES:,} bytes")
            return
        before = self.records[-1].timestamp if self.records else self.created_at
        timestamp = when or before or EPOCH
        self.created_at = self.created_at or timestamp
        answered = role == "assistant"
        self.add(
            Message(
                seq=0,
                role=role,
                content=text,
                timestamp=timestamp,
                status="complete" if answered else UNSET,
                turn=turn if turn and answered else UNSET,
            )
        )


EPOCH = "1970-01-01T00:00:00.000Z"


def moment(value: object) -> str | None:
    """A time as it is kept (UTC, milliseconds), from RFC 3339 or Unix seconds; None for anything else."""
    try:
        if isinstance(value, str) and len(value) <= 64:
            # Go writes nanoseconds; a time without a zone is one in UTC, as SQLite's are.
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            return None
        return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    except (ValueError, OverflowError, OSError):
        return None


def one_line(value: object, limit: int = 200) -> str | None:
    """A title: one line without control characters, cut at `limit`; None for what has no words."""
    if not isinstance(value, str):
        return None
    words = " ".join("".join(c if c.isprintable() else " " for c in value[: 8 * limit]).split())
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def folder(value: object) -> str | None:
    """An absolute path as a session keeps it."""
    good = isinstance(value, str) and value.startswith("/") and len(value) <= 4096 and value.isprintable()
    return value if good and isinstance(value, str) else None


def text_of(content: object, kinds: Collection[object] = ("text",)) -> str:
    """What a message's content says: a text, or a list of parts of which those of `kinds` have text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (
        part["text"]
        for part in content
        if isinstance(part, dict) and part.get("type") in kinds and isinstance(part.get("text"), str)
    )
    return "\n\n".join(parts)


def mapping(value: object) -> Mapping[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def whole_number(value: object) -> int | None:
    """A count from 0 that JSON can hold exactly."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if good and isinstance(value, int) else None


def short(value: object, limit: int = 200) -> str | None:
    """A name that somebody else chose, such as a model's."""
    return value[:limit] if isinstance(value, str) and value else None

"""What a reader makes of a source: a session with its records, and the parts that could not be used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from msgspec import UNSET

from port42_daemon.store.interface import Header
from port42_protocol.messages.records import MESSAGES, AssistantMessage, Message, Record, TurnRecord
from port42_protocol.messages.types import Role

MESSAGE_BYTES = 4 * 1024 * 1024
"""Of one message: the limit of `append_message`, too."""
SESSION_BYTES = 256 * 1024 * 1024
PROBLEMS = 20
"""Parts of one source that are reported one by one."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
EPOCH = "1970-01-01T00:00:00.000Z"


class Skipped(Exception):
    """The source, or a part of it, cannot be imported; the text says why, without a path."""


@dataclass(slots=True)
class ParsedSession:
    """A session as its source tells of it. `source_id` is its id there, whatever the folder.

    `header` is set for sessions of Port42 itself: their records keep every field and their seq.
    """

    source_id: str
    title: str | None = None
    cwd: str | None = None
    agent: str | None = None
    created_at: str | None = None
    header: Header | None = None
    records: list[Record] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """``(location, reason)``: `location` is empty or within the source, as in ``line 12``."""
    unreported: int = 0
    size: int = 0

    def add_problem(self, location: str, reason: str) -> None:
        """Leave a part out. Past `PROBLEMS` they are only counted."""
        if len(self.problems) < PROBLEMS:
            self.problems.append((location, reason))
        else:
            self.unreported += 1

    def all_problems(self) -> list[tuple[str, str]]:
        """The problems, and how many more there are."""
        more = f"{self.unreported:,} more pieces that could not be read"
        return self.problems + ([("", more)] if self.unreported else [])

    def add_record(self, record: Record) -> None:
        """Raises `Skipped` past `SESSION_BYTES`."""
        self.size += len(record.content) if isinstance(record, Message) else 0
        if self.size > SESSION_BYTES:
            raise Skipped(f"it has more than {SESSION_BYTES:,} characters")
        self.records.append(record)

    def add_message(
        self, role: Role, text: str, when: str | None, *, location: str = "", turn: TurnRecord | None = None
    ) -> None:
        """Add a message unless it is blank; without a time it gets that of the message before it."""
        text = _LONE_SURROGATE.sub("\ufffd", text)
        if not text.strip():
            return
        if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
            self.add_problem(location, f"a message of more than {MESSAGE_BYTES:,} bytes")
            return
        timestamp = when or (self.records[-1].timestamp if self.records else self.created_at) or EPOCH
        self.created_at = self.created_at or timestamp
        if role == "assistant":
            reply = AssistantMessage(
                seq=0, content=text, timestamp=timestamp, status="complete", turn=turn or UNSET
            )
            self.add_record(reply)
        else:
            self.add_record(MESSAGES[role](seq=0, content=text, timestamp=timestamp))

    def checked(self) -> ParsedSession:
        """The session itself. Raises `Skipped` when it has no records, with its first problem."""
        if not self.records:
            reasons = [f"{location}: {reason}" for location, reason in self.problems[:1]]
            raise Skipped("; ".join(["it has no messages", *reasons]))
        return self

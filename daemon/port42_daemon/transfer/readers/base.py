"""The result of reading a source: a session with its records, and the parts that could not be read."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

import msgspec
from msgspec import field, structs

from port42_daemon.store.interface import Header
from port42_protocol.messages.records import (
    MESSAGES,
    AssistantMessage,
    Message,
    Record,
    decode_record,
    replace,
)
from port42_protocol.messages.types import Role

MESSAGE_BYTES = 4 * 1024 * 1024
"""Maximum bytes of one message, as in `append_message`."""
SESSION_BYTES = 256 * 1024 * 1024
PROBLEMS = 20
"""Maximum number of reported problems of one source; further ones are counted."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TITLES = 1000
_IN_MEMORY = 4 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
EPOCH = "1970-01-01T00:00:00.000Z"


class RecordSpool:
    """A list of records, in an unnamed temporary file when they are many."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](max_size=_IN_MEMORY)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        """One iteration at a time, and nothing is appended after the first."""
        self._file.seek(0)
        yield from map(decode_record, self._file)

    def append(self, record: Record) -> None:
        self._file.write(_encode(record) + b"\n")
        self._count += 1

    def __del__(self) -> None:
        self._file.close()


class Skipped(Exception):
    """The source, or a part of it, cannot be imported; the message gives the reason, without a path."""


class SubAgent(Skipped):
    """The source is a sub-agent's transcript: a part of another session."""

    def __init__(self) -> None:
        super().__init__("it is a sub-agent's transcript, not a session")


class ParsedSession(msgspec.Struct):
    """A session in a source. `source_id` is its id there, independent of the folder.

    `header` is set for Port42's own sessions: their records keep every field and their seq.
    """

    source_id: str
    title: str | None = None
    titles: set[str] = field(default_factory=set)
    """All titles that the source gave it."""
    cwd: str | None = None
    agent: str | None = None
    created_at: str | None = None
    header: Header | None = None
    records: RecordSpool = field(default_factory=RecordSpool)
    mark: str = ""
    """An identifier of the current entry that its copy in a fork has, too."""
    marks: array[int] = field(default_factory=lambda: array("q"))
    """The hash of each message's `mark`, 0 without a mark."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """``(location, reason)``: `location` is empty or a position in the source, as in ``line 12``."""
    unreported: int = 0
    size: int = 0
    last_time: str | None = None
    last_seq: int = 0
    _reply: AssistantMessage | None = None
    _input_tokens: int | None = None
    _output_tokens: int | None = None

    def add_problem(self, location: str, reason: str) -> None:
        if len(self.problems) < PROBLEMS:
            self.problems.append((location, reason))
        else:
            self.unreported += 1

    def all_problems(self) -> list[tuple[str, str]]:
        more = [("", f"{self.unreported:,} more pieces that could not be read")] if self.unreported else []
        return self.problems + more

    def add_title(self, title: str | None) -> None:
        if title and len(self.titles) < _TITLES:
            self.title = title
            self.titles.add(title)

    def add_record(self, record: Record) -> None:
        """Raises `Skipped` past `SESSION_BYTES`."""
        self.size += len(record.content) if isinstance(record, Message) else 0
        if self.size > SESSION_BYTES:
            raise Skipped(f"it has more than {SESSION_BYTES:,} characters")
        self.records.append(record)
        self.last_time, self.last_seq = record.timestamp, record.seq

    def add_message(self, role: Role, text: str, when: str | None, location: str = "", **fields: Any) -> None:
        """Add a message with further `fields` of its record, unless it is blank.

        Its default time is that of the message before it. Raises `Skipped` past `SESSION_BYTES`.
        """
        text = LONE_SURROGATE.sub("\ufffd", text)
        if not text.strip():
            return
        if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
            self.add_problem(location, f"a message of more than {MESSAGE_BYTES:,} bytes")
            return
        self._end_reply()
        timestamp = when or self.last_time or self.created_at or EPOCH
        self.created_at = self.created_at or timestamp
        if role == "assistant":
            fields["status"] = "complete"
        self.marks.append(hash(self.mark))
        record = MESSAGES[role](seq=0, content=text, timestamp=timestamp, **fields)
        if isinstance(record, AssistantMessage):
            # Added when the next message begins: its tokens may follow it.
            self._reply = record
        else:
            self.add_record(record)

    def add_tokens(self, sent: int, received: int) -> None:
        """Add to the tokens that are recorded with the reply under way."""
        self._input_tokens = (self._input_tokens or 0) + sent
        self._output_tokens = (self._output_tokens or 0) + received

    def _end_reply(self) -> None:
        reply, self._reply = self._reply, None
        if reply is None:
            return
        if reply.turn and self._input_tokens is not None:
            tokens = {"input_tokens": self._input_tokens, "output_tokens": self._output_tokens}
            reply = replace(reply, turn=structs.replace(reply.turn, **tokens))
            self._input_tokens = self._output_tokens = None
        self.add_record(reply)

    def finished(self) -> ParsedSession:
        """The session, complete. Raises `Skipped` with its first problem when it has no records."""
        self._end_reply()
        if not self.records:
            reason = "; {}: {}".format(*self.problems[0]) if self.problems else ""
            raise Skipped(f"it has no messages{reason}")
        return self

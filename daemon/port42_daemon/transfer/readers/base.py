"""What readers give: the records of a source's sessions, and what the source says about each session.

A line reader takes a file's lines one after another and gives each record as soon as it is known. Its state
can be saved, so reading goes on where it stopped. A document is read whole.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any, TypeAlias

from msgspec import UNSET, Struct, field

from port42_daemon.activity import encodable, plan_entries, shorten, text_of, thought_record, tool_record
from port42_daemon.config import SessionsConfig
from port42_daemon.store.interface import ROLLED_BACK, USAGE, Header
from port42_daemon.transfer.readers.values import MESSAGE_BYTES
from port42_protocol.counting import count
from port42_protocol.encoding import encode
from port42_protocol.messages.records import (
    MESSAGES,
    AssistantMessage,
    EventRecord,
    Message,
    PlanRecord,
    Record,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    decode_record,
    replace,
)
from port42_protocol.messages.types import Role
from port42_protocol.times import milliseconds

SESSION_BYTES = 256 * 1024 * 1024
PROBLEMS = 20
"""Maximum number of reported problems of one source; further ones are counted."""
_TITLES, _CALLS, _PROMPTS = 100, 100, 1000
_IN_MEMORY = 4 * 1024 * 1024
EPOCH = "1970-01-01T00:00:00.000Z"


class Skipped(Exception):
    """The source, or a part of it, cannot be read; the message gives the reason, without a path."""


class SubAgent(Skipped):
    """The source is the transcript of a sub-agent that did nothing, or whose parent it does not name."""

    def __init__(self) -> None:
        super().__init__("it is a sub-agent's transcript, not a session")


class NoMessages(Skipped):
    """The source has no messages; `source_id` is the session's id there."""

    def __init__(self, source_id: str, reason: str = "") -> None:
        super().__init__(f"it has no messages{reason}")
        self.source_id = source_id


class SessionInfo(Struct):
    """What a source says about a session, so far. `source_id` is its id there, independent of the folder.

    `titles` are all titles that the source gave it. `parent` is the source id of the session whose sub-agent
    it is, `forked_from` that of the one that it is a fork of, if it says so; its first `shared` records are
    copies. `first_mark` is an id of the first message that its copy in a fork has, too.
    """

    source_id: str
    title: str | None = None
    titles: list[str] = []
    cwd: str | None = None
    agent: str | None = None
    created_at: str | None = None
    last_time: str | None = None
    parent: str | None = None
    forked_from: str | None = None
    shared: int = 0
    has_only_new: bool = False
    """Whether a fork's source has nothing from before the fork."""
    first_mark: str = ""
    model: str | None = None
    size: int = 0
    records: int = 0
    calls: dict[str, ToolRecord] = {}
    """Tool calls that run, by their id. `timestamp` is their start."""
    given_up: list[str] = []
    """Those of them that were added as interrupted already, because the file had not grown for long."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Tokens that no record has yet."""
    has_open_tokens: bool = False
    """Whether the last record is an event of them that a message of a file which still grows may replace."""
    total_ms: int = 0
    """Duration of the turn under way."""
    ends_with_reply: bool = False
    prompts: list[str] = []
    """The marks of the user's messages that were not taken back, the latest ones."""
    is_answered: bool = True
    """Whether the reply to the latest prompt has ended, where the source says that."""

    def add_title(self, title: str | None) -> None:
        if title and len(self.titles) < _TITLES:
            self.title = title
            if title not in self.titles:
                self.titles.append(title)

    def add_tokens(self, sent: int, received: int) -> None:
        self.input_tokens = (self.input_tokens or 0) + sent
        self.output_tokens = (self.output_tokens or 0) + received


class State(Struct):
    """All that a reader knows. `sessions` has the file's own session as "", others are sub-agents in it.

    `problems` are ``(location, reason)``: `location` is empty or a position in the source, as in ``line 12``.
    """

    sessions: dict[str, SessionInfo]
    has_own_id: bool = False
    """Whether the session has the id that the file is named after, whatever its first lines say."""
    line: int = 0
    problems: list[tuple[str, str]] = []
    unreported: int = 0


Added: TypeAlias = "tuple[str, Record, str]"
"""The key of a session, a record of it, whose `seq` is 0, and a mark: an id of a message that its copy in a
fork has, too, "" where the format has none."""


class Builder:
    """Makes the records of a source's sessions, bounded by `limits`.

    `add` takes in each record that is complete, after the key of its session and before its mark.
    """

    format: str
    state: State
    add: Callable[[str, Record, str], None]

    def __init__(self, limits: SessionsConfig) -> None:
        self._limits = limits

    def problem(self, location: str, reason: str) -> None:
        """Report a part that is not read. After `PROBLEMS` of them they are only counted."""
        if len(self.state.problems) < PROBLEMS:
            self.state.problems.append((location, reason))
        else:
            self.state.unreported += 1

    def message(  # noqa: PLR0913, PLR0917  # the parts of a message
        self,
        key: str,
        role: Role,
        text: str,
        when: str | None,
        location: str = "",
        mark: str = "",
        **fields: Any,
    ) -> bool:
        """Add a message with further `fields` of its record; False when it is blank or too long.

        Its default time is that of the record before it.
        """
        if not text or text.isspace():
            return False
        if not text.isascii():
            text = encodable(text)
        if len(text) > MESSAGE_BYTES // 4 and len(text.encode()) > MESSAGE_BYTES:
            self.problem(location, f"a message of more than {MESSAGE_BYTES:,} bytes")
            return False
        info = self.state.sessions[key]
        if role == "assistant":
            fields["status"], fields["turn"] = "complete", self._turn(info)
        record = MESSAGES[role](seq=0, content=text, timestamp=when or _latest_time(info), **fields)
        if not info.first_mark:
            info.first_mark = mark
        if role == "user":
            info.prompts.append(mark)
            if len(info.prompts) > _PROMPTS:
                del info.prompts[0]
        self._add(key, record, mark)
        return True

    def prompt(
        self, key: str, text: str, when: str | None, location: str = "", mark: str = "", **fields: Any
    ) -> None:
        """Add a message of the user that begins a turn: what still runs was interrupted."""
        if text and not text.isspace():
            self.interrupt(key, when)
            self.usage(key, when)
            self.message(key, "user", text, when, location, mark, **fields)

    def roll_back(self, key: str, prompts: int, when: str | None) -> None:
        """The tool goes on without the last `prompts` messages of the user, and what followed them."""
        info = self.state.sessions[key]
        prompts = min(prompts, len(info.prompts))
        if prompts > 0:
            self.interrupt(key, when)
            self.usage(key, when)
            del info.prompts[-prompts:]
            self.event(key, ROLLED_BACK, when, prompts=prompts)

    def interrupt(self, key: str, when: str | None) -> None:
        """The tool calls that run have ended without a result, but for those that began later than that."""
        info = self.state.sessions[key]
        if not info.calls:
            return
        end = when or _latest_time(info)
        for call_id, record in list(info.calls.items()):
            if record.timestamp <= end:
                self._end_call(key, call_id, end)

    def give_up(self, key: str) -> None:
        """Add the tool calls that run as interrupted. A result that comes later is a record of its own."""
        info = self.state.sessions[key]
        for call_id, record in info.calls.items():
            if call_id not in info.given_up:
                info.given_up.append(call_id)
                self._add(key, replace(record, timestamp=max(record.timestamp, _latest_time(info))))

    def _end_call(self, key: str, call_id: str, when: str) -> None:
        """Add the call as interrupted."""
        info = self.state.sessions[key]
        record = info.calls.pop(call_id)
        if call_id in info.given_up:
            info.given_up.remove(call_id)
        else:
            self._add(key, replace(record, timestamp=when))

    def thought(self, key: str, text: str, when: str | None) -> None:
        info = self.state.sessions[key]
        if record := thought_record(text, when or _latest_time(info), self._limits):
            self._add(key, record)

    def plan(self, key: str, entries: object, when: str | None) -> None:
        if steps := plan_entries(entries):
            when = when or _latest_time(self.state.sessions[key])
            self._add(key, PlanRecord(seq=0, timestamp=when, entries=steps))

    def event(self, key: str, event: str, when: str | None, **fields: Any) -> None:
        info = self.state.sessions[key]
        self._add(key, EventRecord(seq=0, event=event, timestamp=when or _latest_time(info), **fields))

    def call(
        self, key: str, call_id: str, name: str | None, given: object, when: str | None, **fields: Any
    ) -> None:
        """Remember a tool call until its result comes, or the turn ends without one."""
        info = self.state.sessions[key]
        if len(info.calls) >= _CALLS:
            oldest = next(iter(info.calls))
            self._end_call(key, oldest, info.calls[oldest].timestamp)
        info.calls[call_id] = tool_record(
            id=call_id,
            timestamp=when or _latest_time(info),
            state="interrupted",
            limits=self._limits,
            name=name,
            input=given,
            **fields,
        )

    def result(
        self, key: str, call_id: str, output: object, when: str | None, *, failed: bool = False
    ) -> None:
        """Add the tool call with this id, whose result this is."""
        info = self.state.sessions[key]
        if call_id not in info.calls:
            self.call(key, call_id, None, None, when)
        record = info.calls.pop(call_id)
        if call_id in info.given_up:
            info.given_up.remove(call_id)
        end = when or _latest_time(info)
        text, omitted = shorten(text_of(output), self._limits.tool_output_bytes)
        self._add(
            key,
            replace(
                record,
                timestamp=end,
                state="failed" if failed else "done",
                output=text or UNSET,
                output_omitted=omitted or UNSET,
                duration_ms=max(0, milliseconds(end) - milliseconds(record.timestamp)),
            ),
        )

    def count_copies(self, key: str, when: str | None) -> None:
        """The records until now are copies, if the session is a fork that began after `when`."""
        info = self.state.sessions[key]
        if info.forked_from and when and info.created_at and when < info.created_at:
            info.shared = info.records

    def bounded(self, text: str) -> str:
        """As long as a thought may be."""
        return shorten(text, self._limits.tool_output_bytes)[0]

    def usage(self, key: str, when: str | None) -> None:
        """Add the tokens that no message has."""
        info = self.state.sessions[key]
        if info.input_tokens or info.output_tokens:
            self.event(key, USAGE, when, turn=self._turn(info))

    def _turn(self, info: SessionInfo) -> TurnRecord:
        sent, received = info.input_tokens, info.output_tokens
        duration, info.total_ms = info.total_ms, 0
        info.input_tokens = info.output_tokens = None
        return TurnRecord(
            backend=self.format,
            model=info.model,
            input_tokens=sent,
            output_tokens=received,
            total_ms=duration,
        )

    def _add(self, key: str, record: Record, mark: str = "") -> None:
        info = self.state.sessions[key]
        info.records += 1
        if isinstance(record, Message):
            info.size += len(record.content)
            if info.size > SESSION_BYTES:
                raise Skipped(f"it has more than {SESSION_BYTES:,} characters")
        info.last_time = record.timestamp
        info.created_at = info.created_at or info.last_time
        info.ends_with_reply = type(record) is AssistantMessage
        self.add(key, record, mark)


def _latest_time(info: SessionInfo) -> str:
    return info.last_time or info.created_at or EPOCH


class RecordSpool:
    """A list of records, in an unnamed temporary file when they are large."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self.in_memory = 0
        """About the bytes of those that are not in the file."""
        self._file: IO[bytes] | None = None
        self._count = 0
        self.size = 0
        """Bytes of the records in the file."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        """One iteration at a time, and nothing is appended after the first."""
        if self._file is not None:
            self._file.seek(0)
            yield from map(decode_record, self._file)
        yield from self._records

    def append(self, record: Record) -> None:
        self._count += 1
        self._records.append(record)
        self.in_memory += 500 + text_size(record)
        if self.in_memory >= _IN_MEMORY:
            self._file = self._file or TemporaryFile()  # noqa: SIM115  # it lives as long as this
            self.size += self._file.write(b"".join(encode(record) + b"\n" for record in self._records))
            self._file.flush()  # a full disk says so here
            self._records, self.in_memory = [], 0

    def __del__(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # on a full disk it tries once more to write
                self._file.close()


def text_size(record: Record) -> int:
    """Characters of its long texts."""
    if isinstance(record, Message) or type(record) is ThoughtRecord:
        return len(record.content)
    return len(record.input or "") + len(record.output or "") if type(record) is ToolRecord else 0


class ParsedSession(Struct):
    """A whole session of a source.

    `header` is set for Port42's own sessions: their records keep every field and their seq. `problems` are
    the source's, with the first of its sessions. `marks` are the hashes of the messages' marks, or 0.
    """

    info: SessionInfo
    header: Header | None = None
    records: RecordSpool = field(default_factory=RecordSpool)
    marks: array[int] = field(default_factory=lambda: array("q"))
    messages: int = 0
    problems: list[tuple[str, str]] = []

    def append(self, _key: str, record: Record, mark: str) -> None:
        """As `Builder.add`."""
        self.records.append(record)
        if isinstance(record, Message):
            self.messages += 1
            self.marks.append(hash(mark))


class Collection:
    """The sessions of one source, whole."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._sessions: dict[str, ParsedSession] = {}

    def append(self, key: str, record: Record, mark: str) -> None:
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = ParsedSession(self._state.sessions[key])
        session.append(key, record, mark)

    def finished(self, *, silent: bool = True) -> list[ParsedSession]:
        """The sessions with messages, sub-agents' last; `silent`: also those in which nobody said anything.

        Raises `Skipped` when there is none.
        """
        state = self._state
        sessions = [self._sessions[key] for key in state.sessions if key in self._sessions]
        sessions = [session for session in sessions if silent or session.messages]
        if not sessions and len(state.sessions) > 1:
            raise SubAgent
        if not sessions:
            reason = "; {}: {}".format(*state.problems[0]) if state.problems else ""
            raise NoMessages(state.sessions[""].source_id, reason)
        more = (
            [("", f"{count(state.unreported, 'more piece')} that could not be read")]
            if state.unreported
            else []
        )
        sessions[0].problems = state.problems + more
        return sessions


class Document(Builder):
    """Builds the sessions of a source that is read whole."""

    def __init__(self, format_name: str, source_id: str, limits: SessionsConfig) -> None:
        super().__init__(limits)
        self.format = format_name
        self.info = SessionInfo(source_id)
        self.state = State({"": self.info})
        self._collection = Collection(self.state)
        self.add = self._collection.append

    def finished(self) -> list[ParsedSession]:
        """Raises `Skipped` when there is no message."""
        return self._collection.finished(silent=False)

"""The store's interface to the rest of the daemon.

Three protocols, which `main` wires to the classes that implement them, and the types that they speak in.
Methods block and may be called from any thread, except where they say that they answer from memory; what
they return is durable. They raise `RpcError` only, without paths in the messages.
`tests/contract` holds the implementation to this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, Protocol

import msgspec

from port42_protocol.messages.doctor_and_stats import Finding, Statistics, Usage
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import ForkPoint, Parent, Record, Source, Summary, TurnRecord
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState, State

FORMAT = 1
"""Of a session's file."""
ENDED, RESUMED, FORKED = "ended", "resumed", "forked"
RENAMED, TAGGED, PINNED = "renamed", "tagged", "pinned"
COMPACTED, USAGE = "compacted", "usage"
"""Names of the events that a session records."""
_TITLE_LENGTH = 60
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_MAX_USE = 2**53
_MAX_MILLISECONDS = 253_402_300_799_999
"""The end of the year 9999, which a time near it is after in UTC when it has a negative offset."""
_TIME = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z",
    re.ASCII,
)
_encode = msgspec.json.Encoder().encode


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The constant part of a session: the first line of its file."""

    format: int = FORMAT
    id: str
    agent: str
    created_at: str
    client: str
    title: str | None = None
    cwd: str | None = None
    metadata: dict[str, Any] = {}
    forked_from: ForkPoint | None = None
    imported_from: Source | None = None
    parent: Parent | msgspec.UnsetType = msgspec.UNSET

    def line(self, length: int = 0) -> bytes:
        """The file's first line, padded with JSON's white space to `length` bytes.

        Its closing brackets are the footer's: what is written stays open for records to come.
        """
        line = _encode(self)[:-1] + b',"messages":['
        return line + b" " * (length - len(line) - 1) + b"\n"


class Footer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The summary of a session's records: the last line of its file."""

    title: str | None
    state: State
    last_activity: str
    message_count: int
    last_seq: int
    turn: TurnRecord | None = None
    """The last one that was answered: what a resume goes on from."""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    used: int | msgspec.UnsetType = msgspec.UNSET
    """When it was used last, as the order of uses has it; left out where `last_activity` says the same."""

    @property
    def use(self) -> int:
        """The place of the last use in the order of all uses: milliseconds, whatever the clock did.

        Uses are numbered in order even if the clock was set back.
        """
        return min(self.used, _MAX_USE) if self.used else milliseconds(self.last_activity)

    def line(self, at_least: int = 0) -> bytes:
        """The file's last line, padded with JSON's white space to `at_least` bytes.

        A file that never shrinks needs no truncation after the write, so an append stays one call.
        """
        rest = b"," + _encode(self)[1:] + b"\n"
        return b"]" + b" " * (at_least - len(rest) - 1) + rest


class Page(msgspec.Struct, frozen=True, gc=False):
    """Records of a session in their order, and the session as it was then; `onward` is the seq to go on
    from, None at the end."""

    header: Header
    summary: Summary
    records: list[Record]
    onward: int | None


class Recent(msgspec.Struct, frozen=True, gc=False):
    """The end of a session: its last `records`, whether those are `all` of them, its last `turn`."""

    summary: Summary
    records: list[Record]
    all: bool
    turn: TurnRecord | None


class UnfinishedTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn whose reply is not in its session yet: the seq of its `question`, and what was answering."""

    session_id: str
    agent: str
    question: int
    turn: TurnRecord


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which sessions a list shows; None stands for any."""

    agent: str | None = None
    cwd: str | None = None
    state: str | None = None
    tag: str | None = None
    pinned: bool | None = None


class CheckPosition(msgspec.Struct, frozen=True):
    """The position of a check: after the names in `folder` that begin with `key` (bytes, at most 100)."""

    folder: str = "sessions"
    key: bytes = b""


class CheckedSessions(msgspec.Struct, frozen=True):
    """Findings of one call: `partial` are sessions that have an unfinished turn, `examined` and `remaining`
    are numbers of files; `position` is None at the end."""

    findings: list[Finding]
    partial: list[str]
    examined: int
    remaining: int
    position: CheckPosition | None


class SessionWriter(Protocol):
    """A session whose lock is held, for one change."""

    @property
    def summary(self) -> Summary:
        """The session as it stands, with what was appended."""

    @property
    def added(self) -> Sequence[Record]:
        """The records appended through this handle, with their seqs."""

    @property
    def last_seq(self) -> int:
        """The seq of the session's last record, 0 where it has none."""

    def append(self, records: Sequence[Record], *, use: bool) -> None:
        """Add records to the end, in one durable write. `use`: whether the session was used by that."""

    def trash(self) -> None:
        """Move the session to the trash. Agents' last sessions stay as they are."""


class Checkpoint(Protocol):
    """The partial reply of a running turn. Its methods raise OSError."""

    def add(self, text: str) -> None:
        """Keep one more piece. After an error the same piece can be given again."""

    def close(self) -> None:
        """The turn ended and is not in its session: what was kept is an unfinished turn."""

    def end(self) -> None:
        """The turn is in its session."""


class SessionStore(Protocol):
    """Sessions, the trash, and each agent's last session."""

    last_sessions: Mapping[str, str]
    """Each agent's last session, from memory; a read-only view."""
    remembered: Callable[[str], Summary | None]
    """The summary if it is in memory and still true. Never reads a file."""

    def where(self, session_id: str) -> Literal["sessions", "trash"] | None:
        """Where the session is, None where there is none of that id."""

    def summary(self, session_id: str, *, trashed: bool = False) -> Summary:
        """The session as a list shows it. Raises `SessionNotFound`, `SessionDamaged`."""

    def ends(self, session_id: str, through: int | None = None) -> tuple[Header, Footer]:
        """The header, and the footer of all records, or of those up to `through`."""

    def read(self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool) -> Page:
        """At least one and at most `limit` records after `after_seq`; `events` too, or messages only."""

    def recent(self, session_id: str, at_least: int) -> Recent:
        """The last records, `at_least` bytes of them: what a turn is answered from."""

    def create(self, header: Header, records: Sequence[Record] = (), *, use: bool = False) -> Summary:
        """Begin a session with its first records. Raises `SessionExists`.

        `use`: whether that is a use of it; one that comes from elsewhere was used when its records say.
        """

    def writing(self, session_id: str) -> AbstractContextManager[SessionWriter]:
        """The session to be changed, and its lock. Raises `SessionNotFound`, `SessionDamaged`."""

    def fork(self, session_id: str, at_seq: int, header: Header, event: Record) -> Summary:
        """Begin the session of `header` with the records of another through `at_seq`, then `event`.

        The copied records keep their bytes, and their idempotency keys go on to answer for the original
        only. Raises `InvalidParams` where there is no such record, and `SessionExists`.
        """

    def restore(self, session_id: str) -> Summary:
        """Bring a session back from the trash. Raises `SessionNotFound`, `SessionExists`."""

    def trashed(self, agent: str | None, before: tuple[str, str] | None, limit: int) -> list[TrashedSession]:
        """Sessions in the trash, the latest first, from behind `before` (trashed_at, session_id)."""

    def purge(self, trashed: Sequence[TrashedSession]) -> None:
        """Delete for good what the trash has of these sessions."""

    def set_last(self, agent: str, session_id: str | None, *, instead_of: str | None = None) -> None:
        """`agent` used `session_id` now, or has no session any more (None).

        With `instead_of`, only if that is still its last session.
        """

    def checkpoint(self, unfinished: UnfinishedTurn) -> Checkpoint:
        """Begin to keep a reply that is still being given."""

    def unfinished(self, session_id: str | None = None) -> list[tuple[UnfinishedTurn, str]]:
        """The turns that a killed daemon left, of one session or all, with the text kept of each."""

    def forget_unfinished(self, session_id: str) -> None:
        """Remove the checkpoint of that turn, which is recorded now."""


class Catalogue(Protocol):
    """Questions across sessions. They may wait until every session's file is known."""

    @property
    def state(self) -> IndexState:
        """Whether questions are answered now, and from all there is. From memory."""

    def status(self) -> IndexStatus:
        """The state of the index."""

    def page(
        self, wanted: SessionFilter, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[ListedSession], tuple[int, str] | None, int]:
        """Sessions by last use, newest first, from behind `before` (use, session_id); the `before` of the
        next page, None at the end; and how many sessions are in no list because they cannot be read."""

    def search(
        self, text: str, agent: str | None, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, str | None]:
        """Hits from `offset` on among the messages numbered through `upto` (None: all that there are),
        what they go through, whether there are more, and why not every message was looked through, if so.

        Raises `InvalidParams` where `text` is no query.
        """

    def matching(self, ref: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `ref`, of 4 characters or more, or else those of that title in any
        case, or else those whose title begins so. Newest use first."""

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of what `agent` recorded under an idempotency key."""

    def family(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """Those of the sessions that there are, and the forks made of any of them, the oldest first."""

    @property
    def is_reading(self) -> bool:
        """Whether the indexer's thread is alive. From memory."""

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""

    def known_counts(self) -> dict[str, int] | None:
        """The last result of `counts`, if it is still valid. From memory."""

    def statistics(self, agent: str | None, days: int | None) -> Statistics:
        """Messages, turns and tokens of `agent` or all, of the last `days` or in total."""


class Maintenance(Protocol):
    """Check and repair. A `backup` is the name of a folder in ``backups``: with it, what can be repaired
    is, and what that changes is kept there first; without it nothing is changed."""

    def check(self, backup: str | None) -> list[Finding]:
        """Findings about everything except session files."""

    def check_sessions(
        self, position: CheckPosition, seconds: float, in_turn: Callable[[str], bool], backup: str | None
    ) -> CheckedSessions:
        """Findings about the session files after `position`, checked for so many seconds.

        `in_turn` says of a session whether its `.partial` is being written; it is called from this thread.
        """

    def check_partial(self, session_id: str, backup: str | None) -> Finding | None:
        """The finding about an unfinished turn of the session; with a backup, a copy is made first."""

    def rebuild_index(self) -> None:
        """Rebuild the index from the files, in the background."""

    def usage(self, agent: str | None) -> Usage:
        """Disk usage, of all agents or of `agent`."""


def new_backup() -> str:
    """A name for a backup, from the time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-doctor"


@lru_cache(maxsize=256)  # an append asks several times for the same
def milliseconds(timestamp: str) -> int:
    """Unix milliseconds of an RFC 3339 time; of a local one as if it were UTC; 0 of anything else."""
    try:
        when = datetime.fromisoformat(timestamp)
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
        return min(max(since // _MILLISECOND, 0), _MAX_MILLISECONDS)
    except (ValueError, OverflowError):
        return 0


@lru_cache(maxsize=256)
def valid_time(timestamp: str) -> str:
    """The time if it is one as port42 writes it, else the nearest one that is."""
    if _TIME.fullmatch(timestamp):
        return timestamp
    when = _EPOCH + milliseconds(timestamp) * _MILLISECOND
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def title_from(content: str) -> str | None:
    """The first line that says something, in one piece and without control characters."""
    for line in content.splitlines():
        if words := " ".join("".join(c if c.isprintable() else " " for c in line).split()):
            return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1] + "…"
    return None

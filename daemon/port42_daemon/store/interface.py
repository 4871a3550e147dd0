"""The store's interface to the rest of the daemon: three protocols, and their types.

Methods block, unless they answer from memory, and may be called from any thread. What they return is durable.
They raise `RpcError` only, without paths in the messages. `tests/contract` tests the implementation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from port42_protocol.encoding import encode
from port42_protocol.errors import RpcError
from port42_protocol.messages.doctor_and_stats import Finding, Statistics, Usage
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import ForkPoint, Parent, Record, Source, Summary, TurnRecord
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState, State
from port42_protocol.times import milliseconds

FORMAT = 1
"""Of a session's file."""
ENDED, RESUMED, FORKED = "ended", "resumed", "forked"
RENAMED, TAGGED, PINNED = "renamed", "tagged", "pinned"
COMPACTED, ROLLED_BACK, USAGE = "compacted", "rolled_back", "usage"
TRASHED, RESTORED = "trashed", "restored"
"""Names of the events that a session records."""
_TITLE_LENGTH = 60
_PICTURE = re.compile(r"\[(?:image|document|[a-z]{1,20}/[a-z0-9.+-]{1,80})\]")
_MAX_USE = 2**53


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a session's file, which never changes."""

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
    generation: int | msgspec.UnsetType = msgspec.UNSET
    """How often the records were replaced by others, where they were."""
    hub_owner: str | msgspec.UnsetType = msgspec.UNSET
    """The other owner at the hub whose session it is, where that one shared it."""

    def line(self, length: int = 0) -> bytes:
        """The line, padded with white space to `length` bytes. Its closing brackets are the footer's."""
        line = encode(self)[:-1] + b',"messages":['
        return line + b" " * (length - len(line) - 1) + b"\n"


class Footer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last line of a session's file: what its records add up to."""

    title: str | None
    state: State
    last_activity: str
    message_count: int
    last_seq: int
    turn: TurnRecord | None = None
    """The last one that was answered, which a resume continues."""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    used: int | msgspec.UnsetType = msgspec.UNSET
    """The `use`, where it is not the time of `last_activity`."""

    @property
    def use(self) -> int:
        """The number of the last use: Unix milliseconds, but rising also when the clock was set back."""
        return min(self.used, _MAX_USE) if self.used else milliseconds(self.last_activity)

    def line(self, at_least: int = 0) -> bytes:
        """The line, padded with white space to `at_least` bytes, so that an append never truncates."""
        rest = b"," + encode(self)[1:] + b"\n"
        return b"]" + b" " * (at_least - len(rest) - 1) + rest


class Page(msgspec.Struct, frozen=True, gc=False):
    """Records of a session in their order; `onward` is the seq to continue after, None at the end."""

    header: Header
    summary: Summary
    records: list[Record]
    onward: int | None


class Recent(msgspec.Struct, frozen=True, gc=False):
    """The end of a session: its last `records`, whether those are all, and its last `turn`."""

    header: Header
    summary: Summary
    records: list[Record]
    all: bool
    turn: TurnRecord | None


class StoredLines(msgspec.Struct, frozen=True, gc=False):
    """Records as they are stored, each with its seq and its JSON; `complete`: no later ones are left.

    `signature` is the file's size and mtime_ns.
    """

    header: Header
    footer: Footer
    trashed: bool
    signature: tuple[int, int]
    lines: list[tuple[int, bytes]]
    complete: bool


class UnfinishedTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn whose reply is not recorded yet: the seq of its `question`, and what answers."""

    session_id: str
    agent: str
    question: int
    turn: TurnRecord


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which sessions a list shows; None is any.

    Sessions of sub-agents are in the list of their `parent` only.
    """

    agent: str | None = None
    cwd: str | None = None
    state: str | None = None
    tag: str | None = None
    pinned: bool | None = None
    parent: str | None = None


class CheckPosition(msgspec.Struct, frozen=True):
    """After the names in `folder` that begin with `key` (at most 100 bytes)."""

    folder: str = "sessions"
    key: bytes = b""


class CheckedSessions(msgspec.Struct, frozen=True):
    """Findings of one call; `partial`: sessions with an unfinished turn; `examined`, `remaining`: files;
    `position`: None at the end."""

    findings: list[Finding]
    partial: list[str]
    examined: int
    remaining: int
    position: CheckPosition | None


class SessionWriter(Protocol):
    """A session whose lock is held; its properties have what was appended, too."""

    @property
    def summary(self) -> Summary: ...
    @property
    def added(self) -> Sequence[Record]:
        """The appended records, with their seqs."""

    @property
    def last_seq(self) -> int:
        """0 where there are no records."""

    def append(self, records: Sequence[Record], *, use: bool | None, used_at: int = 0) -> None:
        """Add records in one durable write. `use`: whether that is a use now; None: at their time.

        `used_at`: without `use`, the number of the session's last use, if that is later than what is known.
        """

    def trash(self) -> None:
        """Move the session to the trash. Does not change any agent's last session."""


class Checkpoint(Protocol):
    """What a running turn has that may not be recorded yet. Its methods raise OSError."""

    def add(self, lines: Sequence[str | Record]) -> None:
        """Keep pieces of its text and records. After an error they can be given again."""

    def close(self) -> None:
        """The turn ended and is not recorded: it is an unfinished turn."""

    def end(self) -> None:
        """The turn is recorded."""


class SessionStore(Protocol):
    """Sessions, the trash, and each agent's last session."""

    last_sessions: Mapping[str, str]
    """By agent; a read-only view of what is in memory."""
    remembered: Callable[[str], Summary | None]
    """The summary, if it is in memory and the file unchanged. Never reads a file."""

    changed: Callable[[str], None]
    """Set by who wants to know: called with each session that was written, moved or deleted, from the thread
    that did it. It returns at once."""

    @property
    def last_sessions_complete(self) -> bool:
        """False while they are rebuilt, and those of damaged sessions are not known yet. From memory."""

    def where(self, session_id: str) -> Literal["sessions", "trash"] | None: ...
    def summary(self, session_id: str, *, trashed: bool = False) -> Summary:
        """Raises `SessionNotFound`, `SessionDamaged`, as do all that follow."""

    def ends(self, session_id: str, through: int | None = None) -> tuple[Header, Footer]:
        """The header, and the footer of all records, or of those through seq `through`."""

    def read(self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool) -> Page:
        """One to `limit` records after `after_seq`; with `events`, or messages only."""

    def recent(self, session_id: str, at_least: int) -> Recent:
        """The last records, `at_least` bytes of them; one at least if there are any."""

    def lines(self, session_id: str, after_seq: int, max_bytes: int) -> StoredLines:
        """Records after `after_seq`, one at least if there are any, of a session or one in the trash."""

    def create(
        self, header: Header, records: Sequence[Record] = (), *, use: bool = False, used_at: int | None = None
    ) -> Summary:
        """Begin a session. Raises `SessionExists`. `use`: whether that is a use, or its records say when.

        `used_at`: the number of its last use, where that is known.
        """

    def create_all(
        self, sessions: Sequence[tuple[Header, Sequence[Record]]]
    ) -> list[tuple[Summary, Sequence[Record]] | RpcError]:
        """Begin many sessions, whose records say when they were used, with one wait for the disk.

        Gives the records with their seqs; in the place of a session that cannot be written is its error.
        """

    def rewrite(self, header: Header, records: Sequence[Record], backup: str) -> Summary:
        """Replace a session's records, which have their seqs. The file as it was is kept in that backup.

        Of `header`, title, folder, fork point and generation are taken; without one it is the next. Raises
        `SessionNotFound`, `SessionDamaged`.
        """

    def splice(self, session_id: str, seq: int, records: Sequence[Record], *, used_at: int) -> Summary:
        """Replace the records after `seq` by these in one durable write.

        `used_at`: the number of its last use.
        """

    def writing(self, session_id: str) -> AbstractContextManager[SessionWriter]:
        """The session, with its lock held in the block."""

    def fork(self, session_id: str, at_seq: int, header: Header, event: Record) -> Summary:
        """Begin the session of `header` with the records of another through `at_seq`, then `event`.

        The copied records' idempotency keys stay those of the original. Raises `InvalidParams` where there is
        no such record, and `SessionExists`.
        """

    def restore(self, session_id: str) -> Summary:
        """Move a session back from the trash. Raises `SessionExists`, too."""

    def trashed(self, agent: str | None, before: tuple[str, str] | None, limit: int) -> list[TrashedSession]:
        """Sessions in the trash, the latest first, after `before` (trashed_at, session_id)."""

    def purge(self, trashed: Sequence[TrashedSession]) -> set[str]:
        """Delete for good those that were not restored since. Returns their ids."""

    def complete_last_sessions(self) -> None:
        """Wait until damaged sessions are recovered, and note what their agents used last."""

    def set_last(self, agent: str, session_id: str | None, *, instead_of: str | None = None) -> None:
        """Note that `agent` used `session_id` last, or has none (None).

        With `instead_of`, only if that is still its last session.
        """

    def checkpoint(self, unfinished: UnfinishedTurn) -> Checkpoint: ...
    def unfinished(self, session_id: str | None = None) -> list[tuple[UnfinishedTurn, str, list[Record]]]:
        """The turns that a killed daemon left, of one session or all, with the text and records kept of each.

        The text is all of the turn's; some of it, and of the records, may be in the session.
        """

    def forget_unfinished(self, session_id: str) -> None:
        """Remove the checkpoint of a turn that is recorded now."""


class Catalogue(Protocol):
    """Queries of the index. They wait until every sound session's file is known, but for those from memory.

    Damaged sessions that a start finds are recovered in the background, and are missing before.
    """

    @property
    def state(self) -> IndexState:
        """From memory."""

    def status(self) -> IndexStatus: ...
    def page(
        self, wanted: SessionFilter, before: tuple[int, str] | None, limit: int
    ) -> tuple[list[ListedSession], tuple[int, str] | None, int]:
        """Sessions by last use, newest first, after `before` (use, session_id); the `before` of the next
        page, None at the end; and the number of sessions that cannot be read."""

    def search(self, text: str, agent: str | None, upto: int | None, offset: int, limit: int) -> SearchResult:
        """Hits from `offset` on among the messages numbered through `upto` (None: all).

        Raises `InvalidParams` for a bad query."""

    @property
    def is_recovered(self) -> bool:
        """Whether answers have all sessions, those that were damaged, too. From memory."""

    def wait_recovered(self) -> bool:
        """Wait until that is so; False if the index has failed."""

    def matching(self, ref: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `ref` (of 4 characters or more), or else whose title is that or, if
        none is, begins so, in any case. Newest use first."""

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of the record of `agent` that has the idempotency key, in that session, or the
        forks that a hub made of it, or in any."""

    def by_native(self, native_ids: Sequence[str]) -> dict[str, str]:
        """For ids of a tool's sessions, the session used last of those whose last turn has this id, or that
        were imported from a source with it; nothing for an id that no session has."""

    def family(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """Those of the sessions that exist, and their forks, the oldest first."""

    def early_forks(self, originals: Sequence[str]) -> list[tuple[str, str]]:
        """Forks of these sessions with nothing of theirs, as they were here first: ids, and the originals'.

        But for those to whose records a fork or a sub-agent refers.
        """

    @property
    def is_reading(self) -> bool:
        """Whether the indexer's thread is alive. From memory."""

    def counts(self) -> dict[str, int]:
        """Sessions by agent."""

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and mtime_ns of each session's file. Waits until all are recovered."""

    @property
    def known_counts(self) -> dict[str, int] | None:
        """The last result of `counts`, if it is still valid. From memory."""

    def statistics(self, agent: str | None, days: int | None) -> Statistics: ...


class SearchResult(NamedTuple):
    """Hits among the messages numbered through `upto`; whether there are `more`; why some are `missing`, or
    None; what may have been meant by a word of the query."""

    hits: list[Hit]
    upto: int
    more: bool
    missing: str | None
    hints: tuple[str, ...]


class Maintenance(Protocol):
    """Check and repair. With a `backup`, the name of a folder in ``backups``, what can be repaired is, and
    what that changes is kept there first; without one nothing is changed."""

    def check(self, backup: str | None) -> list[Finding]:
        """Findings about everything except session files."""

    def check_sessions(
        self, position: CheckPosition, seconds: float, in_turn: Callable[[str], bool], backup: str | None
    ) -> CheckedSessions:
        """Findings about the session files after `position`, checked for so many seconds.

        `in_turn` says of a session whether its checkpoint is being written; it is called from this thread.
        """

    def check_partial(self, session_id: str, backup: str | None) -> Finding | None:
        """The finding about an unfinished turn of the session; with a backup, a copy is made."""

    def rebuild_index(self) -> None:
        """In the background."""

    def usage(self, agent: str | None) -> Usage:
        """Disk usage of `agent`, or of the home."""


def new_backup() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-doctor"


def title_from(content: str) -> str | None:
    """The first line with a printable character, without control characters, shortened.

    A line that only stands for a picture is the title where there is no other.
    """
    picture = None
    for line in content.splitlines():
        if not line.isprintable():
            line = "".join(c if c.isprintable() else " " for c in line)  # noqa: PLW2901
        words = " ".join(line.split())
        if _PICTURE.fullmatch(words):
            picture = picture or words
        elif words:
            return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1] + "…"
    return picture

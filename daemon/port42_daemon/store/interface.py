"""What the rules ask of a store. `tests/contract` holds every store to it; today there is one.

Methods block and may be called from any thread, except `remembered`, `last` and `index_state`, which
answer from memory. What they return is durable. Only `RpcError` subclasses leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from port42_daemon.store.check.repair import Backup
from port42_daemon.store.check.sessions import CheckedSessions, Position
from port42_daemon.store.index.query import Query
from port42_daemon.store.session_file.checkpoint import Checkpoint, Unfinished
from port42_daemon.store.session_file.document import Footer, Header
from port42_protocol.messages.doctor_and_stats import Finding, Statistics, Usage
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import Record, Summary, TurnRecord
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState


@dataclass(frozen=True, slots=True)
class Recent:
    """The end of a session: its last `records`, whether those are `all` of them, its last `turn`."""

    summary: Summary
    records: list[Record]
    all: bool
    turn: TurnRecord | None


class Store(Protocol):
    """Sessions, each agent's last one, and questions across them."""

    def open(self) -> None:
        """Make ready. Raises `StorageFailed`."""

    def close(self) -> None:
        """Write what is not written yet. Raises `StorageFailed`."""

    def exists(self, session_id: str) -> bool:
        """Whether there is such a session."""

    def remembered(self, session_id: str) -> Summary | None:
        """The summary if it is in memory and still true, without reading."""

    def summary(self, session_id: str) -> Summary:
        """The session as a list shows it. Raises `SessionNotFound`, `SessionDamaged`."""

    def header(self, session_id: str) -> Header:
        """What never changes of the session."""

    def create(self, header: Header, records: Sequence[Record] = ()) -> Summary:
        """Begin a session with its first records. Raises `SessionExists`."""

    def append(self, session_id: str, decide: Callable[[Summary], Sequence[Record]]) -> tuple[Summary, int]:
        """Add what `decide` makes of the session, each record given its seq; nothing if it raises."""

    def read(
        self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool
    ) -> tuple[list[Record], int | None]:
        """At least one and at most `limit` records after `after_seq`; the seq to go on from, or None."""

    def recent(self, session_id: str, at_least: int) -> Recent:
        """The last records, `at_least` bytes of them: what a turn is answered from."""

    def ends(self, session_id: str, through: int | None = None) -> tuple[Header, Footer]:
        """What never changes, and the fold over the records, all or those up to `through`."""

    def checkpoint(self, unfinished: Unfinished) -> Checkpoint:
        """Begin to keep a reply that is still being given."""

    def unfinished(self, session_id: str | None = None) -> list[tuple[Unfinished, str]]:
        """The turns that a killed daemon left, of one session or all, with the text kept of each."""

    def forget_unfinished(self, session_id: str) -> None:
        """What was left of that turn is recorded now."""

    # --- lineage and trash ---

    def fork(
        self, session_id: str, at_seq: int | None, decide: Callable[[Header, int], tuple[Header, Record]]
    ) -> Summary:
        """Begin a session with the records of another through `at_seq`, or all, and one event of its own.

        `decide` gives header and event from the original's header and the seq. The copied records keep
        their bytes, and their idempotency keys go on to answer for the original only. Raises
        `InvalidParams` where there is no such record, and `SessionExists`.
        """

    def forks_of(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """The forks that were made of any of the sessions, in the order in which they began."""

    def listed(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """Those of the sessions that there are."""

    def taken(self, session_id: str) -> bool:
        """Whether there is such a session, in the trash or not."""

    def trash(self, session_id: str, decide: Callable[[Summary], None]) -> Summary:
        """Move a session to the trash, unless `decide` raises. No mapping changes."""

    def restore(self, session_id: str, decide: Callable[[Summary], None]) -> Summary:
        """Bring it back, unless `decide` raises. Raises `SessionNotFound`, `SessionExists`."""

    def trashed(self, agent: str | None, before: tuple[str, str] | None, limit: int) -> list[TrashedSession]:
        """Sessions in the trash, the latest first, from behind `before` (trashed_at, session_id)."""

    def trashed_summary(self, session_id: str) -> Summary:
        """What a session in the trash was. Raises `SessionNotFound`."""

    def purge(self, trashed: Sequence[TrashedSession]) -> None:
        """Delete for good what the trash has of these sessions."""

    def change_last(self, agent: str, gone: str, following: str | None) -> None:
        """`agent` goes on with `following`, or with none, if `gone` is still the one it used last."""

    def last(self, agent: str) -> str | None:
        """The session that `agent` used last."""

    def set_last(self, agent: str, session_id: str) -> None:
        """`agent` used `session_id` now."""

    def agents(self) -> dict[str, str]:
        """Every agent that has a session, and its last one."""

    def page(  # noqa: PLR0913  # a parameter for each filter
        self,
        *,
        agent: str | None = None,
        cwd: str | None = None,
        state: str | None = None,
        tag: str | None = None,
        pinned: bool | None = None,
        before: tuple[str, str] | None = None,
        limit: int,
    ) -> list[ListedSession]:
        """Sessions by last use, newest first, from behind `before` (last_activity, session_id)."""

    def search(
        self, query: Query, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, bool]:
        """Hits from `offset` on among the messages numbered through `upto` (None: all that there are),
        what they go through, whether there are more, and whether every session was looked through."""

    def index_status(self) -> IndexStatus:
        """How far what is asked across sessions has come."""

    def rebuild_index(self) -> None:
        """Begin it anew, behind our back."""

    def with_prefix(self, prefix: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `prefix`, newest use first."""

    def with_title(self, title: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions of that title in any case, or else those whose title begins so."""

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of what `agent` recorded under an idempotency key."""

    def index_state(self) -> IndexState:
        """Whether questions across sessions are answered now, and from all there is. Never waits."""

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""

    # --- care ---

    def check(self, backup: Backup | None) -> list[Finding]:
        """What is wrong with all but the sessions themselves; with a backup, repaired."""

    def sweep(
        self, position: Position, seconds: float, in_turn: Callable[[str], bool], backup: Backup | None
    ) -> CheckedSessions:
        """What is wrong with the sessions after `position`, as many as so many seconds allow."""

    def cut_off(self, session_id: str, backup: Backup | None) -> Finding | None:
        """What is said of a turn that was cut off there; with a backup, kept before it is recorded."""

    def usage(self, agent: str | None) -> Usage:
        """What takes how much room; with `agent`, its part alone."""

    def statistics(self, agent: str | None, days: int | None) -> Statistics:
        """How much was said, of `agent` or all, in the last `days` or ever."""

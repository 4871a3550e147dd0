"""What the hub is to get of a session of this machine. Everything here blocks."""

from __future__ import annotations

from msgspec import UNSET, Struct, structs

from port42_daemon.config import HubConfig
from port42_daemon.hub.database import PIECE_BYTES, Change, Database
from port42_daemon.hub.lines import (
    PRIVATE,
    checksum,
    header_to_push,
    lines_to_push,
    may_leave,
    only_labels,
)
from port42_daemon.hub.local import LocalSessions
from port42_daemon.hub.progress import NO_FILE, Known, Other
from port42_daemon.store.interface import SessionStore, StoredLines


class NotAsKnown(Exception):
    """The session here is not what it was when it was pushed or brought here last."""


class MayNotContinue(Exception):
    """Somebody went on with a session of another owner, who lets it be read only."""


class Prepared(Struct, frozen=True):
    """A change to push, what is known of the session after it, and whether that is all of it."""

    change: Change
    after: Known
    complete: bool


class Outgoing:
    """Compares sessions here with what the hub is known to have of them."""

    def __init__(
        self, store: SessionStore, local: LocalSessions, database: Database, config: HubConfig
    ) -> None:
        self._store = store
        self._local = local
        self._database = database
        self._config = config

    def prepare(self, session_id: str, known: Known | None, other: Other | None) -> Prepared | None:
        """None where nothing is to be pushed. Raises `NotAsKnown`, `MayNotContinue` and `RpcError`."""
        if known is not None and known.purged:
            return None
        stored = self._local.lines(session_id, known.seq if known else 0, PIECE_BYTES)
        if stored is None:
            return _purge(session_id, known, other)
        header, footer = stored.header, stored.footer
        generation = header.generation or 0
        if not self._is_pushed(known, stored, other):
            return None
        if known is not None and generation != known.generation:
            stored = self._store.lines(session_id, 0, PIECE_BYTES)
        elif known is not None:
            if known.seq and self._local.checksum(session_id, known.seq) != known.line:
                raise NotAsKnown
            if not stored.lines and stored.trashed == known.trashed:
                return None
        lines = stored.lines
        change = Change(
            session_id=session_id,
            agent=header.agent,
            header=header_to_push(header, redact=self._config.redact),
            base=(known.generation, known.seq) if known else None,
            generation=generation,
            lines=lines_to_push(lines, redact=self._config.redact),
            used=footer.use + self._database.offset_ms if known is None or footer.use > known.use else None,
            trashed=stored.trashed,
        )
        seq = change.last_seq
        line = checksum(lines[-1:], seq) if lines or known is None or change.replaces else known.line
        signature = stored.signature if stored.complete else NO_FILE
        after = Known(generation, seq, footer.use, stored.trashed, signature=signature, line=line)
        return Prepared(change, after, stored.complete)

    def _is_pushed(self, known: Known | None, stored: StoredLines, other: Other | None) -> bool:
        """Whether anything of the session may leave this machine. Raises `MayNotContinue`."""
        if other is not None:
            return _may_continue(other, known, stored)
        if stored.header.hub_owner not in {UNSET, self._database.owner}:
            return False  # it was shared once; hub.db, which knew that, was lost
        if known is None and stored.trashed:
            return False  # it was thrown away before the hub ever had it
        return may_leave(self._config, stored.header, stored.footer, self._store)


def _may_continue(other: Other, known: Known | None, stored: StoredLines) -> bool:
    """Whether what was recorded here in another owner's session is pushed.

    What is done to it as a whole, its trash for example, is this machine's own.
    """
    if known is None or stored.trashed or (stored.header.generation or 0) != known.generation:
        return False
    if other.may == "read" and not only_labels(stored.lines):
        raise MayNotContinue
    return other.may == "write" and PRIVATE not in stored.footer.tags


def _purge(session_id: str, known: Known | None, other: Other | None) -> Prepared | None:
    """A session that is gone: for good if it was in the trash. A file that was removed comes back."""
    if known is None:
        return None
    if not known.trashed or other is not None:
        raise NotAsKnown
    change = Change(
        session_id, "", b"", (known.generation, known.seq), known.generation, (), None, True, purges=True
    )
    return Prepared(change, structs.replace(known, purged=True), complete=True)

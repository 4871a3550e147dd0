"""What is asked of the hub, in SQL. Everything here blocks, and belongs to the hub's thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from msgspec import Struct

from port42_daemon.hub import schema
from port42_daemon.hub.schema import HubRefused
from port42_protocol import __version__

PIECE_BYTES = 4 * 1024 * 1024
"""Of lines that are sent or fetched at once, unless a single one is longer."""
_PIECE_RECORDS = 1000
_CLOCK_TRIES = 8
_LIMITS = {
    "application_name": "port42d",
    "statement_timeout": "60s",
    # A machine that is cut off in the middle of a transaction must not hold up the owner's others.
    "idle_in_transaction_session_timeout": "10s",
}


class Change(Struct, frozen=True):
    """What one session has that the hub lacks.

    `base` is the generation and last seq that the hub is known to have, None where it has no such session.
    Lines of another generation replace those that are there. `used`: the last use by the hub's clock, None
    where the hub knows it. `purges`: it was deleted for good.
    """

    session_id: str
    agent: str
    header: bytes
    base: tuple[int, int] | None
    generation: int
    lines: Sequence[tuple[int, bytes]]
    used: int | None
    trashed: bool
    purges: bool = False

    @property
    def replaces(self) -> bool:
        return self.base is not None and self.base[0] != self.generation

    @property
    def last_seq(self) -> int:
        if self.lines:
            return self.lines[-1][0]
        return 0 if self.base is None or self.replaces else self.base[1]


class Row(NamedTuple):
    """A session at the hub. `used` is milliseconds of the hub's clock."""

    session_id: str
    agent: str
    header: str
    generation: int
    last_seq: int
    used: int
    bytes: int
    trashed: bool
    purged: bool
    changed: int


class Fetched(NamedTuple):
    """A session at the hub, and its `lines` after the seq `after`: `PIECE_BYTES` of them, or one.

    `owner` is the role whose session it is, `authors` are those that pushed the lines.
    """

    row: Row
    owner: str
    after: int
    lines: list[tuple[int, bytes]]
    authors: list[str]


class Shared(NamedTuple):
    """A session of another owner: `may` is read or write."""

    owner: str
    may: str
    row: Row


class Pushed(Struct, frozen=True):
    """The ids that were accepted; the others are not where they were known to be."""

    accepted: frozenset[str]
    number: int
    """The owner's change that this was."""


class Machine(NamedTuple):
    """One machine of the owner; `waiting` sessions had not been pushed when it was `seen` (seconds ago)."""

    machine: str
    name: str
    version: str
    seen: float
    pulled: int
    waiting: int


class Totals(NamedTuple):
    """What the hub has of the owner: sessions, lines' bytes, changes."""

    sessions: int
    bytes: int
    changes: int


_ROWS = """
SELECT session_id, agent, header, generation, last_seq, used, bytes, trashed, purged_at IS NOT NULL, changed
FROM port42.sessions WHERE owner = %s
"""


_PUT = """
INSERT INTO port42.sessions AS s
  (owner, session_id, agent, header, generation, last_seq, used, bytes, trashed, purged_at, changed)
SELECT %s, id, agent, header, generation, seq, used, bytes, trashed, CASE WHEN purges THEN now() END, %s
FROM unnest(
  %s::text[], %s::text[], %s::text[], %s::int[],
  %s::bigint[], %s::bigint[], %s::bigint[], %s::bool[], %s::bool[]
) AS new (id, agent, header, generation, seq, used, bytes, trashed, purges)
ON CONFLICT (owner, session_id) DO UPDATE SET
  agent = CASE WHEN excluded.purged_at IS NULL THEN excluded.agent ELSE s.agent END,
  header = CASE WHEN s.owner = session_user THEN excluded.header ELSE s.header END,
  generation = excluded.generation, last_seq = excluded.last_seq,
  used = greatest(s.used, excluded.used), changed = excluded.changed, trashed = excluded.trashed,
  bytes = excluded.bytes + CASE WHEN s.session_id = ANY(%s) THEN 0 ELSE s.bytes END,
  purged_at = excluded.purged_at
"""
_LINES = """
SELECT session_id, seq, line, author FROM unnest(%s::text[], %s::bigint[]) AS wanted (id, after)
CROSS JOIN LATERAL (
  SELECT session_id, seq, line, author,
    sum(octet_length(line)) OVER (ORDER BY seq) - octet_length(line) AS before
  FROM (
    SELECT session_id, seq, line, author FROM port42.records
    WHERE owner = %s AND session_id = id AND seq > after ORDER BY seq LIMIT %s
  ) AS first
) AS piece WHERE before < %s ORDER BY session_id, seq
"""


_SHARED = """
SELECT owner, granted.may, session_id, agent, header, generation, last_seq, used, bytes, trashed,
  purged_at IS NOT NULL, changed
FROM (
  SELECT owner, session_id, max(may) AS may FROM port42.shares
  WHERE owner <> %s AND port42.is_member(grantee) GROUP BY owner, session_id
) AS granted JOIN port42.sessions AS s USING (owner, session_id) ORDER BY s.used DESC
"""
_ROLES = 100
_NOTIFY = """
SELECT pg_notify('port42_' || md5(name), payload) FROM (
  SELECT %s::text, %s::text UNION
  SELECT grantee, 'shares' FROM port42.shares WHERE owner = %s AND session_id = ANY(%s)
) AS told (name, payload)
"""
SHARES = "shares"
"""The payload of a notice about sessions of others; one about own ones has the number of the change."""


def channel(role: str) -> str:
    """The name on which the machines of a role's members are told of changes."""
    return f"port42_{hashlib.md5(role.encode(), usedforsecurity=False).hexdigest()}"


class Database:
    """A connection as one owner, from one machine.

    Everything may raise `psycopg.Error`, and its beginning `HubRefused`, too.
    """

    def __init__(self, conninfo: dict[str, Any], machine: str, name: str) -> None:
        self.connection = psycopg.connect(**conninfo, autocommit=True)
        try:
            for setting, value in _LIMITS.items():
                self.connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
            self.hub = schema.require(self.connection)
            owner = self.connection.execute("SELECT session_user::text").fetchone()
            self.owner = str(owner[0]) if owner else ""
            self.machine, self.name = machine, name
            self.offset_ms = self._offset()
            self._join()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()

    def abort(self) -> None:
        """Have whatever waits for the server fail at once. From any thread."""
        with (
            contextlib.suppress(psycopg.Error, OSError),
            socket.socket(fileno=os.dup(self.connection.fileno())) as copy,
        ):
            copy.shutdown(socket.SHUT_RDWR)

    # --- machines ---------------------------------------------------------------------------------

    def _offset(self) -> int:
        """The hub's clock minus this machine's, in milliseconds; the answer that came soonest counts."""
        answers: list[tuple[int, int]] = []
        for _ in range(_CLOCK_TRIES):
            before = time.time_ns()
            row = self.connection.execute(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
            ).fetchone()
            after = time.time_ns()
            if row is not None:
                answers.append((after - before, row[0] - (before + after) // 2_000_000))
        return min(answers, default=(0, 0))[1]

    def _join(self) -> None:
        with self.connection.transaction():
            self.connection.execute(
                "INSERT INTO port42.owners (owner) VALUES (%s) ON CONFLICT DO NOTHING", (self.owner,)
            )
            self.connection.execute(
                "INSERT INTO port42.machines (owner, machine, name, version) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (owner, machine) DO UPDATE SET"
                " name = excluded.name, version = excluded.version, seen_at = now()",
                (self.owner, self.machine, self.name, __version__),
            )

    def seen(self, pulled: int, waiting: int) -> None:
        """Note how far this machine is."""
        self.connection.execute(
            "UPDATE port42.machines SET seen_at = now(), pulled = %s, waiting = %s"
            " WHERE owner = %s AND machine = %s",
            (pulled, waiting, self.owner, self.machine),
        )

    def machines(self) -> list[Machine]:
        """The owner's machines, the latest seen first."""
        rows = self.connection.execute(
            "SELECT machine::text, name, version, extract(epoch FROM now() - seen_at)::float8, pulled,"
            " waiting FROM port42.machines WHERE owner = %s ORDER BY seen_at DESC",
            (self.owner,),
        )
        return [Machine(*row) for row in rows]

    def leave(self) -> None:
        """Forget this machine. The sessions stay."""
        self.connection.execute(
            "DELETE FROM port42.machines WHERE owner = %s AND machine = %s", (self.owner, self.machine)
        )

    def totals(self) -> Totals:
        row = self.connection.execute(
            "SELECT count(session_id), coalesce(sum(bytes), 0)::bigint, changes FROM port42.owners o"
            " LEFT JOIN port42.sessions s ON s.owner = o.owner AND purged_at IS NULL"
            " WHERE o.owner = %s GROUP BY changes",
            (self.owner,),
        ).fetchone()
        return Totals(*row) if row else Totals(0, 0, 0)

    # --- pushing ----------------------------------------------------------------------------------

    def push(self, changes: Sequence[Change], owner: str | None = None) -> Pushed:
        """Write the changes of one owner's sessions that are where they were known to be, in one transaction.

        The row of the owner is locked first: so transactions are committed in the order of their numbers, and
        who asks for what came after a number misses nothing.
        """
        with self.connection.transaction():
            with self.connection.pipeline():
                numbered = self.connection.execute(
                    "UPDATE port42.owners SET changes = changes + 1 WHERE owner = %s RETURNING changes",
                    (owner or self.owner,),
                )
                rows = self._rows([change.session_id for change in changes], owner)
                row = numbered.fetchone()
                there = {row.session_id: row for row in map(Row._make, rows)}
            if row is None and owner is not None:
                raise psycopg.errors.InsufficientPrivilege("the owner shares nothing any more")
            if row is None:
                raise psycopg.OperationalError("the hub has no row of this owner")
            accepted = [change for change in changes if _fits(change, there.get(change.session_id))]
            with self.connection.pipeline():
                self._write(accepted, row[0], owner or self.owner)
        return Pushed(frozenset(change.session_id for change in accepted), row[0])

    def _write(self, changes: Sequence[Change], number: int, owner: str) -> None:
        if not changes:
            return
        replaced = [change.session_id for change in changes if change.replaces or change.purges]
        if replaced:
            self.connection.execute(
                "DELETE FROM port42.records WHERE owner = %s AND session_id = ANY(%s)", (owner, replaced)
            )
        columns = [
            (
                *(
                    change.session_id,
                    change.agent,
                    change.header.decode(),
                    change.generation,
                    change.last_seq,
                ),
                *(
                    change.used or 0,
                    sum(len(line) for _, line in change.lines),
                    change.trashed,
                    change.purges,
                ),
            )
            for change in changes
        ]
        self.connection.execute(_PUT, (owner, number, *map(list, zip(*columns, strict=True)), replaced))
        lines = [(change.session_id, seq, line.decode()) for change in changes for seq, line in change.lines]
        if lines:
            self.connection.execute(
                "INSERT INTO port42.records (owner, session_id, seq, line, machine)"
                " SELECT %s, id, seq, line, %s FROM unnest(%s::text[], %s::bigint[], %s::text[])"
                " AS new (id, seq, line)",
                (owner, self.machine, *map(list, zip(*lines, strict=True))),
            )
        self.connection.execute(_NOTIFY, (owner, str(number), owner, [each.session_id for each in changes]))

    # --- pulling ----------------------------------------------------------------------------------

    def changes(self, after: int, limit: int) -> list[Row]:
        """Sessions that changed after that number, in its order: `limit`, and those of the last number."""
        order = "AND changed > %s ORDER BY changed FETCH FIRST %s ROWS WITH TIES"
        return [Row(*row) for row in self.connection.execute(_ROWS + order, (self.owner, after, limit))]

    def newest(self, before: tuple[int, str] | None, limit: int) -> list[Row]:
        """Sessions by last use, the latest first, after `before` (used, session_id)."""
        order = (
            "AND (used < %s OR (used = %s AND session_id > %s))"
            " ORDER BY used DESC, session_id FETCH FIRST %s ROWS ONLY"
        )
        used, session_id = before or (2**62, "")
        values = (self.owner, used, used, session_id, limit)
        return [Row(*row) for row in self.connection.execute(_ROWS + order, values)]

    def fetch(self, wanted: Sequence[tuple[str, int, int]], owner: str | None = None) -> dict[str, Fetched]:
        """Of each of an owner's sessions (id, generation, seq) what the hub has after that seq, or all, where
        its generation is another one. Sessions that it does not have are not in the result."""
        with self.connection.transaction():
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            rows = {row[0]: Row(*row) for row in self._rows([session_id for session_id, *_ in wanted], owner)}
            after = {
                session_id: seq if rows[session_id].generation == generation else 0
                for session_id, generation, seq in wanted
                if session_id in rows
            }
            lines_of = self.connection.execute(
                _LINES, (list(after), list(after.values()), owner or self.owner, _PIECE_RECORDS, PIECE_BYTES)
            )
            fetched = {
                session_id: Fetched(row, owner or self.owner, after[session_id], [], [])
                for session_id, row in rows.items()
            }
            for session_id, seq, line, author in lines_of:
                fetched[session_id].lines.append((seq, line.encode()))
                fetched[session_id].authors.append(author)
        return fetched

    def _rows(self, session_ids: Sequence[str], owner: str | None) -> psycopg.Cursor[Any]:
        of_these = "AND session_id = ANY(%s)"
        return self.connection.execute(_ROWS + of_these, (owner or self.owner, list(session_ids)))

    # --- sharing ----------------------------------------------------------------------------------

    def roles(self) -> list[str]:
        """Those that this one is a member of, itself among them."""
        rows = self.connection.execute(
            "SELECT rolname::text FROM pg_roles"
            " WHERE pg_has_role(session_user, oid, 'MEMBER') AND rolname !~ '^pg_' LIMIT %s",
            (_ROLES,),
        )
        return list({self.owner, *(name for (name,) in rows)})

    def shared_with_me(self) -> list[Shared]:
        """The sessions of others that this role may read."""
        rows = self.connection.execute(_SHARED, (self.owner,))
        return [Shared(owner, may, Row(*row)) for owner, may, *row in rows]

    def shares(self, session_id: str) -> list[tuple[str, str]]:
        """Of an own session the roles that it is shared with, and what each may."""
        rows = self.connection.execute(
            "SELECT grantee, may FROM port42.shares WHERE owner = %s AND session_id = %s ORDER BY grantee",
            (self.owner, session_id),
        )
        return [(grantee, may) for grantee, may in rows]

    def share(self, session_id: str, grantee: str, may: str | None) -> bool:
        """Let a role read an own session, or continue it; None: neither.

        False where there is no such role, or it is the owner's own, or it has nothing that could be taken.

        Raises `HubRefused` where the hub does not have the session.
        """
        role = self.connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (grantee,)).fetchone()
        if role is None and may is not None:
            return False
        with self.connection.transaction():
            row = self.connection.execute(
                "SELECT FROM port42.sessions WHERE owner = %s AND session_id = %s AND purged_at IS NULL",
                (self.owner, session_id),
            ).fetchone()
            if row is None:
                raise HubRefused(f"the hub does not have session {session_id}, or not yet")
            if grantee == self.owner and may is not None:
                return False
            if may is None:
                taken = self.connection.execute(
                    "DELETE FROM port42.shares WHERE owner = %s AND session_id = %s AND grantee = %s",
                    (self.owner, session_id, grantee),
                )
                if not taken.rowcount:
                    return False
            else:
                self.connection.execute(
                    "INSERT INTO port42.shares VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT (owner, session_id, grantee) DO UPDATE SET may = excluded.may",
                    (self.owner, session_id, grantee, may),
                )
            self.connection.execute("SELECT pg_notify(%s, %s)", (channel(grantee), SHARES))
        return True


def _fits(change: Change, row: Row | None) -> bool:
    """Whether the hub is where it was known to be."""
    if row is None:
        return change.base is None
    return not row.purged and (row.generation, row.last_seq) == change.base

"""A turn's lease of its session at the hub: of all machines, one runs a turn of a session at a time.

A lease is a row. The machine that holds it renews it; one that was not renewed for `EXPIRES` seconds of the
hub's clock is free: its machine died, or cannot reach the hub any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from port42_protocol.errors import HubUnavailable

if TYPE_CHECKING:  # loaded only where there is a hub
    from port42_daemon.hub.database import Database

EXPIRES = 15
RENEW_EVERY = 5.0
ANSWER_WITHIN = 1.0
"""Seconds in which the hub must answer. After that a turn begins without a lease, as without a hub."""
CAUGHT_UP_WITHIN = 10.0
"""Seconds that what another machine recorded may take to come here before a turn begins."""
_LOOK_EVERY = 0.05
_ASK_AGAIN = 0.5

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[Any]]


class Taken(NamedTuple):
    """What came of asking for a lease: the `machine` that has it, None where it is ours; and where the hub's
    session is, generation and last seq, None where it has none."""

    machine: str | None
    end: tuple[int, int] | None


class Leases:
    """`ask` runs a function of a `Database` in the hub's thread and raises `HubUnavailable`; `end` gives the
    generation and last seq of a session here, and blocks, as `in_thread` allows; `owner` gives the other
    owner who lets a session be gone on with, None for any other session."""

    def __init__(
        self,
        ask: Ask,
        end: Callable[[str], tuple[int, int] | None],
        in_thread: Ask,
        owner: Callable[[str], str | None],
    ) -> None:
        self._ask = ask
        self._end = end
        self._in_thread = in_thread
        self._owner = owner
        self._held: set[str] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._unsure = False
        """Whether the hub may have a lease of this machine that no turn holds: an answer did not come."""

    async def take(self, session_id: str, agent: str) -> str | None:
        """See `port42_daemon.turns.elsewhere.Leases`."""
        self._held.add(session_id)  # before the hub is asked, so that `_release` leaves what it gives
        try:
            taken = await self._answer(take, session_id, self._owner(session_id), agent)
            self._unsure |= taken is None
            if taken is None or taken.machine is not None:
                self._held.discard(session_id)
                return None if taken is None else str(taken.machine)
            if taken.end is not None:
                await self._catch_up(session_id, taken.end)
        except BaseException:
            self.give_back(session_id)
            raise
        return None

    def give_back(self, session_id: str) -> None:
        if session_id not in self._held:
            return  # it was taken without the hub
        self._held.discard(session_id)
        if session_id not in self._ending:
            task = self._ending[session_id] = asyncio.create_task(self._release(session_id))
            task.add_done_callback(lambda _: self._ending.pop(session_id))

    async def holder(self, session_id: str) -> str | None:
        return await self._answer(holder, session_id, self._owner(session_id))  # type: ignore[no-any-return]  # `ask` gives anything

    async def run(self) -> None:
        """Renew the leases of turns that run, until it is cancelled."""
        await self.renew()
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if self._held or self._ending or self._unsure:  # else the hub is left alone
                await self.renew()

    async def renew(self) -> None:
        """Renew them once; end the others of this machine, which an earlier process of it left."""
        unsure, self._unsure = self._unsure, False
        lost = await self._answer(renew, [*self._held, *self._ending])
        self._unsure |= unsure and lost is None
        if lost:
            log.warning("⚠ other machines took the lease of %s while this one was away", ", ".join(lost))

    async def aclose(self) -> None:
        """Wait a moment for the leases of turns that have ended; what is left of them expires."""
        if tasks := list(self._ending.values()):
            _, pending = await asyncio.wait(tasks, timeout=ANSWER_WITHIN)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _answer(self, function: Callable[..., Any], *args: Any) -> Any:
        """The hub's answer; None where it gives none."""
        with suppress(HubUnavailable, TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._ask(function, *args)
        return None

    async def _catch_up(self, session_id: str, end: tuple[int, int]) -> None:
        """Wait until the session here has what the hub has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CAUGHT_UP_WITHIN):
                while True:
                    here = await self._in_thread(self._end, session_id)
                    if here is not None and here >= end:
                        return
                    await asyncio.sleep(_LOOK_EVERY)
        log.warning("⚠ a turn of %s begins without what other machines recorded last", session_id)

    async def _release(self, session_id: str) -> None:
        """End the lease once the hub has what the turn recorded, or after `EXPIRES` seconds."""
        try:
            async with asyncio.timeout(EXPIRES):
                while True:
                    here = await self._in_thread(self._end, session_id)
                    if session_id in self._held:
                        return  # by the next turn
                    seq = here[1] if here is not None else 0
                    released = await self._answer(release, session_id, self._owner(session_id), seq)
                    if released:
                        return
                    await asyncio.sleep(_LOOK_EVERY if released is False else _ASK_AGAIN)
        except TimeoutError:
            self._unsure = True  # `renew` ends it


# --- at the hub; these block. `owner` is another one whose session it is, None for an own session ----------


def take(database: Database, session_id: str, owner: str | None, agent: str) -> Taken:
    """The lease of a session for this machine, unless another one has it."""
    session = (owner or database.owner, session_id)
    with database.connection.transaction():
        ours = database.connection.execute(
            "INSERT INTO port42.leases AS l (owner, session_id, machine, name, agent)"
            " VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (owner, session_id) DO UPDATE SET machine = excluded.machine, name = excluded.name,"
            " holder = excluded.holder, agent = excluded.agent, taken_at = now(), beat_at = now()"
            " WHERE (l.machine, l.holder) = (excluded.machine, excluded.holder)"
            " OR l.beat_at < now() - make_interval(secs => %s)"
            " RETURNING session_id",
            (*session, database.machine, database.name, agent, EXPIRES),
        ).fetchone()
        machine = None if ours else (holder(database, session_id, owner) or "another machine")
        end = database.connection.execute(
            "SELECT generation, last_seq FROM port42.sessions"
            " WHERE owner = %s AND session_id = %s AND purged_at IS NULL",
            session,
        ).fetchone()
    return Taken(machine, end)


def holder(database: Database, session_id: str, owner: str | None) -> str | None:
    """The name of the other machine that has the lease of a session now, and of its owner, if another one."""
    row = database.connection.execute(
        "SELECT name, holder FROM port42.leases WHERE owner = %s AND session_id = %s"
        " AND (machine, holder) <> (%s, session_user) AND beat_at >= now() - make_interval(secs => %s)",
        (owner or database.owner, session_id, database.machine, EXPIRES),
    ).fetchone()
    if row is None:
        return None
    name, of = row
    return str(name) if of == database.owner else f"{name} ({of})"


def renew(database: Database, session_ids: list[str]) -> list[str]:
    """Renew these leases of this machine and end its others; gives those that are not its any more."""
    mine = (database.owner, database.machine, session_ids)
    with database.connection.transaction():
        database.connection.execute(
            "DELETE FROM port42.leases WHERE holder = %s AND machine = %s AND session_id <> ALL(%s)", mine
        )
        rows = database.connection.execute(
            "UPDATE port42.leases SET beat_at = now()"
            " WHERE holder = %s AND machine = %s AND session_id = ANY(%s) RETURNING session_id",
            mine,
        ).fetchall()
    renewed = {row[0] for row in rows}
    return [session_id for session_id in session_ids if session_id not in renewed]


def release(database: Database, session_id: str, owner: str | None, seq: int) -> bool:
    """End the lease if the hub has the session through that seq, or does not have it at all.

    False where it has less: what the turn recorded is still to be pushed.
    """
    session = (owner or database.owner, session_id)
    row = database.connection.execute(
        "SELECT last_seq FROM port42.sessions WHERE owner = %s AND session_id = %s", session
    ).fetchone()
    if row is not None and row[0] < seq:
        return False
    database.connection.execute(
        "DELETE FROM port42.leases"
        " WHERE owner = %s AND session_id = %s AND machine = %s AND holder = session_user",
        (*session, database.machine),
    )
    return True

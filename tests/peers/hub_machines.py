"""Machines at a hub that do anything at any time.

machines = Machines(homes, wires, seed)
await machines.play(80)       # steps of any kind at any of them, and then all is quiet
machines.said                 # what was acknowledged
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import psycopg
from msgspec import UNSET, structs
from peers.hub_homes import HubHome, Wire, quiet

from port42_protocol.errors import RpcError
from port42_protocol.messages.forks_and_trash import DeleteSession, PruneSessions, RestoreSession
from port42_protocol.messages.records import UserMessage
from port42_protocol.messages.search import PinSession, RenameSession, TagSession

SESSIONS = [f"cli-{number}" for number in range(6)]
STEPS: dict[str, float] = {
    "say": 12,
    "fork": 1,
    "rename": 1,
    "tag": 1,
    "pin": 1,
    "rewrite": 0.7,
    "trash": 1.5,
    "restore": 1.5,
    "purge": 0.2,
    "connect": 3,
    "disconnect": 1.5,
    "restart": 0.3,
    "forget": 0.4,
    "push": 4,
    "pull": 4,
    "sync": 2,
    "cut": 2,
}
"""How often each is taken, against the others."""
_WITHIN = 120.0


class Machines:
    """Homes, what was acknowledged in them, and a step of any kind at any of them."""

    steps = STEPS

    def __init__(self, homes: Sequence[HubHome], wires: dict[str, Wire], seed: int) -> None:
        self.homes = homes
        self.wires = wires
        self.random = random.Random(seed)
        self.said: dict[str, str] = {}
        """Each message that was acknowledged, and the session in which it was recorded."""
        self.purged: set[str] = set()
        self.deleted: set[str] = set()
        """Sessions that somebody deleted for good, and the messages in them."""
        self.log: list[str] = []
        self._number = 0

    async def play(self, steps: int) -> None:
        """Take steps, then have all at the hub, and all quiet."""
        try:
            async with asyncio.timeout(_WITHIN):
                for _ in range(steps):
                    await self.step()
                for home in self.homes:
                    await home.connect()
                await self.end()
        except BaseException:
            print(*self.log, sep="\n  ")
            raise

    async def end(self) -> None:
        await quiet(*self.homes)

    async def step(self) -> None:
        home = self.random.choice(self.homes)
        name, weight = zip(*self.steps.items(), strict=True)
        step = self.random.choices(name, weight)[0]
        self.log.append(f"{home.name} {step}")
        try:
            await getattr(self, f"_{step}")(home)
        except RpcError:
            pass  # what a machine refuses changes nothing: a session that is not there, or is in the trash
        except psycopg.OperationalError:
            home.disconnect()

    def some(self, home: HubHome) -> str:
        """A session, which need not be there yet."""
        return self.random.choice([*SESSIONS, *home.all()])

    def own(self, home: HubHome) -> str:
        """One that may be replaced."""
        return self.some(home)

    async def _say(self, home: HubHome) -> None:
        session_id = self.some(home)
        self._number += 1
        text = f"message {self._number} of {home.name}"
        await home.say(session_id, text)
        self.said[text] = session_id

    async def _fork(self, home: HubHome) -> None:
        await home.fork(self.some(home))

    async def _rename(self, home: HubHome) -> None:
        title = f"Title {self.random.randrange(100)}"
        await home.sessions.rename_session(RenameSession(self.some(home), title))

    async def _tag(self, home: HubHome) -> None:
        await home.sessions.tag_session(TagSession(self.some(home), add=(f"t{self.random.randrange(9)}",)))

    async def _pin(self, home: HubHome) -> None:
        await home.sessions.pin_session(PinSession(self.some(home), pinned=self.random.random() < 0.5))

    async def _rewrite(self, home: HubHome) -> None:
        """The records are replaced by the same ones, as by an import of what has not changed."""
        session_id = self.own(home)
        async with home.sessions.order(session_id):
            records = home.stored_records(session_id)
            header = structs.replace(home.store.ends(session_id)[0], generation=UNSET)
            await home.threads.files(home.store.rewrite, header, records, "backup")

    async def _trash(self, home: HubHome) -> None:
        await home.trash.delete_session(DeleteSession(self.some(home)))

    async def _restore(self, home: HubHome) -> None:
        await home.trash.restore_session(RestoreSession(self.some(home)))

    async def _purge(self, home: HubHome) -> None:
        trashed = {name: home.stored_records(name) for name, stored in home.all().items() if stored.trashed}
        pruned = await home.trash.prune_sessions(PruneSessions(trash_older_than_days=0, dry_run=False))
        for session in pruned.deleted:
            self.purged.add(session.session_id)
            self.deleted |= {
                one.content for one in trashed[session.session_id] if isinstance(one, UserMessage)
            }

    async def _connect(self, home: HubHome) -> None:
        if home.sync is None:
            await home.connect()

    async def _disconnect(self, home: HubHome) -> None:
        home.disconnect()

    async def _restart(self, home: HubHome) -> None:
        online = home.sync is not None
        home.close()
        home.open()
        if online:
            await home.connect()

    async def _forget(self, home: HubHome) -> None:
        """Somebody deletes hub.db while the daemon does not run."""
        home.disconnect()
        (home.folder / "hub.db").unlink(missing_ok=True)

    async def _cut(self, home: HubHome) -> None:
        """The connection will be lost in the middle of whatever is said."""
        if home.sync is not None:
            wire = self.wires[home.name]
            await home.connect(wire.url)
            wire.cut_after(self.random.randrange(8000))

    async def _push(self, home: HubHome) -> None:
        if home.sync is not None:
            await home.sync.push()

    async def _pull(self, home: HubHome) -> None:
        if home.sync is not None:
            await home.sync.pull()

    async def _sync(self, home: HubHome) -> None:
        if home.sync is not None:
            await home.step()

    def places(self, *homes: HubHome) -> dict[str, set[str]]:
        """Of each acknowledged message the sessions that have it, but for forks that began with a copy."""
        found: dict[str, set[str]] = {text: set() for text in self.said}
        for home in homes:
            for session_id, stored in home.all().items():
                origin = stored.header.forked_from
                for record in home.stored_records(session_id):
                    if isinstance(record, UserMessage) and record.seq > (origin.seq if origin else 0):
                        found[record.content].add(session_id)
        return found

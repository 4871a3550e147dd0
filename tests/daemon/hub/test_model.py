"""Machines that do anything at any time: once all is quiet all have the same, nothing lost or twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import UNSET, structs
from peers.hub_homes import HubHome, Wire, at_hub, init, quiet

from port42_protocol.errors import RpcError
from port42_protocol.messages.forks_and_trash import DeleteSession, PruneSessions, RestoreSession
from port42_protocol.messages.records import UserMessage
from port42_protocol.messages.search import PinSession, RenameSession, TagSession

_SESSIONS = [f"cli-{number}" for number in range(6)]
_WITHIN = 120.0


class Machines:
    """Homes, what was acknowledged in them, and a step of any kind at any of them."""

    def __init__(self, homes: list[HubHome], wires: dict[str, Wire], seed: int) -> None:
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

    async def step(self) -> None:
        home = self.random.choice(self.homes)
        name, weight = zip(*_STEPS.items(), strict=True)
        step = self.random.choices(name, weight)[0]
        self.log.append(f"{home.name} {step}")
        try:
            await getattr(self, f"_{step}")(home)
        except RpcError:
            pass  # what a machine refuses changes nothing: a session that is not there, or is in the trash
        except psycopg.OperationalError:
            home.disconnect()

    def _some(self, home: HubHome) -> str:
        return self.random.choice([*_SESSIONS, *home.all()])

    async def _say(self, home: HubHome) -> None:
        session_id = self._some(home)
        self._number += 1
        text = f"message {self._number} of {home.name}"
        await home.say(session_id, text)
        self.said[text] = session_id

    async def _fork(self, home: HubHome) -> None:
        await home.fork(self._some(home))

    async def _rename(self, home: HubHome) -> None:
        title = f"Title {self.random.randrange(100)}"
        await home.sessions.rename_session(RenameSession(self._some(home), title))

    async def _tag(self, home: HubHome) -> None:
        await home.sessions.tag_session(TagSession(self._some(home), add=(f"t{self.random.randrange(9)}",)))

    async def _pin(self, home: HubHome) -> None:
        await home.sessions.pin_session(PinSession(self._some(home), pinned=self.random.random() < 0.5))

    async def _rewrite(self, home: HubHome) -> None:
        """The records are replaced by the same ones, as by an import of what has not changed."""
        session_id = self._some(home)
        async with home.sessions.order(session_id):
            records = home.stored_records(session_id)
            header = structs.replace(home.store.ends(session_id)[0], generation=UNSET)
            await home.threads.files(home.store.rewrite, header, records, "backup")

    async def _trash(self, home: HubHome) -> None:
        await home.trash.delete_session(DeleteSession(self._some(home)))

    async def _restore(self, home: HubHome) -> None:
        await home.trash.restore_session(RestoreSession(self._some(home)))

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

    async def end(self) -> None:
        """Have all at the hub, and all quiet."""
        for home in self.homes:
            await home.connect()
        await quiet(*self.homes)

    def check(self, url: str) -> None:
        hub = at_hub(url)
        for home in self.homes:
            here = {
                name: (stored.trashed, [(seq, line.decode()) for seq, line in stored.lines])
                for name, stored in home.all().items()
                if name in hub
            }
            differing = {name: (here.get(name), hub[name]) for name in hub if here.get(name) != hub[name]}
            assert differing == {}, (home.name, differing)
            for name in home.all().keys() - hub.keys():
                assert name in self.purged or home.all()[name].trashed, (home.name, name)
        self._check_messages()

    def _check_messages(self) -> None:
        """Each acknowledged message is in one session, besides the forks that began with a copy of it."""
        found: dict[str, set[str]] = {text: set() for text in self.said}
        for home in self.homes:
            for session_id, stored in home.all().items():
                origin = stored.header.forked_from
                for record in home.stored_records(session_id):
                    if isinstance(record, UserMessage) and record.seq > (origin.seq if origin else 0):
                        found[record.content].add(session_id)
        for text, places in found.items():
            if text not in self.deleted:
                assert len(places) == 1, (text, self.said[text], places)


_STEPS: dict[str, float] = {
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


async def _play(folder: Path, url: str, count: int, seed: int, steps: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p42-", dir="/tmp")))
        names = ["laptop", "server", "desktop", "tablet", "phone"][:count]
        homes = [await stack.enter_async_context(HubHome(folder / name, url, name)) for name in names]
        wires = {name: await stack.enter_async_context(Wire(short / name, url)) for name in names}
        machines = Machines(homes, wires, seed)
        try:
            async with asyncio.timeout(_WITHIN):
                for _ in range(steps):
                    await machines.step()
                await machines.end()
            machines.check(url)
        except BaseException:
            print(f"seed {seed}:", *machines.log, sep="\n  ")
            raise


@pytest.mark.parametrize(("count", "seed"), [(2, 1), (2, 2), (2, 3), (5, 4), (5, 5)])
def test_after_all_is_quiet_every_home_and_the_hub_have_the_same(
    tmp_path: Path, hub_url: str, count: int, seed: int
) -> None:
    init(hub_url)
    asyncio.run(_play(tmp_path, hub_url, count, seed, 80))


@pytest.mark.torture
@pytest.mark.parametrize("count", [2, 5])
def test_after_all_is_quiet_every_home_and_the_hub_have_the_same_whatever_the_order(
    tmp_path: Path, shared_postgres: Any, count: int
) -> None:
    for seed in range(300):
        url = shared_postgres.database()
        init(url)
        (tmp_path / str(seed)).mkdir()
        asyncio.run(_play(tmp_path / str(seed), url, count, seed, 150))

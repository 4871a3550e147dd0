"""Two owners who share sessions and do anything at any time: nothing is lost, and each has what is theirs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from peers.hub_homes import HubHome, Wire, all_quiet
from peers.hub_machines import STEPS, Machines

from port42_daemon.hub.schema import HubRefused
from port42_protocol.messages.records import Message


class Owners(Machines):
    """Two homes, each of another owner; `roles` are these by the names of their homes."""

    steps = STEPS | {"share": 8, "forget": 2}

    def __init__(
        self, homes: Sequence[HubHome], wires: dict[str, Wire], seed: int, roles: dict[str, str]
    ) -> None:
        super().__init__(homes, wires, seed)
        self.roles = roles

    def some(self, home: HubHome) -> str:
        return self.random.choice([*self._begun_by(home), *home.all()])

    def own(self, home: HubHome) -> str:
        return self.random.choice(self._begun_by(home))

    def _begun_by(self, home: HubHome) -> list[str]:
        return [f"{home.name}-{number}" for number in range(2)]

    async def _share(self, home: HubHome) -> None:
        other = next(role for name, role in self.roles.items() if name != home.name)
        may = self.random.choice(["read", "write", "write", None])
        if home.sync is not None:
            with contextlib.suppress(HubRefused):  # the hub does not have it, or not yet
                await home.share(self.own(home), other, may)

    async def end(self) -> None:
        await all_quiet(*self.homes)


def messages(home: HubHome, session_id: str) -> list[str]:
    return [record.content for record in home.stored_records(session_id) if isinstance(record, Message)]


def check(owners: Owners, url: str) -> None:
    with psycopg.connect(url) as hub:
        rows = hub.execute("SELECT owner, session_id, purged_at IS NOT NULL FROM port42.sessions").fetchall()
        shared = hub.execute("SELECT owner, session_id FROM port42.shares").fetchall()
    names = {role: name for name, role in owners.roles.items()}
    homes = {home.name: home for home in owners.homes}
    for owner, session_id, purged in rows:
        home = homes[names[owner]]
        begun_by = session_id.partition("-")[0]
        assert begun_by not in names.values() or begun_by == home.name, (owner, session_id)
        if purged:
            continue
        assert home.stored(session_id) is not None, (owner, session_id)
        assert not home.stored(session_id).header.hub_owner  # type: ignore[union-attr]
        if (owner, session_id) in shared:
            (other,) = [each for each in owners.homes if each is not home]
            assert messages(other, session_id) == messages(home, session_id), session_id
    for home in owners.homes:
        for text, places in owners.places(home).items():
            if text.endswith(f" of {home.name}") and text not in owners.deleted:
                assert len(places) == 1, (text, owners.said[text], places)
        for session_id in home.all():
            for record in home.stored_records(session_id):
                if isinstance(record, Message):
                    writer = record.content.rpartition(" of ")[2]
                    assert (record.author or "") == ("" if writer == home.name else owners.roles[writer])


def play(people: Any, seed: int, steps: int) -> None:
    async def work(ada: HubHome, ben: HubHome) -> None:
        async with contextlib.AsyncExitStack() as stack:
            short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p42-", dir="/tmp")))
            wires = {
                home.name: await stack.enter_async_context(Wire(short / home.name, home.url))
                for home in (ada, ben)
            }
            owners = Owners([ada, ben], wires, seed, {ada.name: people.ada, ben.name: people.ben})
            await owners.play(steps)
            check(owners, people.url)

    people(work)


# 130 is the one of forty that finds a home which, without hub.db, takes for its own what was shared with it.
_SEEDS = [1, 130, *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(200, 500))]


@pytest.mark.parametrize("seed", _SEEDS)
def test_after_all_is_quiet_each_owner_has_what_is_theirs_and_what_is_shared(people, seed):
    play(people, seed, 100)

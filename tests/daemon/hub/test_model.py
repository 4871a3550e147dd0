"""Machines that do anything at any time: once all is quiet all have the same, nothing lost or twice."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from peers.hub_homes import HubHome, Wire, at_hub, init
from peers.hub_machines import Machines


def check(machines: Machines, url: str) -> None:
    hub = at_hub(url)
    for home in machines.homes:
        here = {
            name: (stored.trashed, [(seq, line.decode()) for seq, line in stored.lines])
            for name, stored in home.all().items()
            if name in hub
        }
        differing = {name: (here.get(name), hub[name]) for name in hub if here.get(name) != hub[name]}
        assert differing == {}, (home.name, differing)
        for name in home.all().keys() - hub.keys():
            assert name in machines.purged or home.all()[name].trashed, (home.name, name)
    for text, places in machines.places(*machines.homes).items():
        if text not in machines.deleted:
            assert len(places) == 1, (text, machines.said[text], places)


async def _play(folder: Path, url: str, count: int, seed: int, steps: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p42-", dir="/tmp")))
        names = ["laptop", "server", "desktop", "tablet", "phone"][:count]
        homes = [await stack.enter_async_context(HubHome(folder / name, url, name)) for name in names]
        wires = {name: await stack.enter_async_context(Wire(short / name, url)) for name in names}
        machines = Machines(homes, wires, seed)
        await machines.play(steps)
        check(machines, url)


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

"""Homes that meet at a hub: two machines of one owner, and one machine each of two owners."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from peers.hub_homes import HubHome, init
from peers.postgres import Server

_WITHIN = 60.0
Work = Callable[[Any, Any], Awaitable[Any]]


def _at_hub(homes: Sequence[HubHome], work: Work) -> Any:
    async def all_of_them() -> Any:
        async with asyncio.timeout(_WITHIN), contextlib.AsyncExitStack() as stack:
            for home in homes:
                await stack.enter_async_context(home)
                await home.connect()
            return await work(*homes)

    return asyncio.run(all_of_them())


@pytest.fixture
def meet(tmp_path: Path, hub_url: str) -> Callable[..., Any]:
    """Runs a coroutine function with two homes of one owner, both at the hub."""
    init(hub_url)

    def run(work: Work, kind: type[HubHome] = HubHome) -> Any:
        return _at_hub([kind(tmp_path / name, hub_url, name) for name in ("laptop", "server")], work)

    return run


class People(NamedTuple):
    """Two owners, the `team` that both are in, and the addresses of the hub: a superuser's, and theirs."""

    folder: Path
    url: str
    ada: str
    ben: str
    team: str
    ada_url: str
    ben_url: str

    def __call__(self, work: Work) -> Any:
        """Run a coroutine function with the homes of both, at the hub."""
        ada = HubHome(self.folder / "ada", self.ada_url, "ada")
        return _at_hub([ada, HubHome(self.folder / "ben", self.ben_url, "ben")], work)


@pytest.fixture
def people(tmp_path: Path, shared_postgres: Server) -> People:
    url = shared_postgres.database()
    init(url)
    mark = uuid.uuid4().hex[:8]
    ada, ben, team = (f"{name}_{mark}" for name in ("ada", "ben", "team"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{team}"')
        for role in (ada, ben):
            connection.execute(f'CREATE ROLE "{role}" LOGIN IN ROLE "{team}"')
    database = url.partition("?")[0].rpartition("/")[2]
    return People(
        tmp_path, url, ada, ben, team, shared_postgres.url(database, ada), shared_postgres.url(database, ben)
    )

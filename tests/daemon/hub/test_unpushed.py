"""Sessions that were changed and are not pushed yet: how many they are, and that none is left."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from peers.hub_homes import HubHome, quiet

from port42_daemon.hub.service import Hub
from port42_daemon.hub.unpushed import Unpushed
from port42_protocol.messages.search import TagSession


def test_what_the_hub_lacks_is_counted_and_what_stays_here_is_not(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        for session_id in ("cli-1", "cli-2"):
            await laptop.say(session_id, "one")
        await laptop.say("cli-3", "mine")
        await laptop.sessions.tag_session(TagSession("cli-3", add=("private",)))
        await quiet(laptop, server)
        laptop.disconnect()
        await laptop.say("cli-1", "two")
        unpushed = Unpushed(laptop.folder, laptop.sessions)
        assert await unpushed.count(laptop.config) is None  # nobody looked
        await unpushed.look(laptop.config)
        assert await unpushed.count(laptop.config) == 1
        for session_id in ("cli-2", "cli-1", "cli-3", "cli-4", "cli-4"):
            await laptop.say(session_id, "three")
        assert await unpushed.count(laptop.config) == await unpushed.count(laptop.config) == 3
        assert unpushed.take() == ["cli-2", "cli-1", "cli-3", "cli-4"]
        assert (unpushed.take(), await unpushed.count(laptop.config)) == ([], None)

    meet(work)


def test_without_hub_db_everything_that_may_leave_waits(meet):
    async def work(laptop: HubHome, server: HubHome) -> None:
        await laptop.say("cli-1", "one")
        await laptop.say("cli-2", "another agent's", agent="ai-engineer")
        await quiet(laptop, server)
        laptop.disconnect()
        (laptop.folder / "hub.db").unlink()
        only_these = HubHome(laptop.folder, "", "", agents=["ai-engineer"]).config
        unpushed = Unpushed(laptop.folder, laptop.sessions)
        await unpushed.look(only_these)
        assert await unpushed.count(only_these) == 1

    meet(work)


def test_what_is_changed_just_behind_what_is_taken_is_taken_at_once(
    rules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not with the next change or heartbeat."""
    take, late = Unpushed.take, ["cli-2"]

    async def sync() -> None:
        hub = Hub(rules.home, rules.agents, rules.sessions, rules.queues)
        loop, dirty = asyncio.get_running_loop(), dict[str, None]()

        def take_and_change(unpushed: Unpushed) -> list[str]:
            taken = take(unpushed)
            if late:
                hub._session_changed(loop, late.pop())
            return taken

        async def step() -> bool:
            if "cli-2" in dirty:
                hub._reconfigured.set()  # ends it
                hub._work.set()
            return False

        monkeypatch.setattr(Unpushed, "take", take_and_change)
        hub._session_changed(loop, "cli-1")
        connection: Any = SimpleNamespace(
            sync=SimpleNamespace(dirty=dirty), step=step, until_heartbeat=lambda: 600.0, lag_ms=0
        )
        await asyncio.wait_for(hub._sync(connection), 20)
        assert list(dirty) == ["cli-1", "cli-2"]

    asyncio.run(sync())

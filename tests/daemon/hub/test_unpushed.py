"""How many sessions wait to be pushed while there is no hub."""

from __future__ import annotations

from peers.hub_homes import HubHome, quiet

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

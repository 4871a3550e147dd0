"""Of two machines one runs a turn of a session at a time, and begins it with what the other one recorded."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from peers.hub_homes import AGENT, HubHome, init

from port42_daemon.hub.lease import Leases
from port42_daemon.hub.local import LocalSessions
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.turns import elsewhere
from port42_daemon.turns.elsewhere import kept_off
from port42_protocol.errors import HubUnavailable, RequestCancelled, SessionBusy

_WITHIN = 60.0


def leases_of(home: HubHome) -> Leases:
    async def ask(function, *args):
        if home.database is None:
            raise HubUnavailable("it is gone")
        try:
            return await home.threads.hub(function, home.database, *args)
        except psycopg.Error:
            raise HubUnavailable("it is gone") from None

    return Leases(ask, LocalSessions(home.sessions, home.name, "hub").end, home.threads.files)


@pytest.fixture
def meet(tmp_path, hub_url):
    """Runs a coroutine function with two homes, both at the hub, and their leases."""
    init(hub_url)

    def run(work):
        async def both():
            async with (
                asyncio.timeout(_WITHIN),
                HubHome(tmp_path / "laptop", hub_url, "laptop") as laptop,
                HubHome(tmp_path / "server", hub_url, "server") as server,
            ):
                await laptop.connect()
                await server.connect()
                laptop.leases, server.leases = leases_of(laptop), leases_of(server)
                await work(laptop, server)
                await laptop.leases.aclose()
                await server.leases.aclose()

        asyncio.run(both())

    return run


async def until(condition):
    """Wait until `condition()`, a coroutine function's, is true."""
    while True:
        if await condition():
            return
        await asyncio.sleep(0.01)


def test_one_machine_has_a_session_until_it_gives_it_back(meet):
    async def work(laptop, server):
        assert await laptop.leases.take("cli-1", AGENT) is None
        assert await server.leases.take("cli-1", AGENT) == "laptop"
        assert await server.leases.take("cli-2", AGENT) is None
        assert (await server.leases.holder("cli-1"), await laptop.leases.holder("cli-1")) == ("laptop", None)
        laptop.leases.give_back("cli-1")

        async def is_ours():
            return await server.leases.take("cli-1", AGENT) is None

        await until(is_ours)
        assert await laptop.leases.take("cli-1", AGENT) == "server"

    meet(work)


def test_a_lease_ends_only_when_the_hub_has_what_the_turn_recorded(meet):
    async def work(laptop, server):
        await laptop.say("cli-1", "one")
        await laptop.step()
        await server.step()
        assert await laptop.leases.take("cli-1", AGENT) is None
        await laptop.say("cli-1", "two")
        laptop.leases.give_back("cli-1")
        for _ in range(5):
            assert await server.leases.take("cli-1", AGENT) == "laptop"
        await laptop.step()
        taking = asyncio.create_task(until_taken(server))
        while not taking.done():
            await server.step()
        assert server.texts("cli-1") == ["one", "two"]

    async def until_taken(server):
        async def is_ours():
            return await server.leases.take("cli-1", AGENT) is None

        await until(is_ours)

    meet(work)


def test_a_turn_begins_with_what_the_other_machine_recorded(meet):
    async def work(laptop, server):
        await laptop.say("cli-1", "one")
        await laptop.step()
        await server.step()
        await laptop.say("cli-1", "two")
        await laptop.step()
        taking = asyncio.create_task(server.leases.take("cli-1", AGENT))
        done, _ = await asyncio.wait([taking], timeout=0.3)
        assert not done
        await server.step()
        assert await taking is None
        assert server.texts("cli-1") == ["one", "two"]

    meet(work)


def age(home):
    """As if no machine had renewed a lease for longer than they last."""
    home.database.connection.execute("UPDATE port42.leases SET beat_at = beat_at - interval '1 minute'")


def test_the_lease_of_a_machine_that_died_is_free_and_one_that_is_renewed_is_not(meet):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        await laptop.leases.take("cli-2", AGENT)
        age(laptop)
        assert await server.leases.holder("cli-1") is None
        assert await server.leases.take("cli-1", AGENT) is None
        age(laptop)
        await server.leases.renew()
        assert await laptop.leases.take("cli-1", AGENT) == "server"

    meet(work)


def test_a_machine_that_was_away_for_long_is_told_what_it_lost(meet, caplog):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        age(laptop)
        await server.leases.take("cli-1", AGENT)
        await laptop.leases.renew()
        assert "other machines took the lease of cli-1" in caplog.text

    meet(work)


def test_a_restarted_machine_ends_what_it_had(meet):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        again = leases_of(laptop)
        await again.renew()
        assert await server.leases.take("cli-1", AGENT) is None

    meet(work)


def test_a_daemon_that_stops_ends_the_leases_of_its_turns(meet):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        laptop.leases.give_back("cli-1")
        await laptop.leases.aclose()
        assert await server.leases.take("cli-1", AGENT) is None

    meet(work)


def test_without_the_hub_a_turn_begins_at_once(meet):
    async def work(laptop, server):
        assert await laptop.leases.take("cli-1", AGENT) is None
        server.disconnect()
        assert await server.leases.take("cli-1", AGENT) is None
        assert await server.leases.holder("cli-1") is None
        server.leases.give_back("cli-1")

    meet(work)


class OtherMachine:
    """Leases of which another machine has each, until `free`."""

    def __init__(self):
        self.free, self.back = False, []

    async def take(self, session_id, agent):
        return None if self.free else "laptop"

    def give_back(self, session_id):
        self.back.append(session_id)


async def enter(queues, other, tell, entries):
    async with queues.enter("cli-1", AGENT) as entry:
        entries.append(entry)
        async with kept_off(other, queues, entry, "cli-1", tell):
            entries.append("runs")


def test_while_a_turn_waits_for_another_machine_its_session_can_be_changed(monkeypatch):
    monkeypatch.setattr(elsewhere, "ASK_EVERY", 0.01)

    async def work():
        queues, other, told, entries = SessionQueues(), OtherMachine(), asyncio.Queue(), []
        turn = asyncio.create_task(enter(queues, other, told.put_nowait, entries))
        assert await told.get() == "laptop"
        assert queues.busy("cli-1")
        assert queues.is_free("cli-1")
        async with queues.exclusive("cli-1"):
            assert not queues.is_free("cli-1")
            with pytest.raises(SessionBusy):
                async with queues.exclusive("cli-1"):
                    pass
            other.free = True
            done, _ = await asyncio.wait([turn], timeout=0.1)
            assert not done  # it waits for whoever changes the session
        await turn
        assert entries[1:] == ["runs"]
        assert other.back == ["cli-1"]
        assert not queues.busy("cli-1")

    asyncio.run(work())


def test_a_turn_that_waits_can_be_cancelled_and_one_that_does_not_wait_is_refused():
    async def work():
        queues, other, told = SessionQueues(), OtherMachine(), asyncio.Queue()
        turn = asyncio.create_task(enter(queues, other, told.put_nowait, []))
        await told.get()
        queues.cancel_head("cli-1")
        with pytest.raises(RequestCancelled):
            await turn
        with pytest.raises(SessionBusy, match="a turn is under way on laptop") as refused:
            await enter(queues, other, None, [])
        assert refused.value.data["machine"] == "laptop"
        assert other.back == []

    asyncio.run(work())

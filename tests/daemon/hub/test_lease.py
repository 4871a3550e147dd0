"""Of two machines one runs a turn of a session at a time, and begins it with what the other one recorded."""

from __future__ import annotations

import asyncio
import functools

import psycopg
import pytest
from peers.hub_homes import AGENT, all_quiet

from port42_daemon.hub import lease
from port42_daemon.hub.lease import Leases
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.turns import elsewhere
from port42_daemon.turns.elsewhere import kept_off
from port42_protocol.errors import HubUnavailable, RequestCancelled, SessionBusy


def leases_of(home) -> Leases:
    async def ask(function, *args):
        if home.database is None:
            raise HubUnavailable("it is gone")
        try:
            return await home.threads.hub(function, home.database, *args)
        except psycopg.Error:
            raise HubUnavailable("it is gone") from None

    def owner(session_id):
        return home.sync.owner_to_continue(session_id) if home.sync is not None else None

    return Leases(ask, home.end, home.threads.files, owner)


async def with_leases(work, *homes):
    for home in homes:
        home.leases = leases_of(home)
    await work(*homes)
    for home in homes:
        await home.leases.aclose()


@pytest.fixture
def machines(meet):
    """Runs a coroutine function with two homes of one owner and their leases."""
    return lambda work: meet(functools.partial(with_leases, work))


async def until_taken(home):
    while await home.leases.take("cli-1", AGENT) is not None:
        pass


def test_one_machine_has_a_session_until_it_gives_it_back(machines):
    async def work(laptop, server):
        assert await laptop.leases.take("cli-1", AGENT) is None
        assert await server.leases.take("cli-1", AGENT) == "laptop"
        assert await server.leases.take("cli-2", AGENT) is None
        assert (await server.leases.holder("cli-1"), await laptop.leases.holder("cli-1")) == ("laptop", None)
        laptop.leases.give_back("cli-1")
        await until_taken(server)
        assert await laptop.leases.take("cli-1", AGENT) == "server"

    machines(work)


def test_a_lease_ends_only_when_the_hub_has_what_the_turn_recorded(machines):
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

    machines(work)


def test_a_turn_begins_with_what_the_other_machine_recorded(machines):
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

    machines(work)


def test_two_owners_take_the_same_lease_of_a_session_that_both_may_continue(people):
    async def work(ada, ben):
        await ada.say("cli-1", "one")
        await all_quiet(ada)
        assert await ada.share("cli-1", people.team, "write")
        await all_quiet(ben)
        for home, other, text in ((ada, ben, "two"), (ben, ada, "three")):
            named = f"{home.name} ({people.ada if home is ada else people.ben})"
            taking = asyncio.create_task(until_taken(home))
            while not taking.done():
                await home.step()
            assert await other.leases.take("cli-1", AGENT) == await other.leases.holder("cli-1") == named
            await home.leases.renew()
            await home.say("cli-1", text)
            home.leases.give_back("cli-1")
            await home.step()
        assert ben.texts("cli-1") == ["one", "two", "three"]
        assert ben.all().keys() == {"cli-1"}

    people(functools.partial(with_leases, work))


def test_who_may_continue_a_session_cannot_take_a_lease_away_and_who_may_read_it_takes_none(people):
    async def work(ada, ben):
        for session_id, may in (("cli-1", "write"), ("cli-2", "read")):
            await ada.say(session_id, "one")
            await all_quiet(ada)
            assert await ada.share(session_id, people.ben, may)
            await all_quiet(ben)
            assert await ada.leases.take(session_id, AGENT) is None
        assert await ben.leases.take("cli-2", AGENT) is None  # what is said there becomes an own fork
        with psycopg.connect(people.ben_url, autocommit=True) as hub:
            of_ada = (people.ada,)
            for statement in ("UPDATE port42.leases SET holder = session_user", "DELETE FROM port42.leases"):
                assert hub.execute(f"{statement} WHERE owner = %s", of_ada).rowcount == 0
            for session_id, holder in (("cli-2", people.ben), ("cli-1", people.ada)):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    hub.execute(
                        "INSERT INTO port42.leases (owner, session_id, machine, agent, holder)"
                        " VALUES (%s, %s, gen_random_uuid(), '', %s)",
                        (people.ada, session_id, holder),
                    )
        age(ada)
        assert await ben.leases.take("cli-1", AGENT) is None
        assert await ada.leases.take("cli-1", AGENT) is not None

    people(functools.partial(with_leases, work))


def age(home):
    """As if no machine had renewed a lease for longer than they last."""
    home.database.connection.execute("UPDATE port42.leases SET beat_at = beat_at - interval '1 minute'")


def test_the_lease_of_a_machine_that_died_is_free_and_one_that_is_renewed_is_not(machines):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        await laptop.leases.take("cli-2", AGENT)
        age(laptop)
        assert await server.leases.holder("cli-1") is None
        assert await server.leases.take("cli-1", AGENT) is None
        age(laptop)
        await server.leases.renew()
        assert await laptop.leases.take("cli-1", AGENT) == "server"

    machines(work)


def test_a_machine_that_was_away_for_long_is_told_what_it_lost(machines, caplog):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        age(laptop)
        await server.leases.take("cli-1", AGENT)
        await laptop.leases.renew()
        assert "other machines took the lease of cli-1" in caplog.text

    machines(work)


def test_a_restarted_machine_ends_what_it_had(machines):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        again = leases_of(laptop)
        await again.renew()
        assert await server.leases.take("cli-1", AGENT) is None

    machines(work)


def test_a_daemon_that_stops_ends_the_leases_of_its_turns(machines):
    async def work(laptop, server):
        await laptop.leases.take("cli-1", AGENT)
        laptop.leases.give_back("cli-1")
        await laptop.leases.aclose()
        assert await server.leases.take("cli-1", AGENT) is None

    machines(work)


def test_a_lease_that_was_given_back_while_the_hub_was_away_ends_when_it_answers_again(machines):
    async def work(laptop, server):
        failed = asyncio.Event()

        async def at_first_away(function, *args):
            if not failed.is_set():
                failed.set()
                raise HubUnavailable("it is gone")
            return await ask(function, *args)

        assert await laptop.leases.take("cli-1", AGENT) is None
        ask, laptop.leases._ask = laptop.leases._ask, at_first_away
        laptop.leases.give_back("cli-1")
        await failed.wait()
        async with asyncio.timeout(lease.EXPIRES / 2):
            await until_taken(server)

    machines(work)


def test_a_lease_whose_answer_came_too_late_is_ended_by_the_next_renewal(machines, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_EVERY", 0.01)

    async def work(laptop, server):
        async def late(function, *args):
            answer = await ask(function, *args)
            if function is lease.take:
                raise HubUnavailable("the answer came too late")
            return answer

        ask, laptop.leases._ask = laptop.leases._ask, late
        renewing = asyncio.create_task(laptop.leases.run())
        await asyncio.sleep(0)  # the first renewal is asked for
        assert await laptop.leases.take("cli-1", AGENT) is None
        laptop.leases.give_back("cli-1")
        async with asyncio.timeout(lease.EXPIRES / 2):
            await until_taken(server)
        renewing.cancel()

    machines(work)


def test_without_the_hub_a_turn_begins_at_once(machines):
    async def work(laptop, server):
        assert await laptop.leases.take("cli-1", AGENT) is None
        server.disconnect()
        assert await server.leases.take("cli-1", AGENT) is None
        assert await server.leases.holder("cli-1") is None
        server.leases.give_back("cli-1")

    machines(work)


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

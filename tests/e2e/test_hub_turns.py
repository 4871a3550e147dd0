"""Two machines at one hub: a turn on one is followed and waited for on the other."""

from __future__ import annotations

import json

import psycopg
import pytest
from peers.hub_homes import init
from peers.talk import Talk, Tap, configure, outline


@pytest.fixture
def machine(home, start_daemon):
    """Starts the daemon of a machine at the hub; its agent `tap` says what the test writes to its `tap`."""

    def start(name, url):
        folder = home.parent / name
        folder.mkdir(mode=0o700)
        tap = Tap(folder)
        configure(folder / "home", tap=tap.command, shout=["tr", "a-z", "A-Z"])
        with (folder / "home" / "config.toml").open("a") as config:
            config.write(f"[hub]\nurl = {json.dumps(url)}\nmachine = {json.dumps(name)}\n")
        daemon = start_daemon(home=folder / "home", socket=folder / "s.sock")
        daemon.tap = tap
        with Talk(daemon) as talk:
            while talk.call("get_hub")["state"] != "connected":
                pass
        return daemon

    return start


@pytest.fixture
def machines(machine, hub_url):
    """Two machines of one owner."""
    init(hub_url)
    return machine("server", hub_url), machine("laptop", hub_url)


@pytest.fixture
def owners(home, machine, hub_url):
    """Machines of two owners, and the role of the second one."""
    init(hub_url)
    role = f"ben_{home.parent.name.replace('-', '_')}"
    with psycopg.connect(hub_url, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{role}" LOGIN')
    return machine("server", hub_url), machine("laptop", hub_url.replace("postgres@", f"{role}@")), role


def has(talk, session_id):
    """Wait until the session is on that machine."""
    while True:
        answer = talk.answer(talk.send("get_session", session_id=session_id))
        if "result" in answer:
            return


def test_a_turn_is_followed_on_the_other_machine_and_goes_on_there(machines):
    server, laptop = machines
    with Talk(server) as there, Talk(laptop) as here:
        asked = there.send("possess", agent="tap", message="count", stream=True)
        with server.tap.open() as say:
            session_id = there.event("message")["session_id"]
            has(here, session_id)
            here.call("subscribe", session_id=session_id, since_seq=0)
            assert here.event("message")["message"]["content"] == "count"
            say("one ")
            assert here.event("text")["text"] == "one "
            say("two")
            assert here.event("text")["text"] == "two"
        assert there.result(asked)["reply"] == "one two"
        assert here.event("message")["message"]["content"] == "one two"
        here.event("ended")
        assert here.call("possess", agent="shout", message="x")["reply"] == "X"  # nothing waits
        assert outline(laptop, session_id) == [("user", "count"), ("assistant", "one two")]


def test_a_message_waits_for_the_other_machines_turn_and_is_recorded_behind_it(machines):
    server, laptop = machines
    with Talk(server) as there, Talk(laptop) as here:
        asked = there.send("possess", agent="tap", message="first", stream=True)
        with server.tap.open() as say:
            session_id = there.event("message")["session_id"]
            has(here, session_id)
            busy = here.answer(
                here.send("possess", agent="tap", message="x", session_id=session_id, if_busy="error")
            )["error"]
            assert (busy["data"]["kind"], busy["data"]["machine"]) == ("session_busy", "server")
            waits = here.send("possess", agent="tap", message="second", session_id=session_id, stream=True)
            assert here.event("waiting")["machine"] == "server"
            say("one")
        there.answer(asked)
        with laptop.tap.open() as say:
            say("two")
        assert here.result(waits)["reply"] == "two"
        said = [("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two")]
        assert outline(laptop, session_id) == said
        while outline(server, session_id) != said:
            pass
        assert there.call("get_hub")["forks"] == here.call("get_hub")["forks"] == []


def test_a_turn_of_another_owner_is_waited_for_and_each_ones_records_have_the_name(owners):
    server, laptop, ben = owners
    with Talk(server) as there, Talk(laptop) as here:
        session = {"session_id": there.call("create_session", agent="tap")["session_id"]}
        there.call("share_session", **session, grantee=ben, may="write")
        has(here, session["session_id"])
        asked = there.send("possess", agent="tap", message="first", **session)
        with server.tap.open() as say:
            refused = here.answer(here.send("possess", agent="tap", message="x", **session, if_busy="error"))
            assert refused["error"]["data"]["machine"] == "server (postgres)"
            waits = here.send("possess", agent="tap", message="second", **session)
            say("one")
        there.answer(asked)
        with laptop.tap.open() as say:
            say("two")
        assert here.result(waits)["reply"] == "two"
        said = [("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two")]
        while outline(server, session["session_id"]) != said:
            pass
        for talk, other, theirs in ((there, ben, (3, 4)), (here, "postgres", (1, 2))):
            messages = talk.call("get_session", **session)["messages"]
            assert {one["seq"]: one.get("author") for one in messages} == {
                seq: other if seq in theirs else None for seq in (1, 2, 3, 4)
            }

"""Two machines at one hub: a turn on one is followed and waited for on the other."""

from __future__ import annotations

import json

import pytest
from peers.talk import Talk, Tap, configure, outline


@pytest.fixture
def machines(home, start_daemon, hub_url):
    """The daemons of two machines; the agent `tap` of each says what the test writes to its `tap`."""
    daemons = {}
    for name in ("server", "laptop"):
        folder = home.parent / name
        folder.mkdir(mode=0o700)
        tap = Tap(folder)
        configure(folder / "home", tap=tap.command, shout=["tr", "a-z", "A-Z"])
        with (folder / "home" / "config.toml").open("a") as config:
            config.write(f"[hub]\nurl = {json.dumps(hub_url)}\nmachine = {json.dumps(name)}\n")
        daemons[name] = start_daemon(home=folder / "home", socket=folder / "s.sock")
        daemons[name].tap = tap
        if name == "server":
            daemons[name].call("init_hub")
    for daemon in daemons.values():
        with Talk(daemon) as talk:
            while talk.call("get_hub")["state"] != "connected":
                pass
    return daemons["server"], daemons["laptop"]


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

"""`possess` of a session in which another machine runs a turn: it waits, is refused, or forks."""

from __future__ import annotations

import asyncio

import pytest
from peers.parts import RecordingPeer

from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.turns import elsewhere
from port42_daemon.turns.service import Turns
from port42_protocol.errors import SessionBusy
from port42_protocol.messages.records import ToolRecord
from port42_protocol.messages.sessions import AppendMessage
from port42_protocol.messages.turns import Possess


class Elsewhere:
    """Leases: the laptop has every session until `take` was asked `times` times."""

    def __init__(self, times):
        self.times, self.back = times, []

    async def take(self, session_id, agent):
        self.times -= 1
        return "laptop" if self.times >= 0 else None

    def give_back(self, session_id):
        self.back.append(session_id)

    async def holder(self, session_id):
        return "laptop" if self.times > 0 else None


@pytest.fixture
def turns_with(rules, monkeypatch):
    monkeypatch.setattr(elsewhere, "ASK_EVERY", 0.01)
    rules.ask(rules.turns.possess, Possess("ai-muse", "one", client="cli"))

    def turns(leases):
        return Turns(rules.sessions, rules.agents, rules.lineage, rules.queues, leases)

    return turns


def contents(rules, session_id):
    page = rules.store.read(session_id, after_seq=0, limit=100, max_bytes=1_000_000, events=False)
    return [record.content for record in page.records]


def test_it_waits_and_says_for_which_machine(rules, turns_with):
    leases = Elsewhere(3)
    peer, session_id = RecordingPeer(), rules.store.last_sessions["ai-muse"]
    request = Possess("ai-muse", "two", session_id, stream=True)
    result = asyncio.run(turns_with(leases).possess(request, peer, Cancellation()))
    assert (result.seq, leases.back) == (2, [session_id])
    waiting = [event for event in peer.events if event["kind"] == "waiting"]
    assert [(event["position"], event["machine"]) for event in waiting] == [(1, "laptop")]


def test_who_does_not_wait_is_refused_and_nothing_recorded(rules, turns_with):
    session_id = rules.store.last_sessions["ai-muse"]
    with pytest.raises(SessionBusy, match="under way on laptop"):
        rules.ask(turns_with(Elsewhere(9)).possess, Possess("ai-muse", "two", session_id, if_busy="error"))
    assert contents(rules, session_id) == ["one"]
    assert not rules.queues.busy(session_id)


def test_a_fork_has_what_stood_before_the_other_machines_question(rules, turns_with):
    session_id = rules.store.last_sessions["ai-muse"]
    for role, text in (("assistant", "ONE"), ("user", "of the laptop")):
        rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", session_id, role, text))
    turns = turns_with(Elsewhere(1))
    turns._leases.take = lambda *_: asyncio.sleep(0)  # nobody has the fork
    fork = rules.ask(turns.possess, Possess("ai-muse", "two", session_id, if_busy="fork"))
    assert fork.session_id != session_id
    assert contents(rules, fork.session_id) == ["one", "ONE", "two"]


def test_a_fork_has_nothing_of_the_other_machines_turn_however_much_that_did(rules, turns_with):
    session_id = rules.store.last_sessions["ai-muse"]
    for role, text in (("assistant", "ONE"), ("user", "of the laptop")):
        rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", session_id, role, text))
    when = "2026-01-01T00:00:00.000Z"
    calls = [
        ToolRecord(seq=0, timestamp=when, id=f"call-{number}", title="cat", state="done", output="x" * 65_536)
        for number in range(20)
    ]
    with rules.store.writing(session_id) as session:
        session.append(calls, use=None)
    turns = turns_with(Elsewhere(1))
    turns._leases.take = lambda *_: asyncio.sleep(0)
    fork = rules.ask(turns.possess, Possess("ai-muse", "two", session_id, if_busy="fork"))
    assert contents(rules, fork.session_id) == ["one", "ONE", "two"]


def test_a_new_session_has_a_lease_too(rules, turns_with):
    leases = Elsewhere(0)
    result = rules.ask(turns_with(leases).possess, Possess("ai-muse", "new", client="cli"))
    assert leases.back == [result.session_id]

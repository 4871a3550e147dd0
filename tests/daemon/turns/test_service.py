"""`possess` with no back end: the message is recorded, once for a key, and nothing pretends to answer."""

from __future__ import annotations

import json

import pytest

from port42_protocol.errors import SessionNotFound, UnknownAgent, WrongAgent
from port42_protocol.messages.events import Possessed
from port42_protocol.messages.turns import Possess


@pytest.fixture
def possess(rules):
    def possess(*messages: str, agent: str = "ai-muse", **more):
        return rules.ask(rules.turns.possess, *[Possess(agent, message, **more) for message in messages])

    return possess


def test_a_first_message_begins_a_session(rules, possess):
    begun = possess("build a parser\nin C", client="cli", cwd="/tmp")
    assert (begun.seq, begun.status) == (1, "recorded")
    assert begun.session_id.startswith("cli-")
    kept = json.loads((rules.home / "sessions" / f"{begun.session_id}.json").read_bytes())
    assert (kept["title"], kept["cwd"], kept["client"]) == ("build a parser", "/tmp", "cli")
    assert [(record["role"], record["content"]) for record in kept["messages"]] == [
        ("user", "build a parser\nin C")
    ]
    assert rules.store.last_sessions.get("ai-muse") == begun.session_id


def test_later_messages_go_on_with_it(possess):
    begun = possess("one")
    assert possess("two", session_id=begun.session_id) == Possessed(begun.session_id, 2, "recorded")


def test_a_key_begins_one_session_also_when_many_ask_at_once(rules, possess):
    first, *again = possess(*["hello"] * 20, idempotency_key="k")
    assert set(again) == {first}
    assert rules.store.catalogue.counts() == {"ai-muse": 1}
    assert possess("hello", idempotency_key="k") == first
    assert possess("hello", idempotency_key="other") != first
    assert possess("hello", agent="ai-analyst", idempotency_key="k") != first


def test_many_first_messages_at_once_begin_as_many_sessions(rules, possess):
    begun = possess(*map(str, range(30)))
    assert len({item.session_id for item in begun}) == 30
    assert rules.store.catalogue.counts() == {"ai-muse": 30}


def test_an_unknown_agent_is_refused_with_the_nearest_names_and_nothing_begun(rules, possess):
    with pytest.raises(UnknownAgent, match="Did you mean @ai-engineer") as refused:
        possess("hello", agent="ai-enginer")
    assert refused.value.data["suggestions"][0] == "ai-engineer"
    with pytest.raises(UnknownAgent) as refused:
        possess("hello", agent="zzz")
    assert refused.value.data["suggestions"] == []
    assert list((rules.home / "sessions").iterdir()) == []


def test_another_agents_session_and_one_that_is_not_there(possess):
    theirs = possess("mine", agent="ai-analyst").session_id
    with pytest.raises(WrongAgent):
        possess("x", session_id=theirs)
    with pytest.raises(SessionNotFound, match="session never not found"):
        possess("x", session_id="never")

"""Titles, tags and pins: recorded once, heard by who listens, and no use of the session."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from peers.parts import RecordingPeer

from port42_protocol.errors import InvalidParams, WrongAgent
from port42_protocol.messages.forks_and_trash import ForkSession
from port42_protocol.messages.search import PinSession, RenameSession, TagSession
from port42_protocol.messages.sessions import CreateSession, FindSession, GetLastSession, GetSession
from port42_protocol.messages.turns import Subscribe


@pytest.fixture
def session(rules):
    return rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="mine"))


def events(rules) -> list[tuple]:
    page = rules.ask(rules.sessions.get_session, GetSession("mine", events=True))
    return [(record.event, record.title, record.tags, record.pinned) for record in page.messages]


def test_each_change_is_one_event_and_none_is_recorded_twice(rules, session):
    marks = rules.sessions
    for _ in range(2):
        assert rules.ask(marks.rename_session, RenameSession("mine", "ode")).title == "ode"
        assert rules.ask(marks.tag_session, TagSession("mine", ("a", "b"))).tags == ("a", "b")
        assert rules.ask(marks.pin_session, PinSession("mine")).pinned
    assert [event[0] for event in events(rules)] == ["renamed", "tagged", "pinned"]
    assert rules.ask(marks.tag_session, TagSession("mine", ("b", "c"), ("a", "c"))).tags == ("b", "c")
    assert rules.ask(marks.tag_session, TagSession("mine", ("c", "b"))).tags == ("b", "c")
    assert not rules.ask(marks.pin_session, PinSession("mine", pinned=False)).pinned
    assert len(events(rules)) == 5


def test_it_is_no_use_of_the_session(rules, session):
    rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="newer"))
    marked = rules.ask(rules.sessions.pin_session, PinSession("mine"))
    assert marked.last_activity == session.last_activity
    assert rules.ask(rules.sessions.get_last_session, GetLastSession("ai-muse")).session_id == "newer"


def test_another_agents_stays_as_it_is(rules, session):
    with pytest.raises(WrongAgent):
        rules.ask(rules.sessions.rename_session, RenameSession("mine", "theirs", "ai-analyst"))
    assert events(rules) == []


def test_too_many_tags_are_refused_by_their_name_and_none_is_put_on(rules, session):
    for number in range(2):
        tags = tuple(f"t{number}-{one}" for one in range(16))
        rules.ask(rules.sessions.tag_session, TagSession("mine", tags))
    with pytest.raises(InvalidParams) as refused:
        rules.ask(rules.sessions.tag_session, TagSession("mine", ("one-more",)))
    assert refused.value.data["field"] == "add"
    assert len(events(rules)) == 2


def test_subscribers_hear_of_it(rules, session):
    async def listen() -> list[dict]:
        peer = RecordingPeer()
        await rules.events.subscribe(Subscribe(session_id="mine"), peer)
        await rules.sessions.rename_session(RenameSession("mine", "ode"))
        await peer.heard("message")
        return peer.of("message")

    (heard,) = asyncio.run(listen())
    assert (heard["message"]["event"], heard["message"]["title"]) == ("renamed", "ode")


def test_last_is_no_title_for_it_means_another_session(rules, session):
    for handler, request in (
        (rules.sessions.rename_session, RenameSession("mine", "last")),
        (rules.sessions.rename_session, RenameSession("mine", " last ")),
        (rules.sessions.create_session, CreateSession("ai-muse", title="last")),
        (rules.sessions.create_session, CreateSession("ai-muse", title="@ai-muse")),
        (rules.lineage.fork_session, ForkSession("mine", title="last")),
    ):
        with pytest.raises(InvalidParams) as refused:
            rules.ask(handler, request)
        assert refused.value.data["field"] == "title"
    assert rules.ask(rules.sessions.rename_session, RenameSession("mine", "last words")).title == "last words"


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_title_is_found_however_its_accents_are_composed(rules, session, form, asked):
    title = "Crème Brûlée, Ångström, Việt"
    rules.ask(rules.sessions.rename_session, RenameSession("mine", unicodedata.normalize(form, title)))
    for ref in (title, title.upper(), title[:8]):
        found = rules.ask(rules.sessions.find_session, FindSession(unicodedata.normalize(asked, ref)))
        assert found.session_id == "mine"

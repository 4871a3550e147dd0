"""Forks by the rules: whose they are, what they begin with, and the family that they make."""

from __future__ import annotations

import json

import pytest

from port42_protocol.errors import InvalidParams, SessionNotFound, UnknownAgent, WrongAgent
from port42_protocol.messages.forks_and_trash import DeleteSession, ForkSession, PruneSessions, SessionTree
from port42_protocol.messages.records import ForkPoint
from port42_protocol.messages.sessions import AppendMessage, CreateSession


@pytest.fixture
def begin(rules):
    def begin(session_id: str, *contents: str, agent: str = "ai-muse", **more) -> str:
        rules.ask(rules.sessions.create_session, CreateSession(agent, session_id, **more))
        for content in contents:
            said = AppendMessage(agent, session_id, "user", content)
            rules.ask(rules.sessions.append_message, said)
        return session_id

    return begin


@pytest.fixture
def fork(rules):
    return lambda session_id, *more, **named: rules.ask(
        rules.lineage.fork_session, ForkSession(session_id, *more, **named)
    )


@pytest.fixture
def tree(rules):
    return lambda session_id: rules.ask(rules.lineage.session_tree, SessionTree(session_id))


def test_a_fork_is_its_agents_last_session_and_the_original_stays(rules, begin, fork):
    begin("one", "a", "b", metadata={"thread": 7}, cwd="/srv")
    before = (rules.home / "sessions" / "one.json").read_bytes()
    made = fork("one", client="cli")
    assert made.session_id.startswith("cli-")
    assert (made.message_count, made.cwd, made.forked_from) == (2, "/srv", ForkPoint("one", 2))
    assert rules.store.last_sessions.get("ai-muse") == made.session_id
    assert (rules.home / "sessions" / "one.json").read_bytes() == before
    assert rules.store.ends(made.session_id)[0].metadata == {}


def test_a_fork_may_be_another_agents_and_the_originals_last_session_stays(rules, begin, fork):
    begin("one", "a")
    made = fork("one", to_agent="ai-engineer", title="elsewhere", cwd="/tmp")
    assert (made.agent, made.title, made.cwd) == ("ai-engineer", "elsewhere", "/tmp")
    assert rules.store.last_sessions.get("ai-muse") == "one"
    assert rules.store.last_sessions.get("ai-engineer") == made.session_id
    written = json.loads((rules.home / "sessions" / f"{made.session_id}.json").read_bytes())
    assert written["title"] == "elsewhere"


def test_what_is_refused_makes_nothing(rules, begin, fork):
    begin("one", "a")
    for wrong, error in (
        ({"agent": "ai-engineer"}, WrongAgent),
        ({"to_agent": "ai-enginer"}, UnknownAgent),
        ({"at_seq": 2}, InvalidParams),
    ):
        with pytest.raises(error):
            fork("one", **wrong)
    with pytest.raises(SessionNotFound):
        fork("gone")
    assert [path.name for path in (rules.home / "sessions").iterdir()] == ["one.json"]
    assert rules.store.last_sessions.get("ai-muse") == "one"


def test_a_family_is_told_from_any_of_its_members(begin, fork, tree, rules):
    begin("one", "a", "b")
    left = fork("one", 1).session_id
    right = fork("one").session_id
    leaf = fork(left).session_id
    begin("stranger", "x")
    expected = [("one", None, None), (left, "one", 1), (leaf, left, 2), (right, "one", 2)]
    for member in ("one", left, right, leaf):
        family = tree(member)
        assert [(node.session_id, node.parent, node.at_seq) for node in family.nodes] == expected
        assert family.complete
        assert all(node.session is not None for node in family.nodes)
    assert [node.session_id for node in tree("stranger").nodes] == ["stranger"]
    with pytest.raises(SessionNotFound):
        tree("gone")


def test_parents_in_the_trash_and_gone_ones_are_shown_as_such(begin, fork, tree, rules):
    begin("one", "a")
    middle = fork("one").session_id
    leaf = fork(middle).session_id
    rules.ask(rules.trash.delete_session, DeleteSession(middle))
    shown = [(node.session_id, node.trashed, node.session is None) for node in tree(leaf).nodes]
    assert shown == [("one", False, False), (middle, True, True), (leaf, False, False)]
    rules.ask(rules.trash.prune_sessions, PruneSessions(trash_older_than_days=0, dry_run=False))
    (first, second) = tree(leaf).nodes
    assert (first.session_id, first.trashed, first.session) == (middle, False, None)
    assert (second.session_id, second.parent) == (leaf, middle)


def test_a_circle_of_headers_that_a_hand_made_is_told_once(begin, fork, tree, rules):
    begin("one", "a")
    made = fork("one").session_id
    path = rules.home / "sessions" / "one.json"
    point = f'"forked_from":{{"session_id":"{made}","seq":1}}'
    path.write_bytes(path.read_bytes().replace(b'"forked_from":null', point.encode()))
    rules.store.summary("one")
    assert {node.session_id for node in tree("one").nodes} == {"one", made}

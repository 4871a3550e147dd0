"""A start that meets damaged sessions does not wait for them, and no answer names a wrong one meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from peers.session_files import header, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import indexer
from port42_daemon.store.session_file import cache
from port42_protocol.messages.sessions import (
    CreateSession,
    FindSession,
    GetLastSession,
    ListSessions,
)


@pytest.fixture
def gate(monkeypatch):
    """Recovery waits until it is set, and lists do not wait for any."""
    monkeypatch.setattr(indexer, "_LARGE", 0)
    gate, real = threading.Event(), cache.recover

    def recover(*args):
        assert gate.wait(30)
        return real(*args)

    monkeypatch.setattr(cache, "recover", recover)
    yield gate
    gate.set()


@pytest.fixture
def home(tmp_path):
    """Of two agents; the sessions that they used last are damaged, and no file says which those are."""
    home = tmp_path / "damaged"
    store = FileStore(home)
    store.open()
    for agent, number in (("ada", 1), ("ada", 2), ("bob", 3)):
        store.create(header(f"cli-{number}", agent), [said(f"message {number}"), said("more")])
    store.close()
    (home / "index.db").unlink()
    for name in ("cli-2", "cli-3"):
        path = home / "sessions" / f"{name}.json"
        path.write_bytes(path.read_bytes()[:-20])
    return home


@pytest.fixture
def damaged(rules, home, gate):
    damaged = type(rules)(home)  # opened, though nothing can be recovered yet
    yield damaged
    gate.set()
    damaged.close()


def test_lists_have_the_sound_sessions_and_say_how_many_are_not_known_yet(damaged, gate):
    page = damaged.ask(damaged.listing.list_sessions, ListSessions())
    assert [session.session_id for session in page.sessions] == ["cli-1"]
    assert page.unreadable == 2
    assert "2 damaged sessions still to be recovered" in (damaged.store.catalogue.status().reason or "")
    gate.set()
    assert damaged.store.catalogue.wait_recovered()
    page = damaged.ask(damaged.listing.list_sessions, ListSessions())
    assert [session.session_id for session in page.sessions] == ["cli-3", "cli-2", "cli-1"]
    assert not page.unreadable


def test_the_first_list_has_what_a_moment_recovers(rules, home):
    few = type(rules)(home)
    try:
        page = few.ask(few.listing.list_sessions, ListSessions())
        assert [session.session_id for session in page.sessions] == ["cli-3", "cli-2", "cli-1"]
        assert not page.unreadable
    finally:
        few.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda rules: rules.sessions.get_last_session(GetLastSession("ada")),
        lambda rules: rules.sessions.find_session(FindSession("message 2")),
    ],
)
def test_a_question_whose_answer_may_be_a_damaged_session_waits_for_it(damaged, gate, ask):
    async def asked():
        waiting = asyncio.ensure_future(ask(damaged))
        created = await damaged.sessions.create_session(CreateSession("eve", session_id="new-1"))
        assert created.session_id == "new-1"  # what needs no damaged session does not wait
        assert not waiting.done()
        gate.set()
        return (await waiting).session_id

    assert asyncio.run(asked()) == "cli-2"


def test_the_last_sessions_are_written_once_all_are_known(damaged, home, gate):
    damaged.ask(damaged.sessions.create_session, CreateSession("bob", session_id="new-2"))
    assert not (home / "agent_sessions.json").exists()  # a kill now: the next start rebuilds it again
    gate.set()
    asyncio.run(damaged.sessions.complete_last_sessions())
    # What was used since is the last one, whatever was recovered.
    assert json.loads((home / "agent_sessions.json").read_bytes()) == {"ada": "cli-2", "bob": "new-2"}


def test_a_store_that_is_closed_before_writes_no_part_of_the_last_sessions(home, gate):
    store = FileStore(home)
    store.open()
    closing = threading.Thread(target=store.close)
    closing.start()  # waits for the session that is being recovered
    gate.set()
    closing.join(30)
    assert not closing.is_alive()
    assert not (home / "agent_sessions.json").exists()

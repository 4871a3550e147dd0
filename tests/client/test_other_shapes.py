"""Answers and events of other shapes than the protocol says: an error says so, no traceback does."""

from __future__ import annotations

import pytest
from peers.cli_fixtures import answering, connected
from peers.requests import SUMMARY

from port42_client.errors import DaemonError, NoDaemon


@pytest.mark.parametrize("other", [None, [], {}, "text", {**SUMMARY, "session_id": 5}])
def test_whoever_stumbles_over_a_result_of_another_shape_is_told_so(peer, other):
    with pytest.raises(NoDaemon, match="Summary is not what"), connected(peer(answering(other))) as client:
        client.ask("get_last_session", {"agent": "a"})["session_id"].upper()


def test_a_mistake_of_ones_own_stays_what_it_is(peer):
    with pytest.raises(KeyError, match="own"), connected(peer(answering(SUMMARY))) as client:
        raise KeyError("own" + client.ask("get_last_session", {"agent": "a"})["session_id"])


def test_an_event_of_another_shape(peer):
    def script(talk):
        request = talk.request()
        talk.send({"jsonrpc": "2.0", "method": "session_event", "params": {"kind": "text", "text": 5}})
        talk.answer(request, {})

    with pytest.raises(NoDaemon, match="event is not what"), connected(peer(script)) as client:
        [event["text"].upper() for event in client.stream("possess")]


@pytest.mark.parametrize(
    "error", [{"code": 5, "message": {"a": 1}}, {"code": 5, "message": "no", "data": [1]}]
)
def test_errors_of_another_shape(peer, error):
    def script(talk):
        talk.send({"jsonrpc": "2.0", "id": talk.request()["id"], "error": error})

    with connected(peer(script)) as client, pytest.raises((NoDaemon, DaemonError), match=r"JSON-RPC|no"):
        client.ask("status")


def test_a_page_that_leads_to_itself_is_asked_for_twice_at_most(peer):
    fake = peer(answering({"sessions": [], "next_cursor": "again"}))
    with connected(fake) as client:
        for ask in (
            lambda: client.ask_rows("list_sessions", {}, "sessions"),
            lambda: list(client.ask_pages("list_sessions", {})),
        ):
            with pytest.raises(NoDaemon, match="same page"):
                ask()
    assert len(fake.requests) == 4

"""Pages of lists and of hits: each session and each hit once, whatever happens between two pages."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.session_files import add, header, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import SessionFilter
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import UserMessage
from port42_protocol.messages.search import SearchSessions
from port42_protocol.messages.sessions import AppendMessage, CreateSession


@settings(max_examples=15)
@given(st.data())
def test_paging_shows_no_session_twice_and_misses_none_that_was_not_used(tmp_path_factory, data):
    store = FileStore(tmp_path_factory.mktemp("home"))
    store.open()
    ids = [f"cli-{number}" for number in range(12)]
    for session_id in ids:
        store.create(header(session_id), [said("hello")])
    seen, used, before, second, more = [], set(), None, 2, True
    while more:
        rows, before, _ = store.catalogue.page(SessionFilter(), before, data.draw(st.integers(1, 5)))
        seen += [row.session_id for row in rows]
        more = before is not None
        for session_id in data.draw(st.lists(st.sampled_from(ids), max_size=3)):
            second += 1
            at = f"2026-01-01T00:00:{second % 60:02}.{second:03}Z"
            add(store, session_id, UserMessage(seq=0, content="x", timestamp=at))
            used.add(session_id)
    store.close()
    assert len(seen) == len(set(seen))
    assert set(ids) - set(seen) <= used


def test_hits_are_paged_in_one_order_while_others_come(rules):
    find = rules.listing.search_sessions
    rules.ask(rules.sessions.create_session, CreateSession("ai-muse", session_id="one"))

    def say(number: int) -> None:
        words = "ode " * (number % 7 + 1) + str(number)
        rules.ask(rules.sessions.append_message, AppendMessage("ai-muse", "one", "user", words))

    for number in range(25):
        say(number)
    whole = [hit.seq for hit in rules.ask(find, SearchSessions("ode", limit=100)).hits]
    seen, cursor = [], None
    while True:
        page = rules.ask(find, SearchSessions("ode", limit=4, cursor=cursor))
        seen += [hit.seq for hit in page.hits]
        say(99)
        if not (cursor := page.next_cursor):
            break
    assert seen == whole
    assert sorted(whole) == list(range(1, 26))


@pytest.mark.parametrize("cursor", ["x", "!!!!", "MQ", "YSBi", "LTEgMA", "é"])
def test_a_cursor_that_was_never_given_is_refused(rules, cursor):
    with pytest.raises(InvalidParams, match="cursor: expected a next_cursor"):
        rules.ask(rules.listing.search_sessions, SearchSessions("ode", cursor=cursor))


def test_a_cursor_beyond_everything_is_an_empty_page_or_refused(rules):
    for numbers in ("5 99999", f"{1 << 62} 0"):
        cursor = base64.urlsafe_b64encode(numbers.encode()).decode().rstrip("=")
        assert rules.ask(rules.listing.search_sessions, SearchSessions("x", cursor=cursor)).hits == ()
    cursor = base64.urlsafe_b64encode(f"{1 << 70} 0".encode()).decode().rstrip("=")
    with pytest.raises(InvalidParams):
        rules.ask(rules.listing.search_sessions, SearchSessions("x", cursor=cursor))

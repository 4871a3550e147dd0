"""Lists and search hits, as terminals and scripts get them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from peers.drawing import drawn, piped

from port42_cli.views import sessions as subject
from port42_protocol.messages.search import Hit, Mark
from port42_protocol.messages.sessions import ListedSession

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def listed(**changes):
    facts = {
        "session_id": "cli-1757350466684",
        "agent": "ai-engineer",
        "title": "build a parser",
        "state": "active",
        "created_at": "2026-11-23T11:00:00.000Z",
        "last_activity": "2026-11-23T11:57:00.000Z",
        "message_count": 1234,
        "cwd": None,
        "short_id": "cli-17573504",
    }
    return ListedSession(**(facts | changes))


def test_a_session_is_a_row_with_its_short_id_first():
    row = drawn(subject.sessions([listed()], NOW), 100).splitlines()[1]
    assert row.split() == ["cli-17573504", "@ai-engineer", "build", "a", "parser", "1,234", "3", "min", "ago"]


def test_a_script_gets_the_whole_id_and_the_title_to_the_letter():
    view = subject.sessions(
        [listed(title="a\x1b]0;title", pinned=True, tags=("x", "y")), listed(title=None)], NOW
    )
    assert piped(view) == [
        "cli-1757350466684\tai-engineer\t1234\t2026-11-23T11:57:00.000Z\tactive pinned #x #y\ta\x1b]0;title",
        "cli-1757350466684\tai-engineer\t1234\t2026-11-23T11:57:00.000Z\tactive\t",
    ]


def test_pin_tags_end_and_a_missing_title_are_shown():
    page = drawn(
        subject.sessions([listed(state="ended"), listed(title=None), listed(pinned=True, tags=("x",))], NOW),
        100,
    )
    assert "build a parser (ended)" in page
    assert "(untitled)" in page
    assert "📌 build a parser #x" in page


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_short_id_is_never_cut(width):
    page = drawn(subject.sessions([listed(title="a long title " * 20)], NOW), width)
    assert "cli-17573504" in page
    assert len(page.splitlines()) == 2, "a session is a line"


def test_hits_are_grouped_by_session_for_people_and_in_order_for_scripts():
    first, second = listed(), listed(session_id="cli-2", title="another")
    hits = [
        Hit(first, 3, "user", "T", "a parser for you", (Mark(2, 8),)),
        Hit(second, 1, "user", "T", "parsers", (Mark(0, 7),), "ben"),
        Hit(first, 0, "title", "T", "build a parser", (Mark(8, 14),)),
    ]
    assert piped(subject.hits(hits, NOW)) == [
        "cli-1757350466684:3: a parser for you",
        "cli-2:1: parsers",
        "cli-1757350466684:0: build a parser",
    ]
    assert drawn(subject.hits(hits, NOW)).splitlines() == [
        "cli-1757350466684  @ai-engineer · 3 min ago  build a parser",
        "  3 user: a parser for you",
        "  0 title: build a parser",
        "  port42 possess @ai-engineer -s cli-1757350466684",
        "",
        "cli-2  @ai-engineer · 3 min ago  another",
        "  1 user (ben): parsers",
        "  port42 possess @ai-engineer -s cli-2",
        "",
    ]
    coloured = drawn(subject.hits(hits, NOW), color_system="standard", force_terminal=True)
    assert "a \x1b[1;33mparser\x1b[0m for you" in coloured

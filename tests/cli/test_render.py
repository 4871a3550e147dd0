"""What a terminal shows, drawn by rich into text of a known width."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from port42_cli import render
from port42_protocol import messages as m

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
HOSTILE = "x\x1b[2J\x9b31m\u202e[red]y[/red]"


def drawn(renderable, width=100):
    page = io.StringIO()
    Console(file=page, width=width, highlight=False).print(renderable)
    return page.getvalue()


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
    return m.ListedSession(**(facts | changes))


def agent(**changes):
    facts = {
        "agent": "ai-engineer",
        "source": "built-in",
        "system": "You build.",
        "backend": "none",
        "session_count": 2,
        "last_session": "cli-1",
    }
    return m.Agent(**(facts | changes))


def test_a_session_is_a_row_with_its_short_id_first():
    row = drawn(render.sessions([listed()], NOW)).splitlines()[1]
    assert row.split() == ["cli-17573504", "@ai-engineer", "build", "a", "parser", "1,234", "3", "min", "ago"]


def test_an_ended_and_an_untitled_session_say_so():
    page = drawn(render.sessions([listed(state="ended"), listed(title=None)], NOW))
    assert "build a parser (ended)" in page
    assert "(untitled)" in page


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_short_id_is_never_cut(width):
    page = drawn(render.sessions([listed(title="a long title " * 20)], NOW), width)
    assert "cli-17573504" in page
    assert len(page.splitlines()) == 2, "a session is a line"


def test_an_agent_is_a_row_with_its_persona_in_a_line():
    page = drawn(render.agents([agent(system="first\nsecond " + "long " * 50), agent(last_session=None)]))
    assert len(page.splitlines()) == 3
    assert "first␊second" in page
    assert "–" in page


def test_the_status_shows_a_config_error_only_when_there_is_one():
    facts = ["0.1.0", 1, 7, 3720.0, "/h", "/s", 3, 1, 2, m.Limits(1, 1, 1, 1, 1)]
    page = drawn(render.status(m.DaemonStatus(*facts, None)))
    assert "0.1.0, pid 7, up 1 h 2 min" in page
    assert "1 connection, 2 requests" in page
    assert "config" not in page
    assert "line 3" in drawn(render.status(m.DaemonStatus(*facts, "line 3: …")))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3600, "1 h 0 min")]
)
def test_an_uptime_is_short(seconds, shown):
    facts = ["0.1.0", 1, 7, seconds, "/h", "/s", 3, 1, 2, m.Limits(1, 1, 1, 1, 1), None]
    first = drawn(render.status(m.DaemonStatus(*facts))).splitlines()[0]
    assert first.rstrip().endswith(f"up {shown}")


def test_the_overview_shows_where_each_was_left_and_what_to_type():
    page = drawn(render.overview([listed()], ["ai-muse"], NOW))
    assert "cli-1757350466684" in page
    assert "Not spoken to yet: @ai-muse" in page
    assert "port42 possess @ai-engineer -c" in page


def test_the_overview_of_a_clean_machine_offers_no_session_to_go_on_with():
    page = drawn(render.overview([], ["ai-muse"], NOW))
    assert 'port42 possess @ai-muse "…"' in page
    assert "-c" not in page


def test_a_transcript_shows_who_said_what():
    said = m.Message(seq=1, role="user", content="hello\nthere", timestamp="2026-11-23T11:00:00.000Z")
    event = m.Message(seq=2, role="event", event="ended", timestamp="2026-11-23T11:01:00.000Z")
    page = drawn(render.messages([said, event]))
    assert page.splitlines()[0] == "user  1 · 2026-11-23 11:00"
    assert [line.rstrip() for line in page.splitlines()][1:4] == ["  hello", "  there", ""]
    assert "ended  2 · 2026-11-23 11:01" in page


def test_the_heading_says_whose_and_how_long_ago():
    page = drawn(render.heading(listed(), NOW))
    assert "cli-1757350466684  build a parser" in page
    assert "@ai-engineer · 1,234 messages · active · last used 3 min ago" in page


def test_the_boot_banner_tells_the_back_ends_true_state():
    page = drawn(render.boot_banner(agent(), None))
    assert "@ai-engineer" in page
    assert "a new one, with your first message" in page
    assert "none: messages are recorded, nothing answers" in page
    assert "cli-1757350466684" in drawn(render.boot_banner(agent(), listed()))


def test_what_others_wrote_neither_moves_the_cursor_nor_means_markup():
    said = m.Message(seq=1, role="user", content=HOSTILE, timestamp="2026-11-23T11:00:00.000Z")
    pages = [
        drawn(render.sessions([listed(title=HOSTILE)], NOW)),
        drawn(render.overview([listed(title=HOSTILE)], [], NOW)),
        drawn(render.heading(listed(title=HOSTILE), NOW)),
        drawn(render.boot_banner(agent(), listed(title=HOSTILE))),
        drawn(render.agents([agent(system=HOSTILE)])),
        drawn(render.messages([said])),
    ]
    for page in pages:
        assert "x␛[2J<U+009B>31m<U+202E>[red]y[/red]" in page
        assert not set("\x1b\x9b\u202e") & set(page)


def test_show_prints_to_stdout_or_stderr(capsys):
    render.show("here")
    render.show("there", to_stderr=True)
    assert capsys.readouterr() == ("here\n", "there\n")

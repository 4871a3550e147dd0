"""What a terminal shows, drawn by rich into text of a known width."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from port42_cli.views import terminal
from port42_protocol.messages.agents import Agent
from port42_protocol.messages.records import Message, Reference, TurnRecord
from port42_protocol.messages.sessions import ListedSession

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
    return ListedSession(**(facts | changes))


def agent(**changes):
    facts = {
        "agent": "ai-engineer",
        "source": "built-in",
        "system": "You build.",
        "backend": "none",
        "model": None,
        "health": "none",
        "detail": "records only",
        "session_count": 2,
        "last_session": "cli-1",
    }
    return Agent(**(facts | changes))


def test_a_session_is_a_row_with_its_short_id_first():
    row = drawn(terminal.sessions([listed()], NOW)).splitlines()[1]
    assert row.split() == ["cli-17573504", "@ai-engineer", "build", "a", "parser", "1,234", "3", "min", "ago"]


def test_an_ended_and_an_untitled_session_say_so():
    page = drawn(terminal.sessions([listed(state="ended"), listed(title=None)], NOW))
    assert "build a parser (ended)" in page
    assert "(untitled)" in page


@pytest.mark.parametrize("width", [50, 80, 200])
def test_the_short_id_is_never_cut(width):
    page = drawn(terminal.sessions([listed(title="a long title " * 20)], NOW), width)
    assert "cli-17573504" in page
    assert len(page.splitlines()) == 2, "a session is a line"


def test_an_agent_is_a_row_with_its_state_and_the_reason_in_a_line():
    claude = {"backend": "claude", "model": "opus", "health": "needs_auth"}
    page = drawn(terminal.agents([agent(**claude, detail="first\nsecond " + "long " * 50), agent()]))
    _, one, two = page.splitlines()
    assert one.split()[:6] == ["@ai-engineer", "claude", "opus", "needs", "auth", "2"]
    assert "first␊second" in one
    assert two.split() == ["@ai-engineer", "none", "–", "none", "2", "records", "only"]


def test_all_of_an_agent_is_shown_with_its_persona():
    page = drawn(terminal.agent(agent(system="line one\nline two", last_session=None)))
    assert "Port42 itself" in page
    assert "line one" in page
    assert "line two" in page
    assert "none: messages are recorded, nothing answers" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "config"}, "claude · opus · ready · /bin/claude"),
        ({"source": "built-in"}, "claude · opus · ready, by the key in the daemon's environment"),
        ({"source": "config", "health": "needs_auth"}, "claude · opus · needs auth · /bin/claude"),
    ],
)
def test_the_banner_says_plainly_what_answers_and_by_whose_key(changes, words):
    facts = {"backend": "claude", "model": "opus", "health": "ready", "detail": "/bin/claude"}
    assert words in drawn(terminal.boot_banner(agent(**(facts | changes)), None))


def test_the_overview_shows_where_each_was_left_and_what_to_type():
    page = drawn(terminal.overview([listed()], ["ai-muse"], NOW))
    assert "cli-1757350466684" in page
    assert "Not spoken to yet: @ai-muse" in page
    assert "port42 possess @ai-engineer -c" in page


def test_the_overview_of_a_clean_machine_offers_no_session_to_go_on_with():
    page = drawn(terminal.overview([], ["ai-muse"], NOW))
    assert 'port42 possess @ai-muse "…"' in page
    assert "-c" not in page


def test_a_transcript_shows_who_said_what():
    said = Message(seq=1, role="user", content="hello\nthere", timestamp="2026-11-23T11:00:00.000Z")
    event = Message(seq=2, role="event", event="ended", timestamp="2026-11-23T11:01:00.000Z")
    page = drawn(terminal.messages([said, event]))
    assert page.splitlines()[0] == "user  1 · 2026-11-23 11:00"
    assert [line.rstrip() for line in page.splitlines()][1:4] == ["  hello", "  there", ""]
    assert "ended  2 · 2026-11-23 11:01" in page


def reply(**changes):
    facts = {"seq": 2, "role": "assistant", "content": "# A *reply*", "timestamp": "2026-11-23T11:00:00.000Z"}
    return Message(**(facts | changes))


def test_a_reply_is_markdown_and_says_how_its_turn_went():
    turn = TurnRecord(backend="claude", model="opus", input_tokens=1200, output_tokens=34, total_ms=2345)
    page = drawn(terminal.messages([reply(status="interrupted", turn=turn)]))
    head, *text = page.splitlines()
    assert head == "assistant  2 · 2026-11-23 11:00 · interrupted · 2.3 s · 1,200 + 34 tokens · opus"
    assert "A reply" in "".join(text)
    assert "#" not in page


def test_a_failure_names_its_kind_and_a_question_what_it_refers_to():
    failed = reply(role="error", content="slow down", kind="rate_limit", question=1)
    assert drawn(terminal.messages([failed])).startswith("error  2 · 2026-11-23 11:00 · rate limit\n")
    asked = reply(role="user", references=(Reference("file", "/tmp/notes", "12345"),))
    assert "📎 file /tmp/notes (5 characters)" in drawn(terminal.messages([asked]))


def test_the_heading_says_whose_and_how_long_ago():
    page = drawn(terminal.heading(listed(), NOW))
    assert "cli-1757350466684  build a parser" in page
    assert "@ai-engineer · 1,234 messages · active · last used 3 min ago" in page


def test_the_boot_banner_tells_the_back_ends_true_state():
    page = drawn(terminal.boot_banner(agent(), None))
    assert "@ai-engineer" in page
    assert "a new one, with your first message" in page
    assert "none: messages are recorded, nothing answers" in page
    assert "cli-1757350466684" in drawn(terminal.boot_banner(agent(), listed()))


def test_what_others_wrote_neither_moves_the_cursor_nor_means_markup():
    said = Message(seq=1, role="user", content=HOSTILE, timestamp="2026-11-23T11:00:00.000Z")
    pages = [
        drawn(terminal.sessions([listed(title=HOSTILE)], NOW)),
        drawn(terminal.overview([listed(title=HOSTILE)], [], NOW)),
        drawn(terminal.heading(listed(title=HOSTILE), NOW)),
        drawn(terminal.boot_banner(agent(), listed(title=HOSTILE))),
        drawn(terminal.agents([agent(detail=HOSTILE)])),
        drawn(terminal.agent(agent(system=HOSTILE))),
        drawn(terminal.messages([said])),
        drawn(terminal.messages([reply(content=HOSTILE)])),
        drawn(terminal.messages([reply(references=(Reference("text", HOSTILE, "x"),))])),
    ]
    for page in pages:
        assert "x␛[2J<U+009B>31m<U+202E>[red]y[/red]" in page
        assert not set("\x1b\x9b\u202e") & set(page)


def test_show_prints_to_stdout_or_stderr(capsys):
    terminal.show("here")
    terminal.show("there", to_stderr=True)
    assert capsys.readouterr() == ("here\n", "there\n")

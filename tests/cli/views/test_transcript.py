"""Transcripts and the banner of a conversation, as terminals and scripts get them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from peers.drawing import drawn, drawn_lines, piped

from port42_cli.views import transcript as subject
from port42_protocol.messages.agents import Agent
from port42_protocol.messages.records import (
    ErrorMessage,
    EventRecord,
    Reference,
    Summary,
    TurnRecord,
    UserMessage,
    convert_record,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
TIME = "2026-11-23T11:00:00.000Z"
SUMMARY = Summary(
    "cli-1757350466684",
    "ai-engineer",
    "build a parser",
    "active",
    TIME,
    "2026-11-23T11:57:00.000Z",
    1234,
    None,
)
AGENT = Agent("ai-engineer", "built-in", "You build.", "none", None, "none", "records only", 2, "cli-1")


def reply(**changes):
    return convert_record(
        {"seq": 2, "role": "assistant", "content": "# A *reply*", "timestamp": TIME} | changes
    )


@pytest.fixture(autouse=True)
def utc(timezone):
    timezone("UTC")


def test_a_terminal_shows_local_times_and_scripts_get_utc(timezone):
    timezone("Asia/Kolkata")
    question = UserMessage(seq=1, content="hello", timestamp="2026-11-23T20:00:00.000Z")
    assert drawn_lines(subject.messages([question]))[0] == "user  1 · 2026-11-24 01:30"
    assert piped(subject.messages([question])) == ["[1] user 2026-11-23T20:00:00.000Z\nhello\n"]


def test_messages_are_shown_under_their_role():
    question = UserMessage(seq=1, content="hello\nthere", timestamp=TIME)
    event = EventRecord(seq=2, event="ended", timestamp=TIME)
    assert drawn_lines(subject.messages([question, event])) == [
        "user  1 · 2026-11-23 11:00",
        "  hello",
        "  there",
        "",
        "ended  2 · 2026-11-23 11:00",
    ]


def test_scripts_get_messages_unchanged():
    question = UserMessage(seq=2, content="a\x1b[31m\nb", timestamp="T")
    event = EventRecord(seq=3, event="ended", timestamp="T")
    failure = ErrorMessage(seq=4, content="slow down", kind="rate_limit", timestamp="T")
    view = subject.messages([question, event, failure, reply(status="interrupted"), reply(status="complete")])
    assert piped(view) == [
        "[2] user T\na\x1b[31m\nb\n",
        "[3] event T\nended\n",
        "[4] error T rate_limit\nslow down\n",
        f"[2] assistant {TIME} interrupted\n# A *reply*\n",
        f"[2] assistant {TIME}\n# A *reply*\n",
    ]


def test_what_another_owner_at_the_hub_recorded_has_the_name():
    question = UserMessage(seq=1, content="hello", timestamp=TIME, author="ada")
    tool = {"id": "t", "title": "ls", "state": "done", "author": "ada"}
    event = EventRecord(seq=3, event="ended", timestamp=TIME, author="two\nlines")
    shown = [question, reply(role="tool", **tool), event, reply(status="interrupted", author="ada")]
    assert [line for line in drawn_lines(subject.messages(shown)) if "11:00" in line] == [
        "user (ada)  1 · 2026-11-23 11:00",
        "▸ ls (done) (ada)  2 · 2026-11-23 11:00",
        "ended (two lines)  3 · 2026-11-23 11:00",
        "assistant (ada)  2 · 2026-11-23 11:00 · interrupted",
    ]
    assert [line.split("\n")[0] for line in piped(subject.messages(shown))] == [
        f"[1] user {TIME} (ada)",
        f"[2] tool {TIME} (ada)",
        f"[3] event {TIME} (two lines)",
        f"[2] assistant {TIME} (ada) interrupted",
    ]


def test_a_reply_is_markdown_and_says_how_its_turn_went():
    turn = TurnRecord(backend="claude", model="opus", input_tokens=1200, output_tokens=34, total_ms=2345)
    head, *text = drawn_lines(subject.messages([reply(status="interrupted", turn=turn)]), 100)
    assert head == "assistant  2 · 2026-11-23 11:00 · interrupted · 2.3 s · tokens: 1,200 in, 34 out · opus"
    assert "A reply" in "".join(text)
    assert "#" not in "".join(text)


def test_a_failure_names_its_kind_and_a_question_what_it_refers_to():
    failed = reply(role="error", content="slow down", kind="rate_limit", question=1)
    assert drawn(subject.messages([failed])).startswith("error  2 · 2026-11-23 11:00 · rate limit\n")
    question = reply(role="user", references=(Reference("file", "/tmp/notes", "12345"),))
    assert "📎 file /tmp/notes (5 characters)" in drawn(subject.messages([question]))


def test_the_heading_is_for_people_only():
    assert drawn_lines(subject.heading(SUMMARY, NOW)) == [
        "cli-1757350466684  build a parser",
        "@ai-engineer · 1,234 messages · active · last used 3 min ago",
        "",
    ]
    assert piped(subject.heading(SUMMARY, NOW)) == []


def test_the_boot_banner_shows_agent_session_and_back_end():
    page = drawn(subject.boot_banner(AGENT, None))
    assert "@ai-engineer" in page
    assert "a new one, with your first message" in page
    assert "none: messages are recorded without a reply" in page
    assert "cli-1757350466684  1,234 messages  build a parser" in drawn(
        subject.boot_banner(AGENT, SUMMARY), 100
    )

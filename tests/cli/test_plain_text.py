"""The words: ages, counts, piped lines, and what a terminal must not be told."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest

from port42_cli import plain_text
from port42_client.errors import DaemonError
from port42_protocol.counting import count
from port42_protocol.errors import (
    AmbiguousSession,
    InvalidParams,
    SessionDamaged,
    SessionNotFound,
    UnknownAgent,
    WrongAgent,
)
from port42_protocol.messages.records import TurnRecord

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def as_daemon_error(error):
    return DaemonError(error.code, error.message, error.data)


def lines_of(error):
    return list(plain_text.problem(as_daemon_error(error), NOW))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"), (0, "now"), (1, "1 s ago"), (59.9, "59 s ago"), (60, "1 min ago"),
        (3599, "59 min ago"), (3600, "1 h ago"), (86_399, "23 h ago"), (86_400, "1 d ago"),
        (400 * 86_400, "400 d ago"),
    ],
)  # fmt: skip
def test_an_age_is_in_its_largest_unit(seconds, words):
    then = (NOW - timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert plain_text.age(then, NOW) == words


@pytest.mark.parametrize("time", ["yesterday", "", "2026-13-01", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_is_none_has_no_age(time):
    assert plain_text.age(time, NOW) in {"?", "now"}
    assert plain_text.age("2020-01-01T00:00:00", NOW).endswith(" d ago")


def test_counts_have_their_plural():
    shown = [count(number, "message") for number in (0, 1, 2, 1000)]
    assert shown == ["0 messages", "1 message", "2 messages", "1,000 messages"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (38_588_416, "36.8 MiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_a_size_is_short(number, shown):
    assert plain_text.size(number) == shown


@pytest.mark.parametrize(
    ("took", "shown"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_234, "1.23 ms"),
        (999_499, "999 ms"),
        (999_900, "1 s"),
        (5_242_880, "5.24 s"),
        (119_990_000, "120 s"),
        (3_600_000_000, "60 min"),
    ],
)
def test_a_latency_is_short(took, shown):
    assert plain_text.latency(took) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3600, "1 h 0 min"), (100_000, "1 d 3 h")],
)
def test_a_duration_is_short(seconds, shown):
    assert plain_text.duration(seconds) == shown


def test_a_turn_says_what_it_took_as_far_as_is_known():
    assert plain_text.answered_by(TurnRecord(backend="llm", total_ms=49)) == "0.0 s · llm"
    turn = TurnRecord(backend="llm", model="big", input_tokens=1200, output_tokens=0, total_ms=2345)
    assert plain_text.answered_by(turn) == "2.3 s · tokens: 1,200 in, 0 out · big"
    assert plain_text.answered_by(TurnRecord(backend="llm", mode="plan")) == "llm · mode plan"


def test_the_resuming_line_is_the_one_in_the_specification():
    line = plain_text.resuming("cli-1", "ai-engineer", 1)
    assert line == "🔄 Resuming session cli-1 for @ai-engineer (1 message)"


def test_nothing_a_terminal_obeys_is_left_in_visible_text():
    every = "".join(map(chr, range(0x3000)))
    obeyed = {c for c in plain_text.visible(every) if unicodedata.category(c) in {"Cc", "Zl", "Zp"}}
    assert obeyed == {"\n", "\t"}
    assert not {c for c in plain_text.one_line(every) if unicodedata.category(c) in {"Cc", "Zl", "Zp"}}
    turned = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200F)]
    assert not set(turned) & set(plain_text.visible("".join(turned)))


def test_text_that_is_harmless_stays_as_it_is():
    text = "Grüße, 日本語 👩‍💻\n\tindented"
    assert plain_text.visible(text) == text
    assert plain_text.visible("windows\r\nlines") == "windows\nlines"
    assert plain_text.visible("\x1b[2J\r") == "␛[2J␍"
    assert plain_text.one_line("a\nb") == "a␊b"


def test_recorded_says_why_nothing_answers_once():
    assert plain_text.recorded("ai-engineer", 1, briefly=True) == "Recorded (1 message)."
    whole = plain_text.recorded("ai-engineer", 1)
    assert whole.startswith("Recorded (1 message). No back end answers @ai-engineer;")
    assert whole.endswith("port42 agents connect --help")


def test_an_ambiguous_ref_lists_ids_titles_and_ages():
    first = {"session_id": "cli-17", "agent": "a", "title": None, "last_activity": "2026-11-23T11:57:00.000Z"}
    second = {**first, "session_id": "cli-1755", "title": "the parser"}
    assert lines_of(AmbiguousSession("cli-17", [first, second])) == [
        "cli-17 fits several sessions; name one of them by its id:",
        "  cli-17    @a  (untitled)  (3 min ago)",
        "  cli-1755  @a  the parser  (3 min ago)",
    ]


def test_an_unknown_agent_comes_with_near_names_and_how_to_add_it():
    assert lines_of(UnknownAgent("ai-enginer", ["ai-engineer", "ai-e"])) == [
        "unknown agent @ai-enginer",
        "  Did you mean @ai-engineer or @ai-e?",
        "  To make it known: port42 agents add ai-enginer",
    ]
    assert len(lines_of(UnknownAgent("zzz", []))) == 2


def test_a_session_of_another_agent_says_whose_and_how_to_go_on_with_it():
    assert lines_of(WrongAgent("cli-1", "ai-muse", "ai-engineer")) == [
        "session cli-1 belongs to @ai-engineer, not to @ai-muse",
        "  To continue it: port42 possess @ai-engineer --session cli-1",
    ]


def test_a_session_that_is_not_found_says_what_names_one():
    first, expected, listed = lines_of(SessionNotFound("nope"))
    assert first == "session nope not found"
    assert "a unique prefix of 4 or more characters" in expected
    assert "port42 sessions" in listed


def test_a_damaged_session_says_where_to_go_on():
    error = SessionDamaged("cli-1", "its first line is not a header")
    first, what_to_do = lines_of(error)
    assert first == "session cli-1 cannot be read: its first line is not a header"
    assert what_to_do == "  What can be done: port42 doctor"


@pytest.mark.parametrize(
    ("begins", "machine", "text", "shown"),
    [
        ("port42", None, "`port42 doctor --fix` repairs it", "`port42 doctor --fix` repairs it"),
        ("port42 --host box", "box", "`port42 doctor` says", "`port42 --host box doctor` says"),
        ("port42 --host box", "box", "then: port42 index", "then: port42 --host box index"),
        ("port42 --host box", "box", "`port42 daemon stop` does", "`port42 daemon stop` on box does"),
        (
            "port42",
            "box",
            "`port42 doctor`, or: port42 service logs",
            "`port42 doctor`, or: port42 service logs on box",
        ),
        ("port42 --socket /s", None, "then: port42 daemon stop", "then: port42 --socket /s daemon stop"),
        ("port42 --host box", "box", "port42 show: port42 --host box", "port42 show: port42 --host box"),
    ],
)
def test_the_commands_in_an_advice_reach_the_daemon_that_gave_it(begins, machine, text, shown):
    tokens = plain_text.program.set(begins), plain_text.machine.set(machine)
    try:
        assert plain_text.advice(text) == shown
    finally:
        plain_text.program.reset(tokens[0])
        plain_text.machine.reset(tokens[1])


def test_a_session_is_not_called_by_the_name_of_a_field_that_nobody_typed():
    error = InvalidParams.expecting("session_id", "a session whose last turn failed")
    assert lines_of(error) == ["expected a session whose last turn failed"]


@pytest.mark.parametrize("kind", ["ambiguous_session", "unknown_agent", "wrong_agent", "something_new"])
def test_an_error_with_other_details_is_told_in_its_own_words(kind):
    error = DaemonError(1, "as the daemon said", {"kind": kind})
    assert list(plain_text.problem(error, NOW)) == ["as the daemon said"]

"""Which sessions match what is typed, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_cli.picker.matching import Choice, choice, fitting, folded
from port42_protocol.messages.records import Summary


def session(title, agent="ai-engineer", session_id="cli-1757350466684", **more):
    time = "2026-11-23T03:37:11.042Z"
    return choice(Summary(session_id, agent, title, "active", time, time, 1, None, **more))


def titles(typed: str, *choices: Choice) -> list[str | None]:
    return [fit.session.title for fit in fitting(typed, choices)]


def test_nothing_typed_keeps_all_in_their_order():
    assert titles("", session("b"), session("a")) == ["b", "a"]


@pytest.mark.parametrize(
    "typed", ["build", "prs", "bprs", "PARSER", "parser build", "eng", "@ai-eng", "5735046", "cli-17"]
)
def test_words_that_match(typed):
    assert titles(typed, session("build a parser"), session("a poem", "ai-muse", "web-9")) == [
        "build a parser"
    ]


@pytest.mark.parametrize("typed", ["poem", "srp", "parser poem", "4668c"])
def test_words_that_do_not_match(typed):
    assert titles(typed, session("build a parser")) == []


def test_accents_and_case_do_not_matter():
    assert titles("cafe", session("Café crème")) == ["Café crème"]
    assert titles("CRÈME", session("cafe creme")) == ["cafe creme"]


def test_a_tag_is_found():
    assert titles("urgent", session("x", tags=["urgent"])) == ["x"]


def test_whole_words_rank_before_scattered_letters_and_early_ones_before_late_ones():
    choices = [session("p.a.r.s.e"), session("the parse"), session("parse")]
    assert titles("parse", *choices) == ["parse", "the parse", "p.a.r.s.e"]


def test_a_session_without_a_title_can_be_picked():
    assert titles("", session(None)) == [None]


@given(st.text(max_size=30), st.data())
def test_every_subsequence_of_a_word_finds_it(word, data):
    word = "".join(folded(word).split())
    letters = "".join(letter for letter in word if data.draw(st.booleans()))
    assert titles(letters, session(word)) == [word]


def test_the_cost_of_a_search_is_linear_in_the_titles_length():
    """Patterns of ``a.*?a.*?b`` take a power of the length here: this would not end."""
    choices = [session("a" * 200) for _ in range(1000)]
    assert titles("a" * 60 + "b", *choices) == []

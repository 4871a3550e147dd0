"""Snippets of search hits: what was searched for stands out, replies lose their markup and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_cli.views.snippets import HIGHLIGHT, snippet
from port42_protocol.messages.search import Hit, Mark


def hit(text, *words, role="assistant"):
    marks = [Mark(text.index(word), text.index(word) + len(word)) for word in words]
    return Hit(None, 1, role, "", text, tuple(marks))


def shown(spans):
    return "".join(text for text, _ in spans)


def highlighted(spans):
    return [text for text, style in spans if style == HIGHLIGHT]


@pytest.mark.parametrize(
    ("text", "words", "drawn"),
    [
        ("the **new parser** of `a.py`", ["parser"], "the new parser of a.py"),
        ("*one* ~~two~~ ***three***", ["three"], "one two three"),
        ("in [the docs](http://x/a_b 'T')", ["docs"], 'in the docs (http://x/a_b "T")'),
        ("[the docs](http://x/a_b)", ["a_b"], "the docs (http://x/a_b)"),
        ("## A parser  # no heading", ["parser"], "A parser  # no heading"),
        ("`the whole` of `it`", ["whole"], "the whole of it"),
    ],
)
def test_a_reply_is_shown_without_its_markup(text, words, drawn):
    spans = snippet(hit(text, *words))
    assert shown(spans) == drawn
    assert highlighted(spans) == words
    assert ("one", "italic") in snippet(hit("*one*"))
    assert ("two", "bold") in snippet(hit("**two**"))


@pytest.mark.parametrize(
    "text",
    [
        "def __init__(self, *args, **kwargs): a*b*c; 2**3**4",
        r"re.compile('\.py\\') &amp; <b>bold</b> <http://x>",
        "handlers[name](event)",
        "…half of **it",
        "  blanks around  ",
    ],
)
def test_what_may_be_code_is_shown_to_the_letter(text):
    assert shown(snippet(hit(text))) == text


def test_what_a_person_wrote_is_shown_as_it_is():
    spans = snippet(hit("**not bold** `parser`", "parser", role="user"))
    assert shown(spans) == "**not bold** `parser`"
    assert highlighted(spans) == ["parser"]


WORDS = st.lists(st.sampled_from(["*", "**", "_", "`", "[", "](", ")", "~~", "a", "b c", " ", "\ue000", "x"]))


@given(WORDS.map("".join), st.data())
def test_no_letter_is_lost_and_all_that_was_searched_for_is_marked(text, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    marks = tuple(Mark(*pair) for pair in zip(cuts[::2], cuts[1::2], strict=False))
    letters = set("abcx")
    spans = snippet(Hit(None, 1, "assistant", "", text, marks))
    assert [c for c in shown(spans) if c in letters] == [c for c in text if c in letters]
    marked = [c for mark in marks for c in text[mark.start : mark.end] if c in letters]
    assert [c for part in highlighted(spans) for c in part if c in letters] == marked

"""Markdown as it grows: finished blocks do not change, and no word is lost."""

from __future__ import annotations

import io
import sys
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from port42_cli.views import markdown
from port42_cli.views.markdown import PIECE, Growing, blocks

DOCUMENT = """\
# Title

A paragraph
of two lines with <b>HTML</b> and `code`.

- one
- two

  still two
  1. inner

> quoted

| a | b |
|---|---|
| 1 | 2 |

```python
def f():

    return "# no heading"
```

Last\u2028one.\r
"""


def drawn(parts, width=60):
    page = io.StringIO()
    console = Console(file=page, width=width, highlight=False)
    for part in parts:
        console.print(part)
    return page.getvalue()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 10_000])
def test_pieces_of_any_size_make_the_same_blocks(size):
    growing = Growing()
    finished = []
    for start in range(0, len(DOCUMENT), size):
        finished += growing.add(DOCUMENT[start : start + size])
    finished += growing.end()
    assert drawn(finished) == drawn(blocks(DOCUMENT))


def test_the_last_block_is_not_finished():
    growing = Growing()
    assert growing.add("one\n\ntw") != []
    assert "tw" in drawn([growing.rest])
    assert growing.add("o") == []
    assert drawn(growing.end()) == drawn(blocks("two"))
    assert growing.rest is None
    assert growing.end() == []


def test_blank_text_makes_no_block():
    growing = Growing()
    assert growing.add("") == []
    assert growing.add("\n \n") == []
    assert growing.end() == []


def test_html_is_text():
    page = drawn(blocks("<script>x</script>\n\nList<String> and <b>bold</b>"))
    assert "<script>x</script>" in page
    assert "List<String> and <b>bold</b>" in page


def test_the_target_of_a_link_is_shown():
    assert "https://example.org/evil" in drawn(blocks("[https://example.com](https://example.org/evil)"))


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "```\na\x1b[2Jb\n```", "- a\x1b[2Jb", "`a\x1b[2Jb`", "a\x1b[2Jb\n=="]
)
def test_control_characters_are_made_visible(text):
    page = drawn(blocks(text))
    assert "a␛[2Jb" in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("text", "steady"),
    [("a paragraph", True), ("```\ncode", True), ("- a list", True), ("1. numbered", False)],
)
def test_blocks_that_are_laid_out_anew_as_they_grow_are_not_steady(text, steady):
    (block,) = blocks(text)
    assert block.steady is steady


def test_a_table_is_not_steady():
    (block,) = blocks("| a |\n|---|\n| 1 |")
    assert not block.steady


# --- no word is lost ----------------------------------------------------------------------------------

INLINE = st.sampled_from([
    "W", "W W W", "*W*", "**W W**", "***W***", "`W`", "``W ` W``", "~~W~~", "[W](W)", "![W](W)", "![](W)",
    '[![W](W)](W "W")', "[W][W]", "![W] [W]", "<https://W>", "W\\\nW", "W  \nW", "\\*W", "&amp;W", "<b>W</b>",
    "![W **W** ![W](W)](W)", "[W ![W](W) W](W)", "W! W[ W", "| W |", "W: W", "[`W` *W*](<W W>)",
])  # fmt: skip


def indented(text, first, others):
    return "\n".join((others if number else first) + line for number, line in enumerate(text.split("\n")))


@st.composite
def tables(draw):
    columns = draw(st.integers(1, 6))
    cell = INLINE.filter(lambda words: "\n" not in words)
    rows = draw(st.lists(st.lists(cell, min_size=1, max_size=8), max_size=4))
    head = ["| W " * columns + "|", "|---" * columns + "|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


PARAGRAPHS = st.lists(INLINE, min_size=1, max_size=6).map(" ".join)
ODDITIES = [
    *(
        "```W\nW\n  W W\n```",
        "```python W=W\ndef W(): W\n```",
        "~~~\nW\n~~~",
        "    W W",
        "W\n===",
        "W W\n---",
    ),
    *("---", "<div>W</div>", "- [ ] W", "9999. W", "W\n- W\n1. W", "[W]: W", "[W]: <W> 'W'", "> W\nW"),
    "|W|W|\n|-|-|\n|W|W|W|W|",
]
LEAVES = st.one_of(
    PARAGRAPHS,
    tables(),
    st.tuples(st.integers(1, 6), PARAGRAPHS).map(lambda part: f"{'#' * part[0]} {' '.join(part[1].split())}"),
    st.sampled_from(ODDITIES),
)
BLOCKS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from([("> ", "> "), ("- ", "  "), ("12. ", "    "), ("* ", "  ")]),
        st.lists(inner, min_size=1, max_size=3).map("\n\n".join),
    ).map(lambda part: indented(part[1], *part[0])),
    max_leaves=12,
)


def with_words(pattern):
    """Every W is a word of its own; gives the text and the words."""
    parts = pattern.split("W")
    words = [f"w{number:04}x" for number in range(len(parts) - 1)]
    return "".join(part + word for part, word in zip(parts, [*words, ""], strict=True)), words


@given(st.lists(BLOCKS, min_size=1, max_size=6).map("\n\n".join), st.integers(20, 120))
def test_no_word_is_lost(pattern, width):
    text, words = with_words(pattern)
    page = drawn(blocks(text), width)
    assert not [word for word in words if word not in page], page
    assert max(map(len, page.split("\n"))) <= width


@given(st.lists(BLOCKS, min_size=1, max_size=6).map("\n\n".join), st.integers(1, 60))
def test_no_word_is_lost_where_long_blocks_are_cut(pattern, size):
    text, words = with_words(pattern)
    growing = Growing()
    with mock.patch.multiple(markdown, PIECE=100, _WHOLE=200, _LATELY=40):
        parts = [
            block for start in range(0, len(text), size) for block in growing.add(text[start : start + size])
        ]
        page = drawn([*parts, *growing.end()], 60)
    assert not [word for word in words if word not in page], page


MARKS = [*"*_`[]()!#-+>|~<\\&=:\"' \n\t", "\n\n", "    ", "```", "---", "1.", "![", "](", "W", "W ", "\nW"]
SOUP = st.lists(st.sampled_from(MARKS), max_size=80).map("".join)


@given(SOUP, st.integers(20, 120))
def test_no_word_of_random_markup_is_lost(pattern, width):
    text, words = with_words(pattern)
    page = "".join(drawn(blocks(text), width).translate(dict.fromkeys(map(ord, "▌•"))).split())
    assert not [word for word in words if word not in page], page


@pytest.mark.parametrize("depth", [1, 5, 8, 9, 25, 400])
@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", "> - "])
def test_words_in_deep_nesting_are_shown(mark, depth):
    assert "word" in drawn(blocks(mark * depth + "word"), 20)


# --- nothing costs more than linear time --------------------------------------------------------------

WORST = {
    "one paragraph": "word word\n",
    "one line": "word ",
    "one word": "x",
    "one fence": ("```python\n", "def f(x): return 'a'\n"),
    "one line of code": ("```json\n", "[1,2,3],"),
    "one list": "- item\n",
    "one table": ("|a|b|\n|-|-|\n", "|x|y|\n"),
    "one quote": "> a b\n",
    "quotes in quotes": ">",
    "open brackets": "[",
    "emphasis": "*a ",
    "code spans": "`a",
    "blank lines": "\n",
    "blanks": "    ",
    "headings": "# a\n",
    "one item": ("- a\n", "  b\n"),
    "carriage returns": "\r",
}


def calls_to_show(text):
    """Calls of functions it takes to draw a reply that comes in pieces, its end again with each of them."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    console = Console(file=io.StringIO(), width=80)
    growing = Growing()
    sys.setprofile(count)
    try:
        for start in range(0, len(text), PIECE // 2):
            for block in growing.add(text[start : start + PIECE // 2]):
                block.lines(console)
            if growing.rest:
                growing.rest.lines(console)
        for block in growing.end():
            block.lines(console)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", WORST)
def test_the_cost_of_a_reply_is_linear(kind):
    begin, unit = WORST[kind] if isinstance(WORST[kind], tuple) else ("", WORST[kind])
    with mock.patch.multiple(markdown, PIECE=PIECE // 4, _WHOLE=PIECE, _LATELY=64):
        short, long = (calls_to_show(begin + unit * (size // len(unit))) for size in (PIECE // 2, 2 * PIECE))
    # Sixteen times where something is quadratic; more than four, because quotes and items are cut later.
    assert long < 8 * short


def test_tasks_have_boxes():
    page = drawn(blocks("- [ ] first\n- [X] done\n- [x]none\n\n[x] no list"))
    assert [line.strip() for line in page.splitlines() if line.strip()] == [
        "• ☐ first",
        "• ☑ done",
        "• [x]none",
        "[x] no list",
    ]

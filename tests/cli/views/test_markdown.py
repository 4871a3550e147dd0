"""Markdown as it grows: what is finished stays what it is, and nothing of it is lost."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from port42_cli.views.markdown import Growing, blocks

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


def drawn(parts):
    page = io.StringIO()
    console = Console(file=page, width=60, highlight=False)
    for part in parts:
        console.print(part)
    return page.getvalue()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 10_000])
def test_in_pieces_of_any_size_it_becomes_the_same_blocks(size):
    growing = Growing()
    finished = []
    for start in range(0, len(DOCUMENT), size):
        finished += growing.add(DOCUMENT[start : start + size])
    finished += growing.end()
    assert drawn(finished) == drawn(blocks(DOCUMENT))


def test_what_is_written_last_is_not_finished():
    growing = Growing()
    assert growing.add("one\n\ntw") != []
    assert "tw" in drawn([growing.rest])
    assert growing.add("o") == []
    assert drawn(growing.end()) == drawn(blocks("two"))
    assert growing.rest is None
    assert growing.end() == []


def test_nothing_is_no_block():
    growing = Growing()
    assert growing.add("") == []
    assert growing.add("\n \n") == []
    assert growing.end() == []


def test_html_is_text():
    page = drawn(blocks("<script>x</script>\n\nList<String> and <b>bold</b>"))
    assert "<script>x</script>" in page
    assert "List<String> and <b>bold</b>" in page


def test_where_a_link_leads_can_be_read():
    assert "https://example.org/evil" in drawn(blocks("[https://example.com](https://example.org/evil)"))


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "```\na\x1b[2Jb\n```", "- a\x1b[2Jb", "`a\x1b[2Jb`", "a\x1b[2Jb\n=="]
)
def test_a_terminal_obeys_none_of_it(text):
    page = drawn(blocks(text))
    assert "a␛[2Jb" in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("text", "steady"),
    [("a paragraph", True), ("```\ncode", True), ("- a list", True), ("1. numbered", False)],
)
def test_what_is_laid_out_anew_as_it_grows_is_not_steady(text, steady):
    (block,) = blocks(text)
    assert block.steady is steady


def test_a_table_is_not_steady():
    (block,) = blocks("| a |\n|---|\n| 1 |")
    assert not block.steady

"""All kinds of parts on a terminal: they fit, and texts from outside are harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.drawing import drawn

from port42_cli.views import rich_printer
from port42_cli.views.parts import BREAK, Block, Column, Field, Fields, Line, Node, Table, Tree

HOSTILE = "x\x1b[2J\x9b31m\u202e[red]y[/red]:smile:"
SHOWN = "x␛[2J<U+009B>31m<U+202E>[red]y[/red]:smile:"


def parts(text):
    """Every kind of part, with `text` wherever a text may stand."""
    column = Column(text, lambda row: row, fit="fold")
    field = Field("name", text)
    return {
        "cell": Table([text], (column,)),
        "styled cell": Table([text], (Column("A", lambda row: [(row, "bold"), BREAK, (row, "")]),)),
        "line": Line(text),
        "spans": Line([(text, "bold"), (text, "")]),
        "block": Block(text),
        "markdown": Block(text, markdown=True),
        "field": Fields([field, field._replace(trouble=True), field._replace(multiline=True)]),
        "panel": Fields([field], text),
        "tree": Tree([Node("a", None, text, ()), Node("b", "a", text, ())]),
    }


@pytest.mark.parametrize("kind", parts(""))
def test_texts_from_outside_have_no_control_characters_and_are_no_markup(kind):
    page = drawn([parts(HOSTILE)[kind]])
    assert SHOWN in page
    assert not set("\x1b\x9b\u202e") & set(page)


@pytest.mark.parametrize("kind", parts(""))
@given(text=st.text(max_size=40), width=st.integers(20, 120))
def test_line_ends_are_the_only_control_characters(kind, text, width):
    page = drawn([parts(text)[kind]], width)
    assert {c for c in page if unicodedata.category(c) in {"Cc", "Zl", "Zp"}} <= {"\n"}
    assert not {c for c in page if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF"}}
    assert not {c for c in page if unicodedata.bidirectional(c) in {"LRI", "RLI", "FSI", "PDI"}}


@pytest.mark.parametrize("kind", sorted({*parts("")} - {"block", "markdown", "field"}))
def test_a_newline_in_a_text_is_made_visible(kind):
    assert "a␊b" in drawn([parts("a\nb")[kind]])


def test_fields_of_one_row_stand_side_by_side_and_troubles_by_themselves():
    fields = [
        Field("pid", 7, "running", "pid 7"),
        Field("home", "/h"),
        Field("uptime", "5 s", "running", "up 5 s"),
        Field("unknown", None, "running"),
        Field("secret", "x", ""),
        Field("first", "a", "bug", trouble=True),
        Field("second", "b", "bug", trouble=True),
    ]
    assert [line.split() for line in drawn([Fields(fields)]).splitlines()] == [
        ["running", "pid", "7,", "up", "5", "s"],
        ["home", "/h"],
        ["bug", "a"],
        ["bug", "b"],
    ]


def test_a_long_line_is_cut_folded_or_wrapped():
    words = "word " * 30
    assert drawn([Line(words, fit="ellipsis")], 20) == "word word word word…\n"
    assert drawn([Line("x" * 30, fit="fold")], 20) == "x" * 20 + "\n" + "x" * 10 + "\n"
    assert drawn([Line(words.strip())], 20).splitlines()[0].strip() == "word word word word"


def test_a_part_for_scripts_only_draws_nothing():
    assert drawn([Line(None, piped="x"), Table([1], piped=lambda row: (row,))]) == ""


def test_a_progress_bar_leaves_nothing_on_stdout(capsys):
    with rich_printer.progress_bar("importing") as moved:
        moved(0, 0)
        moved(3, 10)
    assert capsys.readouterr().out == ""


def test_the_last_view_stays(capsys):
    with rich_printer.Redrawn() as screen:
        screen.show([Line("first")])
        screen.show([Line("second")])
    assert capsys.readouterr().out.strip() == "second"


COLUMNS = (
    Column("ID", lambda row: "cli-17573504"),
    Column("OWNER", lambda row: "@ai-engineer", expendable=1),
    Column("TITLE", lambda row: "a title that is long enough to be cut", fit="ellipsis"),
    Column("USED", lambda row: "3 min ago", expendable=2),
)


@pytest.mark.parametrize(
    ("width", "headings"),
    [(75, "ID OWNER TITLE USED"), (60, "ID OWNER TITLE"), (50, "ID TITLE"), (24, "ID TITLE")],
)
def test_a_narrow_terminal_leaves_out_the_most_expendable_columns(width, headings):
    heading, row = drawn([Table([0], COLUMNS)], width).splitlines()
    assert heading.split() == headings.split()
    assert row.startswith("cli-17573504")


def test_code_is_not_indented_and_lines_have_no_blanks_at_their_ends():
    markdown = Block("text\n\n```python\ndef f():\n\n    return 1\n```", markdown=True)
    assert drawn([markdown, Block("a\nb")]) == "  text\n\ndef f():\n\n    return 1\n\n  a\n  b\n\n"


@pytest.mark.parametrize("columns", ["0", "00", "", "9" * 20, "²", "-5"])
def test_an_invalid_number_of_columns_is_ignored(monkeypatch, columns, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    rich_printer.draw([Line("words")], rich_printer.console())
    assert capsys.readouterr().out == "words\n"

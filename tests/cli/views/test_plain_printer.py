"""The lines that scripts get; texts are unchanged."""

from __future__ import annotations

import subprocess
import sys

from peers.drawing import piped

from port42_cli.views.parts import Block, Column, Field, Fields, Line, Node, Table, Tree


def test_a_row_is_cells_between_tabs_and_none_is_an_empty_cell():
    assert piped([Table(["\x1b[2J"], piped=lambda row: (row, None, 3))]) == ["\x1b[2J\t\t3"]
    assert piped([Table(["x"], (Column("A", str),))]) == []


def test_a_field_without_name_or_value_is_left_out():
    fields = Fields(
        [Field("a", 0, ""), Field("b", None), Field("", "shown only"), Field("c", "x", shown="y")]
    )
    assert piped([fields]) == ["a: 0", "c: x"]
    assert piped([fields._replace(title="title")]) == ["a: 0", "c: x"]


def test_a_node_is_two_spaces_behind_its_parent():
    nodes = [
        Node("a", None, "", ("1", "")),
        Node("b", "a", "", ()),
        Node("c", "b", "", ("2",)),
        Node("d", "a", "", ()),
    ]
    assert piped([Tree(nodes)]) == ["a\t1\t", "  b", "    c\t2", "  d"]


def test_parts_for_people_only_are_left_out():
    assert piped([Line("shown"), Block("shown"), Line("shown", piped="piped")]) == ["piped"]


def test_it_imports_no_rich():
    """A command whose output is piped starts in half the time."""
    program = "import sys; from port42_cli.views import plain_printer; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""Views as a person and as a script get them, without a process or a terminal."""

from __future__ import annotations

import io
import unicodedata

from rich.console import Console

from port42_cli.views import plain_printer, rich_printer


def drawn(view, width=80, **options):
    """A view as a terminal of so many columns shows it; without colour unless `options` say otherwise."""
    page = io.StringIO()
    rich_printer.draw(view, Console(file=page, width=width, **({"color_system": None} | options)))
    return page.getvalue()


def drawn_lines(view, width=80):
    """Its lines without the blanks at their ends; none is wider than the terminal."""
    lines = drawn(view, width).splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def piped(view):
    """The lines that a script gets."""
    return list(plain_printer.lines(view))


def controls(drawn):
    """Characters that a terminal obeys."""
    return [
        character for character in drawn if unicodedata.category(character) == "Cc" or character == "\u202e"
    ]

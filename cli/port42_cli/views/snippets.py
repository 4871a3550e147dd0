"""A search hit's line for a terminal: what was searched for stands out, and a reply's Markdown is drawn.

A line of a message does not tell whether it is code, so only markup that code hardly has is taken for it:
`code`, **strong** and *emphasized* words with their ends at ends of words, ~~struck out~~, [links](to).
What is left, underscores and backslashes among it, is shown to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from port42_cli.views.parts import Span
from port42_protocol.messages.search import Hit

HIGHLIGHT = "bold yellow"
_MARK, _UNMARK = "\ue000", "\ue001"
"""Private characters around what was searched for, while the Markdown is read: it counts no characters."""
_NOT_MARKS = str.maketrans(dict.fromkeys((_MARK, _UNMARK), "\ufffd"))

_HEADING = re.compile(r"\A#{1,6} +")
_STYLES = {"strong": "bold", "em": "italic", "s": "strike", "link": "underline"}


def snippet(hit: Hit) -> list[Span]:
    text = _marked(hit)
    spans: list[Span] = []
    highlighted = False
    for piece, style in _drawn(text) if hit.role == "assistant" else [(text, "")]:
        for part in re.split(f"([{_MARK}{_UNMARK}])", piece):
            if part in {_MARK, _UNMARK}:
                highlighted = part == _MARK
            elif part:
                spans.append((part, HIGHLIGHT if highlighted else style))
    return spans


def _marked(hit: Hit) -> str:
    cuts = [0, *(position for mark in hit.marks for position in (mark.start, mark.end)), len(hit.snippet)]
    pieces = [hit.snippet[start:end].translate(_NOT_MARKS) for start, end in pairwise(cuts)]
    return "".join(f"{_MARK}{piece}{_UNMARK}" if number % 2 else piece for number, piece in enumerate(pieces))


def _drawn(text: str) -> Iterator[Span]:
    """The text without its markup, in pieces with their styles."""
    # A message begins with no code: inside it, `#` may begin a comment.
    tokens = _parser().parseInline(_HEADING.sub("", text))[0].children or []
    literal = set(_not_meant(tokens))
    styles: list[str] = []
    targets: list[str] = []
    for position, token in enumerate(tokens):
        name, _, end = token.type.rpartition("_")
        if name in _STYLES and position in literal:
            yield token.markup, " ".join(styles)
        elif name in _STYLES and end == "open":
            styles.append(_STYLES[name])
        elif name in _STYLES:
            styles.pop()
        else:
            yield token.content, "cyan" if token.type == "code_inline" else " ".join(styles)
        if token.type == "link_open":
            targets.append(_target(token))
            yield "[" * (position in literal), ""
        elif token.type == "link_close":
            yield f"]({targets.pop()})" if position in literal else f" ({targets.pop()})", "dim"


def _target(link: Token) -> str:
    title = link.attrs.get("title")
    return f'{link.attrs["href"]} "{title}"' if title else str(link.attrs["href"])


def _not_meant(tokens: Sequence[Token]) -> Iterator[int]:
    """Positions of what is Markdown's, but also code's: ``__init__``, ``a*b*c``, ``table[key](value)``."""
    opened: list[int] = []
    for position, token in enumerate(tokens):
        if token.nesting > 0:
            opened.append(position)
        elif token.nesting < 0:
            first = opened.pop()
            before = tokens[first - 1].content[-1:] if first else ""
            after = tokens[position + 1].content[:1] if position + 1 < len(tokens) else ""
            if "_" in token.markup or before.isalnum() or after.isalnum():
                yield from (first, position)


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
    parser.disable(["escape", "entity", "autolink", "image", "newline"])
    # Links stay as they were written: they are there to be read.
    parser.normalizeLink = str  # type: ignore[method-assign, assignment]
    parser.validateLink = bool  # type: ignore[method-assign, assignment]
    return parser

"""The piece of a long text that is shown of a hit, with where its marks are. Pure.

A mark is a pair of places in characters: where it begins, and the one behind its last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from port42_daemon.store.index.tokens import MARK, UNMARK
from port42_protocol.messages.search import Mark

Span = tuple[int, int]
_LENGTH, _BEFORE = 200, 60
"""Characters of a piece: in all, and at most before its first mark."""
_STEP_BACK = 20
_MARKS_LOOKED_AT = 200
_AS_SPACE = {ord(char): " " for char in "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"}


def unmarked(text: str) -> tuple[str, list[Span]]:
    """The text without `MARK` and `UNMARK`, and what stood between them. Marks that touch are one."""
    plain: list[str] = []
    marks: list[Span] = []
    position = 0
    for number, piece in enumerate(re.split(f"[{MARK}{UNMARK}]", text)):
        if number % 2 and piece:
            begins = marks.pop()[0] if marks and marks[-1][1] == position else position
            marks.append((begins, position + len(piece)))
        plain.append(piece)
        position += len(piece)
    return "".join(plain), marks


def literal(text: str, words: Sequence[str]) -> list[Span]:
    """Where `words` stand in the text to the letter, case aside: inside identifiers FTS5 marks nothing."""
    if not words:
        return []
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return [match.span() for match in re.finditer(either, text, re.IGNORECASE) if match[0]]


def excerpt(text: str, marks: Sequence[Span]) -> tuple[str, tuple[Mark, ...]]:
    """One line of the text with as many of the marks as fit, and their places in it."""
    first = _best(marks)
    start = 0
    if len(text) > _LENGTH and first > _BEFORE:
        start = min(first - _BEFORE, len(text) - _LENGTH)
        space = text.find(" ", start, min(start + _STEP_BACK, first))
        start = start if space < 0 else space + 1
    end = min(len(text), start + _LENGTH)
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shift = len(before) - start
    inside = tuple(Mark(max(begin, start) + shift, min(stop, end) + shift) for begin, stop in marks
                   if begin < end and stop > start)  # fmt: skip
    return before + text[start:end].translate(_AS_SPACE) + after, inside


def _best(marks: Sequence[Span]) -> int:
    """The first place of the mark that has the most others behind it within a piece."""
    looked_at = marks[:_MARKS_LOOKED_AT]
    reach = _LENGTH - _BEFORE

    def near(begin: int) -> int:
        return sum(begin <= other < begin + reach for other, _ in looked_at)

    return max((begin for begin, _ in looked_at), key=near, default=0)

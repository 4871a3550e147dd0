"""How many steps a backtracking matcher takes for a pattern: work counted, not timed.

It walks the tree that `re` parses a pattern to, as `re`'s own matcher does but without its shortcuts, and
counts each item that it tries. A repeat whose pieces may be given back is optional or of single characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_CLASSES = {
    c.CATEGORY_DIGIT: str.isdigit,
    c.CATEGORY_SPACE: str.isspace,
    c.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    c.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
}
_CHARACTERS = frozenset({c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN})


class Matcher:
    """`steps` counts what has been tried so far."""

    def __init__(self, pattern: re.Pattern[str] | str) -> None:
        source = pattern if isinstance(pattern, str) else pattern.pattern
        flags = 0 if isinstance(pattern, str) else pattern.flags & ~re.UNICODE
        tree = _parser.parse(source, flags)
        self._items, self._flags = list(tree), tree.state.flags
        self._text = ""
        self.steps = 0

    def findall(self, text: str) -> list[str]:
        """Every match from left to right, none overlapping another."""
        self._text, found, at = text, [], 0
        while at <= len(text):
            end = next(self._sequence(self._items, at), None)
            if end is not None:
                found.append(text[at:end])
            at = at + 1 if end is None or end == at else end
        return found

    def match(self, text: str) -> bool:
        """Whether it matches at the beginning."""
        self._text = text
        return next(iter(self._sequence(self._items, 0)), None) is not None

    def _sequence(self, items: list[tuple[Any, Any]], at: int) -> Iterator[int]:
        if not items:
            yield at
            return
        ends = self._item(*items[0], at)
        if len(items) == 1:
            yield from ends
            return
        for end in ends:
            yield from self._sequence(items[1:], end)

    def _item(self, op: Any, value: Any, at: int) -> Iterable[int]:
        self.steps += 1
        if op in _CHARACTERS:
            return (at + 1,) if at < len(self._text) and self._is(op, value, self._text[at]) else ()
        return self._group(op, value, at)

    def _group(self, op: Any, value: Any, at: int) -> Iterator[int]:
        if op is c.SUBPATTERN:
            yield from self._sequence(list(value[3]), at)
        elif op is c.BRANCH:
            for branch in value[1]:
                yield from self._sequence(list(branch), at)
        elif op in {c.MAX_REPEAT, c.POSSESSIVE_REPEAT}:
            yield from self._repeat(value, at, possessive=op is c.POSSESSIVE_REPEAT)
        elif op in {c.ASSERT, c.ASSERT_NOT}:
            direction, items = value
            start = at if direction > 0 else at - items.getwidth()[0]
            holds = start >= 0 and next(self._sequence(list(items), start), None) is not None
            if holds == (op is c.ASSERT):
                yield at
        elif self._at(value, at):
            yield at

    def _repeat(self, value: Any, at: int, *, possessive: bool) -> Iterator[int]:
        low, high, items = value
        if (low, high, possessive) == (0, 1, False):
            yield from self._sequence(list(items), at)
            yield at
            return
        assert possessive or items.getwidth() == (1, 1), "longer ones are not given back here"
        ends = [at]
        single = items[0] if len(items) == 1 and items[0][0] in _CHARACTERS else None
        while single and len(ends) <= high and ends[-1] < len(self._text):
            self.steps += 1
            if not self._is(*single, self._text[ends[-1]]):
                break
            ends.append(ends[-1] + 1)
        while not single and len(ends) <= high:
            end = next(self._sequence(list(items), ends[-1]), None)
            if end is None or end == ends[-1]:
                break
            ends.append(end)
        for end in reversed(ends[low:][-1:] if possessive else ends[low:]):
            self.steps += 1
            yield end

    def _at(self, where: Any, at: int) -> bool:
        word = [0 <= n < len(self._text) and _CLASSES[c.CATEGORY_WORD](self._text[n]) for n in (at - 1, at)]
        return {
            c.AT_BOUNDARY: word[0] != word[1],
            c.AT_BEGINNING: at == 0 or (bool(self._flags & re.MULTILINE) and self._text[at - 1] == "\n"),
            c.AT_END: at == len(self._text) or (bool(self._flags & re.MULTILINE) and self._text[at] == "\n"),
            c.AT_END_STRING: at == len(self._text),
        }[where]

    def _is(self, op: Any, value: Any, char: str) -> bool:
        chars = (char.lower(), char.upper()) if self._flags & re.IGNORECASE else (char,)
        if op is c.LITERAL:
            return chr(value) in chars
        if op is c.NOT_LITERAL:
            return chr(value) not in chars
        if op is c.ANY:
            return char != "\n"
        assert op is c.IN
        negated = value[0][0] is c.NEGATE
        return any(self._in(item, chars) for item in value[negated:]) != negated

    @staticmethod
    def _in(item: Any, chars: tuple[str, ...]) -> bool:
        op, value = item
        if op is c.RANGE:
            return any(value[0] <= ord(char) <= value[1] for char in chars if len(char) == 1)
        if op is c.CATEGORY:
            return any(_CLASSES[value](char) for char in chars)
        return chr(value) in chars

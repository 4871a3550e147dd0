"""Parses a search query into an FTS5 expression. Pure.

Words and "phrases" must all be in one message; begin*, -without, agent:NAME, role:ROLE, tool:NAME (or its
kind), file:PATH (or its end), before:DATE and after:DATE (UTC; a day, month or year). Other punctuation only
separates words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches

from msgspec import Struct

from port42_daemon.store.index.tokens import agent_facet, parts, path_facets, role_facet, spaced, tool_facet
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.types import NAME_PATTERN

ROLES = ("user", "assistant", "system", "error", "title", "tool", "thought", "plan", "permission")
"""`title`: a session's given title or tags."""
_SHORTEST_PREFIX = 3
_MOST_TERMS = 32
_FIRST_YEAR, _LAST_YEAR = 2000, 2049
"""Of messages: each is a word to look up."""
_FILTERS = ("agent", "role", "tool", "file", "before", "after")
_FILTER = f"(?i:{'|'.join(_FILTERS)})"
_CHUNK = re.compile(
    rf'(?P<minus>-?)(?:(?P<filter>{_FILTER}):)?(?:"(?P<phrase>[^"]*)"?(?P<star>\*?)|(?P<word>\S+))'
)
_EMPTY_FILTER = re.compile(f"({_FILTER}):")
_LIKE_A_FILTER = re.compile(r"([A-Za-z]{3,8}):(?!/)")
_AGENT = re.compile(f"@?{NAME_PATTERN}")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)


class Query(Struct, frozen=True):
    """FTS5 expressions: each of `terms` must be found, in what `filters` leave, none of `without`.

    `words` are the terms as typed, for marking them where FTS5 does not. `hints` name those of them that may
    have been meant as a filter.
    """

    terms: tuple[str, ...]
    filters: tuple[str, ...]
    without: tuple[str, ...]
    words: tuple[str, ...]
    hints: tuple[str, ...] = ()

    @property
    def expression(self) -> str:
        wanted = " AND ".join((*self.filters, *self.terms))
        return f"({wanted}) NOT ({' OR '.join(self.without)})" if self.without else wanted


def parse(text: str, agent: str | None = None) -> Query:
    """The query that `text` is, in `agent`'s sessions where one is named.

    Raises `InvalidParams` where nothing is left to look for, or a filter's value means nothing.
    """
    terms: list[str] = []
    filters = [_facet(agent_facet(agent))] if agent is not None else []
    without: list[str] = []
    words: list[str] = []
    hints: dict[str, None] = {}
    for chunk in _CHUNK.finditer(text):
        typed = chunk["phrase"] if chunk["word"] is None else chunk["word"]
        if chunk["filter"]:
            kept = without if chunk["minus"] else filters
            kept.append(_filter(chunk["filter"].lower(), typed))
            continue
        if chunk["word"] and (empty := _EMPTY_FILTER.fullmatch(typed)):
            _filter(empty[1].lower(), "")
        if chunk["word"] and (like := _LIKE_A_FILTER.match(typed)):
            hints.update(dict.fromkeys(_hints(like[1])))
        begins = bool(chunk["star"]) or (chunk["word"] is not None and typed.endswith("*"))
        if not _has_word(typed):
            continue
        term = _term(typed, begins=begins)
        if chunk["minus"]:
            without.append(term)
        else:
            terms.append(term)
            words.append(typed.strip("*"))
    if not terms and len(filters) == (agent is not None):
        raise _refused("at least one word to find, of letters or digits")
    if len(terms) + len(filters) + len(without) > _MOST_TERMS:
        raise _refused(f"at most {_MOST_TERMS} words, phrases and filters")
    return Query(tuple(terms), tuple(filters), tuple(without), tuple(words), tuple(hints))


def _hints(name: str) -> Iterator[str]:
    for meant in get_close_matches(name.lower(), _FILTERS, n=1, cutoff=0.75):
        yield f"{name}: was searched for as a word; the filter is called {meant}:"


def _refused(expected: str) -> InvalidParams:
    return InvalidParams.expecting("query", expected)


def _has_word(text: str) -> bool:
    """Whether unicode61 finds a word in it: letters, digits, private use."""
    return any(unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "Co" for char in text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', " ").replace("\x00", " ") + '"'


def _term(typed: str, *, begins: bool) -> str:
    last = re.split(r"[\W_]+", typed.rstrip("*").rstrip())[-1]
    if begins and 0 < len(last) < _SHORTEST_PREFIX and last.isascii():
        raise _refused(f"at least {_SHORTEST_PREFIX} characters before *")
    star = " *" if begins else ""
    whole = _quoted(spaced(typed))
    if pieces := parts(typed):
        return f"({{text}} : {whole}{star} OR {{parts}} : {_quoted(pieces)}{star})"
    return f"{{text parts}} : {whole}{star}"


def _filter(name: str, value: str) -> str:
    if name == "agent":
        if not _AGENT.fullmatch(value):
            raise _refused("agent: the name of an agent, such as ai-engineer")
        return _facet(agent_facet(value.removeprefix("@")))
    if name == "role":
        if value.lower() not in ROLES:
            raise _refused(f"role: one of {', '.join(ROLES)}")
        return _facet(role_facet(value.lower()))
    if name == "tool":
        if not value.strip():
            raise _refused("tool: a tool's name or kind, such as bash or edit")
        return _facet(tool_facet(value.strip()))
    if name == "file":
        if not (names := path_facets(value)):
            raise _refused("file: a path or the end of one, such as src/a.py")
        return _facet(names)
    match = _DATE.fullmatch(value)
    year, month, day = (int(number or 0) for number in match.groups()) if match else (0, 0, 0)
    try:
        date(year, month or 1, day or 1)
    except ValueError:
        raise _refused(f"{name}: a day, month or year such as 2025-09-08, 2025-09 or 2025") from None
    return _facet(*(_before(year, month, day) if name == "before" else _from(year, month, day)))


def _facet(*words: str) -> str:
    either = " OR ".join(f'"{word}"' for word in words) or '"none"'
    return f"{{facets}} : ({either})"


def _before(year: int, month: int, day: int) -> Iterator[str]:
    yield from (f"y{number}" for number in range(_FIRST_YEAR, min(year, _LAST_YEAR + 1)))
    yield from (f"m{year:04}{number:02}" for number in range(1, month))
    yield from (f"d{year:04}{month:02}{number:02}" for number in range(1, day))


def _from(year: int, month: int, day: int) -> Iterator[str]:
    """As few words as will do: a whole month is one, and so is a year."""
    if day:
        yield from (f"d{year:04}{month:02}{number:02}" for number in range(day, 32))
    if month:
        yield from (f"m{year:04}{number:02}" for number in range(month + bool(day), 13))
    yield from (f"y{number}" for number in range(max(year + bool(month), _FIRST_YEAR), _LAST_YEAR + 1))

"""Which sessions fit what is typed, the best first: pure, and linear in what it looks at.

Every word typed must be found, in any order: as it stands, or else letter by letter with others between
(``bprs`` finds ``build a parser``), as people know it from fzf. A regular expression of ``b.*?p.*?r``, as
prompt_toolkit's own fuzzy completion has it, takes time that grows with a power of the title's length.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from port42_protocol.messages.records import Summary


class Choice(NamedTuple):
    """A session that can be picked: what the list shows, and `haystack`, what is looked through.

    Ids are found as they stand only: letters picked from among their digits would fit everything.
    """

    session_id: str
    agent: str
    title: str
    last_activity: str
    message_count: int
    pinned: bool
    haystack: str


class Fit(NamedTuple):
    """A choice that fits. The smaller its `rank` the better; with `snippet`, what fits is in a message."""

    rank: tuple[int, int]
    choice: Choice
    snippet: str = ""


def choice(session: Summary) -> Choice:
    """A choice with what is looked through folded once, however often something is typed."""
    title = session.title or ""
    return Choice(
        session.session_id,
        session.agent,
        title,
        session.last_activity,
        session.message_count,
        session.pinned,
        folded(" ".join((title, f"@{session.agent}", *session.tags))),
    )


def folded(text: str) -> str:
    """Without case and accents: what a person types is what a person reads."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return plain if plain.isascii() else "".join(c for c in plain if not unicodedata.combining(c))


def fitting(typed: str, choices: Iterable[Choice]) -> list[Fit]:
    """Those that fit, the best first, and the more recently used first among equals (as they came)."""
    words = folded(typed).split()
    return sorted(_fits(words, choices), key=lambda fit: fit.rank)


def _fits(words: list[str], choices: Iterable[Choice]) -> Iterator[Fit]:
    for candidate in choices:
        rank = _rank(words, candidate)
        if rank is not None:
            yield Fit(rank, candidate)


def _rank(words: list[str], candidate: Choice) -> tuple[int, int] | None:
    """Letters that stand between those of the words, in all; then how late the first word begins."""
    scattered, begins = 0, 0
    for number, word in enumerate(words):
        position = candidate.haystack.find(word)
        if position < 0 and word not in candidate.session_id:
            spread = _spread(word, candidate.haystack)
            if spread is None:
                return None
            position, between = spread
            scattered += between + 1  # a word as it stands is better than any other find
        if number == 0:
            begins = position
    return scattered, begins


def _spread(word: str, haystack: str) -> tuple[int, int] | None:
    """Where the word's letters begin, in their order, and how many others stand between them."""
    first = at = haystack.find(word[0])
    for letter in word[1:]:
        if at < 0:
            return None
        at = haystack.find(letter, at + 1)
    return None if at < 0 else (first, at - first + 1 - len(word))

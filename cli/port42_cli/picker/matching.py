"""Which sessions fit what is typed, the best first: pure, and linear in the length of the texts.

Every word typed must be found, in any order: as it stands, or else letter by letter with others between
(``bprs`` finds ``build a parser``). prompt_toolkit's fuzzy completion uses a regular expression
(``b.*?p.*?r``) for this, which takes time that grows with a power of the title's length.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import Hit


class Choice(NamedTuple):
    """A session that can be picked, and its title, agent and tags, folded once for every search.

    Ids are found as they stand only: letters picked from among their digits would fit everything.
    """

    session: Summary
    text: str


class Fit(NamedTuple):
    """A session that fits. The smaller its `rank` the better; with a `hit`, what fits is in a message."""

    rank: tuple[int, int]
    session: Summary
    hit: Hit | None = None


def choice(session: Summary) -> Choice:
    return Choice(session, folded(" ".join((session.title or "", f"@{session.agent}", *session.tags))))


def folded(text: str) -> str:
    """Without case and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return plain if plain.isascii() else "".join(c for c in plain if not unicodedata.combining(c))


def fitting(typed: str, choices: Iterable[Choice]) -> list[Fit]:
    """Those that fit, the best first; equals stay in their order."""
    words = folded(typed).split()
    ranked = ((_rank(words, choice), choice.session) for choice in choices)
    fits = [Fit(rank, session) for rank, session in ranked if rank is not None]
    return sorted(fits, key=lambda fit: fit.rank)


def _rank(words: list[str], choice: Choice) -> tuple[int, int] | None:
    """How many letters stand between those of the words; then the position of the first word."""
    scattered, begins = 0, 0
    for number, word in enumerate(words):
        position = choice.text.find(word)
        if position < 0 and word not in choice.session.session_id:
            spread = _letters_in_order(word, choice.text)
            if spread is None:
                return None
            position, between = spread
            scattered += between + 1  # worse than any word that stands as it is
        if number == 0:
            begins = position
    return scattered, begins


def _letters_in_order(word: str, text: str) -> tuple[int, int] | None:
    """Where the word's letters begin, in their order, and how many others stand between them."""
    first = at = text.find(word[0])
    for letter in word[1:]:
        if at < 0:
            return None
        at = text.find(letter, at + 1)
    return None if at < 0 else (first, at - first + 1 - len(word))

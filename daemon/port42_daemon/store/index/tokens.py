"""Text as it is indexed: CJK apart, identifiers also in their pieces, agent, role and time as words.

FTS5's tokenizer (unicode61) splits at what is neither letter nor digit, folds case and accents. It takes a
run of CJK for one word, and `parseHttpRequest` too.
"""

from __future__ import annotations

import re
from functools import lru_cache

TOKENIZE = '"unicode61 remove_diacritics 2"'
"""FTS5's tokenizer."""
MARK, UNMARK = "\x02", "\x03"
"""Markers that FTS5 puts around a match. They are removed from every indexed text."""
_APART = "\u200b"  # a zero width space: a separator to unicode61, invisible to a person
# Kana, CJK ideographs with their extensions, Hangul. Compiled by `re` at the first use, which takes 2 ms.
_CJK = "[\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
# A capital after the first character (`parseHttp`, `XMLParser`, `HTTP`), or a letter and a number (`v2`).
_IDENTIFIER = re.compile(
    "(?<![A-Za-z0-9])(?:[A-Za-z0-9][a-z0-9]*+[A-Z][A-Za-z0-9]*|[a-z][0-9]+(?![A-Za-z0-9]))"
)
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CLASSES = bytearray(b" " * 256)
_CLASSES[48:58], _CLASSES[65:91], _CLASSES[97:123] = b"0" * 10, b"A" * 26, b"a" * 26
"""ASCII letters and digits as `A`, `a` and `0`, all else as a space."""
_LONGEST_IDENTIFIER = 64  # what is longer is base64, not a name
_MOST_ENDS = 8
_NO_MARKS = {ord(MARK): " ", ord(UNMARK): " "}


def spaced(text: str) -> str:
    """The text with every CJK character as a word of its own, so that words are found as phrases."""
    text = text.translate(_NO_MARKS) if MARK in text or UNMARK in text else text
    return text if text.isascii() else re.sub(_CJK, f"{_APART}\\g<0>{_APART}", text)


def shown(text: str) -> str:
    """The inverse of `spaced`."""
    return text.replace(_APART, "")


def parts(text: str) -> str:
    """The pieces of identifiers like ``parseHttpRequest``, and their ends (``HttpRequest``).

    FTS5 takes ``parse_http_request`` apart itself.
    """
    # Most text has no identifier, and a regular expression takes ten times as long to see it.
    classes = text.encode("ascii", "replace").translate(_CLASSES)
    capitals = b"A" in classes and (b"aA" in classes or b"AA" in classes or b"0A" in classes)
    numbers = b"0" in classes and (b" a0" in classes or classes.startswith(b"a0"))
    if not capitals and not numbers:
        return ""
    result: list[str] = []
    for word in _IDENTIFIER.findall(text):
        if len(word) > _LONGEST_IDENTIFIER or word.isupper():
            continue
        pieces = _PIECE.findall(word)
        if len(pieces) > 1:
            result += pieces
            result += ("".join(pieces[begin:]) for begin in range(1, min(len(pieces) - 1, _MOST_ENDS)))
    return " ".join(result)


@lru_cache(maxsize=64)
def agent_facet(agent: str) -> str:
    """A word for an agent, whose name may hold what unicode61 splits at or folds."""
    return "a" + agent.encode().hex()


def role_facet(role: str) -> str:
    return f"r{role}"


@lru_cache(maxsize=256)
def tool_facet(name: str) -> str:
    """A word for a tool's name or kind, in any case."""
    return "t" + name.casefold().encode().hex()


@lru_cache(maxsize=1024)
def path_facets(path: str) -> str:
    """A word for each name in the path, and one for its end: the end of a path is found as a phrase."""
    names = [name for name in path.replace("\\", "/").split("/") if name not in {"", "."}]
    return " ".join([*("f" + name.encode().hex() for name in names), "fend"]) if names else ""


@lru_cache(maxsize=512)
def _common_facets(agent: str, role: str, day: str) -> str:
    """A message's agent, role, and year, month and day (UTC), so that a range of time is a few words."""
    year, month, number = day[:4], day[5:7], day[8:10]
    return f"{agent_facet(agent)} {role_facet(role)} y{year} m{year}{month} d{year}{month}{number}"


def facets(agent: str, role: str, timestamp: str, more: str = "") -> str:
    """All facets of a message; `more` are those of a tool call."""
    common = _common_facets(agent, role, timestamp[:10])
    return f"{common} {more}" if more else common

"""Text as it is indexed: CJK apart, identifiers also in their pieces, agent, role and time as words.

FTS5's tokenizer (unicode61) splits at what is neither letter nor digit, folds case and accents. It takes a
run of CJK for one word, and `parseHttpRequest` too.
"""

from __future__ import annotations

import re
import zlib

TOKENIZE = '"unicode61 remove_diacritics 2"'
"""FTS5's tokenizer."""
MARK, UNMARK = "\x02", "\x03"
"""Markers that FTS5 puts around a match. They are removed from every indexed text."""
_APART = "\u200b"  # a zero width space: a separator to unicode61, invisible to a person
# Kana, CJK ideographs with their extensions, Hangul. Compiled by `re` at the first use, which takes 2 ms.
_CJK = "[\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
_IDENTIFIER = re.compile(r"[A-Za-z0-9]+")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LONGEST_IDENTIFIER = 64  # what is longer is base64, not a name
_MOST_ENDS = 8
_NO_MARKS = {ord(MARK): " ", ord(UNMARK): " "}
_WORTH_PACKING = 160


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
    result: list[str] = []
    for word in _IDENTIFIER.findall(text):
        # Most words are none: `Hello`, `hello`, `42`, `HTTP`.
        if word[1:].islower() or len(word) > _LONGEST_IDENTIFIER or word.isupper() or word.isdigit():
            continue
        pieces = _PIECE.findall(word)
        if len(pieces) > 1:
            result += pieces
            result += ("".join(pieces[begin:]) for begin in range(1, min(len(pieces) - 1, _MOST_ENDS)))
    return " ".join(result)


def pack(text: str) -> str | bytes:
    """Compressed where that is worth it."""
    if len(text) < _WORTH_PACKING:
        return text
    packed = zlib.compress(text.encode(), 1)
    return packed if len(packed) < len(text) else text


def unpack(packed: str | bytes) -> str:
    return packed if isinstance(packed, str) else zlib.decompress(packed).decode()


def agent_facet(agent: str) -> str:
    """A word for an agent, whose name may hold what unicode61 splits at or folds."""
    return "a" + agent.encode().hex()


def role_facet(role: str) -> str:
    return f"r{role}"


def facets(agent: str, role: str, timestamp: str) -> str:
    """All of a message's: its year, month and day (UTC), so that a range of time is a few words."""
    year, month, day = timestamp[:4], timestamp[5:7], timestamp[8:10]
    return f"{agent_facet(agent)} {role_facet(role)} y{year} m{year}{month} d{year}{month}{day}"

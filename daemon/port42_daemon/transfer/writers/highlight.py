"""Code with a class on each token, as HTML: by Pygments' lexers, of languages that are common."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.lexer import Lexer

# Some of Pygments' hundreds of lexers take more than linear time on what is made to hurt them.
_COMMON = (
    "bash c c# c++ cpp cs css diff dockerfile go html ini java javascript js json kotlin make makefile php py"
    " python python3 rb ruby rs rust scss sh shell sql swift toml ts tsx typescript xml yaml yml zsh"
)
_LANGUAGES = frozenset(_COMMON.split())
_LONGEST = 16 * 1024
_CLASSES = (
    ("Comment", "c"),
    ("Keyword", "k"),
    ("Literal.String", "s"),
    ("Literal.Number", "n"),
    ("Name.Function", "f"),
    ("Name.Class", "f"),
    ("Name.Builtin", "b"),
    ("Name.Tag", "k"),
    ("Name.Attribute", "b"),
    ("Name.Decorator", "b"),
    ("Generic.Inserted", "i"),
    ("Generic.Deleted", "d"),
    ("Generic.Heading", "k"),
    ("Generic.Subheading", "k"),
)


def coloured(code: str, language: str) -> str:
    """`code` escaped, its tokens in ``<span class=…>``; without them where the language is not known."""
    lexer = _lexer(language.lower()) if len(code) <= _LONGEST else None
    if lexer is None:
        return escape(code)
    parts = []
    for kind, text in lexer.get_tokens(code):
        name = _class(str(kind).removeprefix("Token."))
        parts.append(f'<span class="{name}">{escape(text)}</span>' if name else escape(text))
    return "".join(parts)


@cache
def _lexer(language: str) -> Lexer | None:
    if language not in _LANGUAGES:
        return None
    # Imported here: only a page with code in it needs any of them.
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _class(kind: str) -> str:
    return next((name for beginning, name in _CLASSES if kind.startswith(beginning)), "")

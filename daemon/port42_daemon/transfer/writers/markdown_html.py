"""Markdown to HTML that runs and loads nothing: raw HTML is shown as text, images are links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

if TYPE_CHECKING:
    from pygments.lexer import Lexer

_SCHEMES = frozenset({"http", "https", "mailto"})
_NESTING = 40
_LONGEST = 64 * 1024
_BRACKETS = 4000
"""Maximum characters and opening brackets of Markdown; a message with more is shown as plain text.

The library takes 20 µs a character on hostile text, 90 µs on tables of empty cells, and more on brackets."""

# Pygments has hundreds of lexers; each of these takes at most 0.3 s on a hostile window.
_LANGUAGES = (
    " bash c c# c++ cpp cs css diff dockerfile go html ini java javascript js json kotlin make makefile php"
    " py python python3 rb ruby rs rust scss sh shell sql swift toml ts tsx typescript xml yaml yml zsh "
)
_LONGEST_CODE = 16 * 1024
_WINDOW = 2048
"""Characters of code that a lexer gets at once: on hostile code many take quadratic time, C#'s cubic."""
# CSS classes for kinds of tokens, by prefixes of their names.
_CLASSES = {
    "c": ("Comment",),
    "k": ("Keyword", "Name.Tag", "Generic.Heading", "Generic.Subheading"),
    "s": ("Literal.String",),
    "n": ("Literal.Number",),
    "f": ("Name.Function", "Name.Class"),
    "b": ("Name.Builtin", "Name.Attribute", "Name.Decorator"),
    "i": ("Generic.Inserted",),
    "d": ("Generic.Deleted",),
}


def render(text: str) -> str:
    if len(text) > _LONGEST or text.count("[") > _BRACKETS:
        return f"<pre>{escape(text)}</pre>\n"
    return str(_PARSER.render(text))


def highlight(code: str, language: str) -> str:
    """`code` escaped, its tokens in ``<span class=…>``; without them where the language is not known."""
    language = language.lower()
    if f" {language} " not in _LANGUAGES or len(code) > _LONGEST_CODE:
        return escape(code)
    lexer = _lexer(language)
    parts = []
    for window in _windows(code):
        # Longer lines are minified code or data.
        tokens = lexer.get_tokens(window) if len(window) <= _WINDOW else [("", window)]
        for kind, text in tokens:
            name = _class(str(kind).removeprefix("Token."))
            parts.append(f'<span class="{name}">{escape(text)}</span>' if name else escape(text))
    return "".join(parts)


def _windows(code: str) -> Iterator[str]:
    """Whole lines, together at most `_WINDOW` characters or one line."""
    window = ""
    for line in code.splitlines(keepends=True):
        if window and len(window) + len(line) > _WINDOW:
            yield window
            window = ""
        window += line
    yield window


@cache
def _lexer(language: str) -> Lexer:
    # Imported here: only a page with code in it needs any of them.
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


@cache
def _class(kind: str) -> str:
    return next((name for name, prefixes in _CLASSES.items() if kind.startswith(prefixes)), "")


def _is_safe(link: str) -> bool:
    """Whether the link's scheme is allowed. Others, such as `javascript:` and `data:`, stay text."""
    try:
        scheme = urlsplit(link.strip()).scheme.lower()
    except ValueError:
        return False
    return scheme in _SCHEMES


class _Renderer(RendererHTML):
    """The library's renderer with changed links, images and code."""

    def link_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """A link that sends no referrer."""
        tokens[index].attrSet("rel", "noopener noreferrer nofollow")
        return str(self.renderToken(tokens, index, options, env))

    def image(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """A link to the image: loading it would tell its server when the page is read."""
        token = tokens[index]
        text = self.renderInlineAsText(token.children or [], options, env) or "image"
        source = escape(str(token.attrGet("src") or ""))
        return (
            f'<a class="image" href="{source}" rel="noopener noreferrer nofollow">image: {escape(text)}</a>'
        )

    def fence(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        del options, env
        token = tokens[index]
        language = token.info.split()[0] if token.info.strip() else ""
        label = f' data-language="{escape(language[:24])}"' if language else ""
        return f"<pre{label}><code>{highlight(token.content, language)}</code></pre>\n"


_PARSER = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING}, renderer_cls=_Renderer).enable(
    ["table", "strikethrough"]
)
_PARSER.validateLink = _is_safe  # type: ignore[method-assign, assignment]  # the library's documented way to narrow it

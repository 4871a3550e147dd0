"""Markdown to HTML that runs and loads nothing: raw HTML is shown as text, images are links.

Of GitHub's dialect: tables, strikethrough and task lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
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


def render(text: str, *, line_breaks: bool = False) -> str:
    """With `line_breaks` a line of a paragraph ends where the text's does."""
    if len(text) > _LONGEST or text.count("[") > _BRACKETS:
        return f"<pre>{escape(text)}</pre>\n"
    return str((_PARSER_OF_LINES if line_breaks else _PARSER).render(text))


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

    def th_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        """A cell whose alignment is a class: the page's policy lets no style attribute in."""
        token = tokens[index]
        if style := token.attrs.pop("style", None):
            token.attrSet("class", str(style).removeprefix("text-align:"))
        return str(self.renderToken(tokens, index, options, env))

    td_open = th_open


def _mark_tasks(state: StateCore) -> None:
    """Make boxes of the ``[ ]`` and ``[x]`` at the beginning of a list's items."""
    for item, _, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type != "list_item_open" or inline.type != "inline" or not inline.children:
            continue
        first = inline.children[0]
        if first.type == "text" and (box := _BOXES.get(first.content[:4].lower())):
            first.content = box + first.content[4:]
            item.attrJoin("class", "task")


def _parser(*, line_breaks: bool) -> MarkdownIt:
    options = {"html": False, "maxNesting": _NESTING, "breaks": line_breaks}
    parser = MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    parser.core.ruler.push("task_lists", _mark_tasks)
    parser.validateLink = _is_safe  # type: ignore[method-assign, assignment]  # the library's documented way to narrow it
    return parser


_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ "}
_PARSER = _parser(line_breaks=False)
_PARSER_OF_LINES = _parser(line_breaks=True)

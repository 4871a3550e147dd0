"""Markdown as HTML that cannot run, load or redirect anything: raw HTML is text, images are links."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from port42_daemon.transfer.writers.highlight import coloured

_SCHEMES = frozenset({"http", "https", "mailto"})
_REL = "noopener noreferrer nofollow"
_NESTING = 40
_LONGEST = 256 * 1024
_BRACKETS = 4000
"""Characters, and opening brackets, that are read as Markdown: open ones take the library quadratic time.

A message with more is shown as the text it is."""


def render(text: str) -> str:
    """`text` as HTML blocks."""
    if len(text) > _LONGEST or text.count("[") > _BRACKETS:
        return f"<pre>{escape(text)}</pre>\n"
    return str(_READER.render(text))


def _safe(link: str) -> bool:
    """Whether a link leads to a page or a mailbox. The rest, `javascript:` and `data:` too, stays text."""
    try:
        scheme = urlsplit(link.strip()).scheme.lower()
    except ValueError:
        return False
    return scheme in _SCHEMES


class _Renderer(RendererHTML):
    """The library's renderer, with our own way with links, images and code."""

    def link_open(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
        """A link that tells its target nothing of where it was."""
        tokens[place].attrSet("rel", _REL)
        return str(self.renderToken(tokens, place, options, env))

    def image(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
        """A link to it: a page that loads images tells others when it is read."""
        token = tokens[place]
        text = self.renderInlineAsText(token.children or [], options, env) or "image"
        source = escape(str(token.attrGet("src") or ""))
        return (
            f'<a class="image" href="{source}" rel="noopener noreferrer nofollow">image: {escape(text)}</a>'
        )

    def fence(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
        """Code, coloured where its language is known."""
        del options, env
        token = tokens[place]
        language = token.info.split()[0] if token.info.strip() else ""
        label = f' data-language="{escape(language[:24])}"' if language else ""
        return f"<pre{label}><code>{coloured(token.content, language)}</code></pre>\n"

    def code_block(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
        """Code by indentation."""
        del options, env
        return f"<pre><code>{escape(tokens[place].content)}</code></pre>\n"


_READER = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING}, renderer_cls=_Renderer).enable(
    ["table", "strikethrough"]
)
_READER.validateLink = _safe  # type: ignore[method-assign, assignment]  # the library's documented way to narrow it

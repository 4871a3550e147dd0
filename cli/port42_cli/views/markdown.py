"""Markdown that is still being written: which of it is finished, and how either part looks.

Pure: text comes in, rich renderables go out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown
from rich.segment import Segment

from port42_cli.plain_text import visible

# What looks like HTML is text here: a terminal shows it, where a browser would make something of it.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])

_REFLOWED = {"ordered_list_open", "table_open"}
"""Blocks that are laid out anew as they grow: columns get wider, numbers get another digit."""


class Block(Markdown):
    """One block of a document: a paragraph, a list, a fence. `steady`: lines once shown stay the same."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__("", hyperlinks=False)  # where a link leads is to be read, not to be guessed
        self.parsed = list(tokens)
        self.steady = not any(token.type in _REFLOWED for token in tokens)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The block alone: without the blank line that lists, quotes and tables come with."""
        began = False
        for segment in super().__rich_console__(console, options):
            began = began or not isinstance(segment, Segment) or segment.text != "\n"
            if began:
                yield segment


class Growing:
    """A document that grows at its end. `rest` is its last block, which may still become another one."""

    def __init__(self) -> None:
        self._text = ""
        self.rest: Block | None = None

    def add(self, text: str) -> list[Block]:
        """Take a piece; gives the blocks that it finished."""
        self._text += text
        # A piece may end between \r and \n, and only together are they harmless.
        blocks = list(_blocks(_PARSER.parse(visible(self._text))))
        if not blocks:
            return []
        *finished, (start, rest) = blocks
        if finished:
            self._text = "\n".join(self._text.split("\n")[start:])
        self.rest = rest
        return [block for _, block in finished]

    def end(self) -> Block | None:
        """The last block, which is finished now; the next piece begins a new document."""
        rest, self.rest, self._text = self.rest, None, ""
        return rest


def blocks(text: str) -> list[Block]:
    """The blocks of a whole document."""
    return [block for _, block in _blocks(_PARSER.parse(visible(text)))]


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[int, Block]]:
    """Each outermost block with the line it begins at."""
    own: list[Token] = []
    for token in tokens:
        own.append(token)
        if token.level == 0 and token.nesting <= 0:
            start = own[0].map
            yield start[0] if start else 0, Block(own)
            own = []

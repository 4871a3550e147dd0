"""Markdown on a terminal, whole or while it is written: every word of it is shown, at linear cost.

Other than in rich's own Markdown, no control characters are left, also where an entity or a link stood for
them; images are links; code can be copied as it is; what is too wide for its place (tables, quotes in
quotes) is laid out otherwise instead of being cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, list_block, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token
from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import BlockQuote, CodeBlock, ListItem, Markdown, MarkdownElement, TableElement
from rich.measure import Measurement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import one_line, visible

PIECE = 2048
"""Characters of one block that are parsed and drawn together. A longer block is shown in pieces: the last
block of a reply is parsed and drawn again whenever it grows, and its cost must stay linear."""

_WHOLE = 4 * PIECE
"""The same for a list item or a quote: code in it, once cut, could not be told from text."""

_LATELY = 256  # characters at the end of a piece in which it is cut, at the end of a line or a word
_DEEPEST = 8  # quotes and lists in one another; deeper ones are text, where markdown-it drops them
_MOST_COLUMNS = 40  # of a table; a few characters more could stand for thousands of empty cells
_NARROWEST = 16  # columns of the terminal that are left to what is quoted or listed

_REFLOWED = {"ordered_list_open", "table_open"}
"""Blocks that are laid out anew as they grow: columns get wider, numbers get another digit."""
_CONTAINERS = {"bullet_list_open", "ordered_list_open", "blockquote_open"}
_FENCE = re.compile(r" {0,3}(?:`{3,40}|~{3,40})[^\n]{0,60}")


class Block:
    """One block of a document (a paragraph, a list, a fence, …), or a piece of a long one.

    `steady`: lines once shown stay the same while it grows. `continued`: the next block is the rest of it.
    """

    def __init__(self, tokens: Sequence[Token], *, continued: bool = False) -> None:
        self.steady = not any(token.type in _REFLOWED for token in tokens)
        self.is_code = tokens[0].type in {"fence", "code_block"}
        self.continued = continued
        # Rich makes a parser for each, which takes longer than most blocks take to draw.
        self._markdown = copy(_BLANK)
        self._markdown.parsed = list(_safe(tokens))
        _mark_tasks(self._markdown.parsed)

    def lines(self, console: Console, width: int | None = None) -> list[list[Segment]]:
        """Its lines, without blank ones around them, and without blanks at their ends, which would be copied
        with the text and wrap when the terminal gets narrower."""
        options = console.options.update(width=width or console.width)
        lines = [_trimmed(line) for line in console.render_lines(self._markdown, options, pad=False)]
        filled = [number for number, line in enumerate(lines) if line]
        return lines[filled[0] : filled[-1] + 1] if filled else []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(console, options.max_width):
            yield from (*line, Segment.line())


class Growing:
    """A document that grows at its end. `rest` is its last block, which may still become another one."""

    def __init__(self) -> None:
        self._text = self._held = ""
        self.rest: Block | None = None

    def add(self, text: str) -> list[Block]:
        """Append text; gives the blocks that it finished."""
        text = self._held + text
        # Only together are \r and \n harmless, and `text` may end between them.
        self._held = "\r" if text.endswith("\r") else ""
        text = visible(text.removesuffix("\r"))
        finished: list[Block] = []
        for start in range(0, len(text), PIECE):
            self._text += text[start : start + PIECE]
            finished += self._parse()
        return finished

    def end(self) -> list[Block]:
        """The last block, which is finished now; the next text begins a new document."""
        self._text += visible(self._held)
        blocks = self._parse()
        if self.rest is not None:
            blocks.append(self.rest)
        self._text, self._held, self.rest = "", "", None
        return blocks

    def _parse(self) -> list[Block]:
        finished: list[Block] = []
        while blocks := list(_outermost(_PARSER.parse(self._text))):
            *whole, last = blocks
            finished += map(Block, whole)
            lines = self._text.split("\n")[_first_line(last[0]) :]
            self._text = "\n".join(lines)
            end = _end_of_piece(last, lines, self._text)
            if end is None:
                self.rest = Block(last)
                return finished
            *whole, piece = _outermost(_PARSER.parse(self._text[:end]))
            finished += (*map(Block, whole), Block(piece, continued=True))
            self._text = _reopened(last[0].type, self._text[:end], self._text[end:])
        # Blank so far, but its indentation may become that of code.
        self._text, self.rest = self._text.rpartition("\n")[2][-8:], None
        return finished


def blocks(text: str) -> list[Block]:
    """The blocks of a whole document."""
    document = Growing()
    return [*document.add(text), *document.end()]


def _outermost(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each outermost block."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _first_line(token: Token) -> int:
    return token.map[0] if token.map else 0


def _end_of_piece(block: Sequence[Token], lines: Sequence[str], text: str) -> int | None:
    """The end of a piece of a block that is too long; None while it is short enough."""
    kind = block[0].type
    if len(text) <= PIECE:
        return None
    if kind in {"bullet_list_open", "ordered_list_open"}:
        items = [_first_line(token) for token in block if token.type == "list_item_open" and token.level == 1]
        if last := items[-1] - items[0]:
            return sum(len(line) + 1 for line in lines[:last])
    limit = _WHOLE if kind in _CONTAINERS else PIECE
    if len(text) <= limit:
        return None
    for mark in "\n ":
        if (end := text.rfind(mark, limit - _LATELY, limit)) >= 0:
            return end + 1
    return limit


def _reopened(kind: str, piece: str, rest: str) -> str:
    """The rest of a block that was cut after `piece`, with what makes it a block of the same kind.

    What is added is shorter than what was cut off, so that the end is reached.
    """
    if kind == "fence" and (opening := _FENCE.match(piece)):
        return f"{opening[0]}\n{rest}"
    if kind == "table_open":
        header, rule, *_ = piece.split("\n", 2)
        return f"{header}\n{rule}\n{rest}" if len(header) + len(rule) < PIECE // 2 else rest
    if kind == "blockquote_open" and rest and not rest.lstrip().startswith(">"):
        return f"> {rest}"
    if kind == "code_block" and not piece.endswith("\n"):
        return f"    {rest}"
    return rest


def _parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough, in which no word is lost."""
    # What looks like HTML is text. A link's definition may come long after the link, so it is text, too.
    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable(["strikethrough", "table"]).disable("reference")
    ends = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.at("blockquote", partial(_shallow, blockquote), {"alt": ends})
    parser.block.ruler.at("list", partial(_shallow, list_block), {"alt": ends[:3]})
    parser.block.ruler.at("table", _table, {"alt": ends[:2]})
    # Links stay as they were written: they are there to be read, and decoding could make an escape sequence.
    parser.normalizeLink = str  # type: ignore[method-assign, assignment]
    parser.normalizeLinkText = str  # type: ignore[method-assign, assignment]
    return parser


def _shallow(rule: Callable[..., bool], state: StateBlock, start: int, end: int, silent: bool) -> bool:
    return state.level < _DEEPEST and rule(state, start, end, silent)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table, with the cells that a row has too many in its last one, where the specification drops them."""
    header = state.src[state.bMarks[start] : state.eMarks[start]]
    before = len(state.tokens)
    if header.count("|") > _MOST_COLUMNS or not table(state, start, end, silent):
        return False
    columns = sum(token.type == "th_open" for token in state.tokens[before:])
    for position, token in enumerate(state.tokens[before:], before):
        if token.type == "td_close" and state.tokens[position + 1].type == "tr_close":
            cell = state.tokens[position - 1]
            line = _first_line(cell)
            row = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()
            cells = escapedSplit(row.removeprefix("|").removesuffix("|"))
            cell.content = " | ".join((cell.content, *map(str.strip, cells[columns:])))
    return True


_PARSER = _parser()


def _safe(tokens: Iterable[Token]) -> Iterator[Token]:
    """The tokens with nothing in them that a terminal obeys, and with images as links."""
    for token in tokens:
        token.content, token.info = visible(token.content), one_line(token.info)
        if token.type == "image":
            yield Token("link_open", "a", 1, attrs={"href": _target(token, "src")})
            yield from _safe(token.children or ())
            yield Token("link_close", "a", -1)
            continue
        if token.type == "link_open":
            token.attrs["href"] = _target(token, "href")
        if token.children:
            token.children = list(_safe(token.children))
        # A link that is its own text needs to be shown only once.
        if not (token.info == "auto" and token.type in {"link_open", "link_close"}):
            yield token


def _mark_tasks(tokens: Sequence[Token]) -> None:
    """Make boxes of the ``[ ]`` and ``[x]`` at the beginning of a list's items."""
    for item, _, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if item.type == "list_item_open" and inline.children:
            first = inline.children[0]
            if first.type == "text" and (box := _BOXES.get(first.content[:4].lower())):
                first.content = box + first.content[4:]


_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ "}


def _target(token: Token, name: str) -> str:
    title = token.attrs.get("title")
    return one_line(f'{token.attrs[name]} "{title}"' if title else str(token.attrs[name]))


class _Code(CodeBlock):
    """Code without blanks around it, under its info string, unless that is a language that colours show."""

    info: str

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Code:
        code = cls((token.info.split() or ["text"])[0], markdown.code_theme)
        code.info = token.info.strip()
        return code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        syntax = Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True, background_color="default")
        if self.info and (syntax.lexer is None or self.info != self.lexer_name):
            yield Text(self.info, "dim")
        yield syntax


class _Quote(BlockQuote):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        mark = Segment("▌ ", self.style)
        yield from _marked(self.elements, console, options, mark, mark)


class _Item(ListItem):
    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.item.bullet", default="none")
        yield from _marked(self.elements, console, options, Segment(" • ", style), Segment("   ", style))

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        width = len(str(last_number)) + 2
        style = console.get_style("markdown.item.number", default="none")
        mark = Segment(f"{number} ".rjust(width), style)
        yield from _marked(self.elements, console, options, mark, Segment(" " * width, style))


def _marked(
    elements: RenderableType, console: Console, options: ConsoleOptions, first: Segment, others: Segment
) -> RenderResult:
    """What is quoted or listed, behind its mark; where that would leave too little room, below it."""
    width = options.max_width - first.cell_length
    if width < _NARROWEST:
        yield from (first, Segment.line())
        width, first, others = options.max_width, Segment(""), Segment("")
    lines = console.render_lines(elements, options.update(width=width), pad=False)
    for number, line in enumerate(lines):
        yield from (others if number else first, *line, Segment.line())


class _Table(TableElement):
    """A table; where its words do not fit beside each other, a line for each cell, after its heading."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        headings = [cell.content for cell in self.header.row.cells] if self.header and self.header.row else []
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        if widths := _widths(console, options, list(zip(headings, *rows, strict=True))):
            drawn = Table(box=SIMPLE, pad_edge=False, style="markdown.table.border", collapse_padding=True)
            for heading, width in zip(headings, widths, strict=True):
                drawn.add_column(heading, header_style="markdown.table.header", overflow="fold", width=width)
            for row in rows:
                drawn.add_row(*row)
            yield drawn
            return
        for row in rows or [[Text()] * len(headings)]:
            for heading, cell in zip(headings, row, strict=True):
                yield Text.assemble(heading, ": " if cell else "", cell)
            yield Text()


def _widths(console: Console, options: ConsoleOptions, columns: Sequence[Sequence[Text]]) -> list[int] | None:
    """The columns' widths; None where their longest words do not fit beside each other.

    Rich would narrow the widest columns, even below what their words need.
    """
    wide = options.update(width=10_000)
    cells = [[Measurement.get(console, wide, cell) for cell in column] for column in columns]
    widths = [max(cell.minimum for cell in column) for column in cells]
    wanted = [max(cell.maximum for cell in column) for column in cells]
    room = options.max_width - sum(widths) - 3 * len(widths)
    if room < 0:
        return None
    # Those that want least more get it, the others share what is left.
    by_want = sorted(range(len(widths)), key=lambda column: wanted[column] - widths[column])
    for done, column in enumerate(by_want):
        more = min(wanted[column] - widths[column], room // (len(widths) - done))
        widths[column] += more
        room -= more
    return widths


class _Markdown(Markdown):
    """One block as rich draws it, with our elements in place of some of its own."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "blockquote_open": _Quote,
        "list_item_open": _Item,
        "table_open": _Table,
    }


_BLANK = _Markdown("", hyperlinks=False)  # where a link leads is to be read, not to be guessed


def _trimmed(line: list[Segment]) -> list[Segment]:
    """A line without invisible blanks at its end."""
    while line and not (line[-1].style and line[-1].style.bgcolor):
        text = line[-1].text.rstrip(" ")
        if text:
            return [*line[:-1], Segment(text, line[-1].style)]
        line = line[:-1]
    return line

"""The end of a session in the picker, as styled fragments: replies as the Markdown that they are.

rich draws it, as in `port42 show`; its escape codes are read by prompt_toolkit, which owns the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prompt_toolkit.formatted_text import ANSI, to_formatted_text
from prompt_toolkit.formatted_text import StyleAndTextTuples as Fragments
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.picker.rows import QUIET, cut, prefix
from port42_cli.plain_text import one_line, visible
from port42_cli.views import activities, rich_printer
from port42_cli.views.markdown import blocks
from port42_cli.views.snippets import snippet
from port42_protocol.messages.records import Activity, AssistantMessage, Message, Record
from port42_protocol.messages.search import Hit

_PREVIEWED = 2000
"""Characters of a message's beginning that a preview may show."""


def preview(fit: Fit, records: Sequence[Record], columns: int, lines: int) -> Fragments:
    """The last `lines` of a session; where a message fits, its snippet first."""
    head = _snippet(fit.hit, columns) if fit.hit else []
    room = lines - len(head)
    body: list[Fragments] = []
    for record in reversed(records):
        if len(body) >= room:
            break
        body = [*_lines(record, columns), *body]
    kept = head + body[max(0, len(body) - room) :]
    return [part for line in kept for part in (*line, ("", "\n"))][:-1]


def _snippet(hit: Hit, columns: int) -> list[Fragments]:
    line = rich_printer.text(snippet(hit), fit="ellipsis")
    return _fitting_lines(rich_printer.ansi_lines([line], columns), columns)[:1]


def _lines(record: Record, columns: int) -> Iterator[Fragments]:
    if isinstance(record, Activity):
        folded = "".join(text for text, _ in activities.line(record))
        yield [(QUIET, cut(one_line(folded), columns))]
    elif isinstance(record, Message):
        author = f" ({one_line(record.author)})" if record.author else ""
        name = f"{cut(f'{record.role}{author}', columns - 10).rstrip()}: "
        begins, width = record.content[:_PREVIEWED], max(8, columns - get_cwidth(name))
        if isinstance(record, AssistantMessage):
            drawn = _fitting_lines(rich_printer.ansi_lines(blocks(begins), width), width) or [[]]
        else:
            drawn = [[("", line)] for line in _wrapped(visible(begins), width)]
        for number, line in enumerate(drawn):
            yield [("bold", " " * get_cwidth(name) if number else name), *line]


def _fitting_lines(lines: Iterable[str], width: int) -> list[Fragments]:
    """Lines with escape codes, each cut by the width that prompt_toolkit counts."""
    return [_fitting(ANSI(line), width) for line in lines]


def _fitting(line: ANSI, width: int) -> Fragments:
    fitting: Fragments = []
    for style, text, *_ in to_formatted_text(line):
        if (width := width - get_cwidth(text)) < 0:
            break
        fitting.append((style, text))
    return fitting


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of the text in pieces of at most `width` columns."""
    for line in text.expandtabs(4).splitlines() or [""]:
        piece = prefix(line, width)
        yield piece
        while line := line[len(piece) :]:
            piece = prefix(line, width)
            yield piece

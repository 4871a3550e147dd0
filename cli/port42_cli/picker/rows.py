"""The picker's lines as styled fragments, cut to the terminal's columns; wide characters count as two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from prompt_toolkit.formatted_text import StyleAndTextTuples as Fragments
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.plain_text import age, one_line, visible
from port42_cli.views import activities
from port42_protocol.messages.records import Activity, Message, Record

QUIET = "ansibrightblack"
_AGENT = 16
_AGE = 11
_COUNT = 6


def row(fit: Fit, chosen: bool, columns: int, now: datetime) -> Fragments:
    session = fit.session
    room = max(8, columns - 2 - _AGE - 1 - _AGENT - 1 - _COUNT - 1)
    title = ("● " if session.pinned else "") + (one_line(session.title or "") or "untitled")
    marked = "reverse " if chosen else ""
    return [
        (f"{marked}bold", "› " if chosen else "  "),
        (f"{marked}{QUIET}", cut(age(session.last_activity, now), _AGE) + " "),
        (f"{marked}ansicyan", cut(f"@{session.agent}", _AGENT) + " "),
        (marked if session.title else f"{marked}{QUIET}", cut(title, room)),
        (f"{marked}{QUIET}", f" {session.message_count:>{_COUNT},}"),
    ]


def preview(fit: Fit, records: Sequence[Record], columns: int, lines: int) -> Fragments:
    """The last `lines` of a session; where a message fits, its snippet first."""
    head: list[Fragments] = [[("ansiyellow", cut(one_line(fit.snippet), columns))]] if fit.snippet else []
    body = list(_lines(records, columns))
    kept = head + body[max(0, len(body) + len(head) - lines) :]
    return [part for line in kept for part in (*line, ("", "\n"))][:-1]


def _lines(records: Sequence[Record], columns: int) -> Iterator[Fragments]:
    for record in records:
        if isinstance(record, Activity):
            folded = "".join(text for text, _ in activities.line(record))
            yield [(QUIET, cut(one_line(folded), columns))]
        elif isinstance(record, Message):
            name = f"{record.role}: "
            for number, line in enumerate(_wrapped(visible(record.content), columns - len(name))):
                yield [("bold", " " * len(name) if number else name), ("", line)]


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of the text's first 2,000 characters in pieces of at most `width` columns."""
    for line in text[:2000].expandtabs(4).splitlines() or [""]:
        piece = _prefix(line, max(8, width))
        yield piece
        while line := line[len(piece) :]:
            piece = _prefix(line, max(8, width))
            yield piece


def cut(text: str, width: int) -> str:
    """The text in exactly `width` columns: an ellipsis where it is longer, spaces where it is shorter."""
    if get_cwidth(text) > width:
        text = _prefix(text, width - 1) + "…"
    return text + " " * (width - get_cwidth(text))


def _prefix(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += get_cwidth(character)
        if used > width:
            return text[:position]
    return text

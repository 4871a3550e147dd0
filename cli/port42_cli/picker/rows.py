"""The picker's lines as styled fragments: pure, cut to the columns there are, wide characters counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.plain_text import age, one_line, visible
from port42_protocol.messages.records import Message

Fragments = StyleAndTextTuples
"""prompt_toolkit's fragment: a style class and text."""

_AGENT = 16
_AGE = 11
_COUNT = 6


def row(fit: Fit, chosen: bool, columns: int, now: datetime) -> Fragments:
    session = fit.choice
    room = max(8, columns - 2 - _AGE - 1 - _AGENT - 1 - _COUNT - 1)
    pin = "● " if session.pinned else ""
    title = pin + (one_line(session.title) or "untitled")
    fragments: Fragments = [
        ("class:mark", "› " if chosen else "  "),
        ("class:age", cut(age(session.last_activity, now), _AGE) + " "),
        ("class:agent", cut(f"@{session.agent}", _AGENT) + " "),
        ("class:title" if session.title else "class:quiet", cut(title, room)),
        ("class:quiet", f" {session.message_count:>{_COUNT},}"),
    ]
    if not chosen:
        return fragments
    return [(f"class:chosen {fragment[0]}", fragment[1]) for fragment in fragments]


def preview(fit: Fit, messages: Sequence[Message], columns: int, lines: int) -> Fragments:
    """The end of a session in so many lines: who said what; where a message fits, that first."""
    head: list[Fragments] = [[("class:hit", cut(one_line(fit.snippet), columns))]] if fit.snippet else []
    body = list(_lines(messages, columns))
    kept = head + body[max(0, len(body) + len(head) - lines) :]
    return [part for line in kept for part in (*line, ("", "\n"))][:-1]


def _lines(messages: Sequence[Message], columns: int) -> Iterator[Fragments]:
    for message in messages:
        name = f"{message.role}: "
        content = message.content
        for number, line in enumerate(_wrapped(visible(content), columns - len(name))):
            yield [("class:role", name if number == 0 else " " * len(name)), ("", line)]


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text's lines in pieces of at most `width` columns, its first 2,000 characters of it."""
    for line in text[:2000].expandtabs(4).splitlines() or [""]:
        piece, used = "", 0
        for character in line:
            wide = max(0, get_cwidth(character))
            if used + wide > max(8, width):
                yield piece
                piece, used = "", 0
            piece, used = piece + character, used + wide
        yield piece


def cut(text: str, width: int) -> str:
    """The text in exactly `width` columns: an ellipsis where it is longer, spaces where it is shorter."""
    used, kept = 0, ""
    for character in text:
        wide = max(0, get_cwidth(character))
        if used + wide > width:
            # The ellipsis takes the place of what the last character, one or two columns, had.
            while kept and used > width - 1:
                used -= max(0, get_cwidth(kept[-1]))
                kept = kept[:-1]
            return kept + "…" + " " * (width - used - 1)
        kept, used = kept + character, used + wide
    return kept + " " * (width - used)

"""The picker's lines as styled fragments, cut to the terminal's columns; wide characters count as two."""

from __future__ import annotations

from datetime import datetime

from prompt_toolkit.formatted_text import StyleAndTextTuples as Fragments
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.plain_text import age, one_line

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


def cut(text: str, width: int) -> str:
    """The text in exactly `width` columns: an ellipsis where it is longer, spaces where it is shorter."""
    if get_cwidth(text) > width:
        text = prefix(text, width - 1) + "…"
    return text + " " * (width - get_cwidth(text))


def prefix(text: str, width: int) -> str:
    """As much of the text's beginning as `width` columns hold."""
    used = 0
    for position, character in enumerate(text):
        used += get_cwidth(character)
        if used > width:
            return text[:position]
    return text

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
_WITH_AGENT, _WITH_COUNT = 56, 70  # columns of a terminal whose rows have these


def row(fit: Fit, chosen: bool, columns: int, now: datetime) -> Fragments:
    """A session in a line; a narrow one has no count, a narrower one no agent, so that the title has room."""
    session = fit.session
    marked = "reverse " if chosen else ""
    quiet = f"{marked}{QUIET}"
    before: Fragments = [(f"{marked}bold", "› " if chosen else "  ")]
    before.append((quiet, cut(age(session.last_activity, now), _AGE) + " "))
    if columns >= _WITH_AGENT:
        before.append((f"{marked}ansicyan", cut(f"@{one_line(session.agent)}", _AGENT) + " "))
    after: Fragments = []
    if columns >= _WITH_COUNT:
        after.append((quiet, f" {session.message_count:>{_COUNT},}"))
    title = ("● " if session.pinned else "") + (one_line(session.title or "") or "untitled")
    room = columns - sum(get_cwidth(text) for _, text, *_ in (*before, *after))
    return [*before, (marked if session.title else quiet, cut(title, max(8, room))), *after]


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

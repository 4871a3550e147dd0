"""Sessions in a list, and search hits in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from port42_cli.plain_text import age, going_on, one_line
from port42_cli.views.parts import Column, Line, Part, Span, Table, number
from port42_protocol.messages.records import Summary
from port42_protocol.messages.sessions import ListedSession

if TYPE_CHECKING:
    from port42_protocol.messages.search import Hit


def sessions(listed: Sequence[ListedSession], now: datetime) -> list[Part]:
    """A row for each session. Scripts get id, agent, messages, last use, state with pin and tags, title."""
    return [Table(listed, (_SHORT_ID, AGENT, _TITLE_AND_STATE, MESSAGES, last_used(now)), _cells)]


def chosen(sessions: Sequence[Summary], now: datetime, *, label: str = "") -> Table[Summary]:
    """Sessions that something is to be done with, by their whole ids.

    Scripts get the `label`, id, agent, messages, last use, title.
    """
    columns = (SESSION_ID, AGENT, _TITLE_AND_STATE, MESSAGES, last_used(now))
    before = (label,) if label else ()
    return Table(sessions, columns, lambda session: (*before, *_facts(session), session.title))


def hits(page: Sequence[Hit], now: datetime) -> Iterator[Part]:
    """Hits under their session, the best first, and how to continue it.

    Scripts get ``id:seq: text``; a session's own title and tags have the seq 0.
    """
    yield from (Line(None, piped=f"{hit.session.session_id}:{hit.seq}: {hit.snippet}") for hit in page)
    by_session: dict[str, list[Hit]] = {}
    for hit in page:
        by_session.setdefault(hit.session.session_id, []).append(hit)
    for group in by_session.values():
        session = group[0].session
        facts = f"  @{session.agent} · {age(session.last_activity, now)}  "
        yield Line([(session.session_id, "bold"), (facts, "cyan"), *title(session)], fit="ellipsis")
        yield from (Line(partial(_snippet, hit)) for hit in group)
        yield Line([(f"  {going_on(session)}", "dim")], fit="fold")
        yield Line("")


def title(session: Summary) -> list[Span]:
    pin = [("📌 ", "")] if session.pinned else []
    name = (session.title, "") if session.title else ("(untitled)", "dim")
    return [*pin, name, *((f" #{tag}", "dim") for tag in session.tags)]


def last_used(now: datetime) -> Column[Summary]:
    return Column("LAST USED", lambda session: age(session.last_activity, now), "dim", expendable=2)


def _title_and_state(session: Summary) -> list[Span]:
    return [*title(session), *([(" (ended)", "dim")] if session.state == "ended" else [])]


def _cells(session: Summary) -> tuple[object, ...]:
    marks = " ".join((session.state, *["pinned"] * session.pinned, *(f"#{tag}" for tag in session.tags)))
    return (*_facts(session), marks, session.title)


def _facts(session: Summary) -> tuple[object, ...]:
    return (session.session_id, session.agent, session.message_count, session.last_activity)


def _snippet(hit: Hit) -> list[Span]:
    # Imported here: scripts and other lists need no Markdown.
    from port42_cli.views.snippets import snippet

    author = f" ({one_line(hit.author)})" if hit.author else ""
    return [(f"  {hit.seq} {hit.role}{author}: ", "dim"), *snippet(hit)]


SESSION_ID: Column[Summary] = Column("ID", lambda session: session.session_id, "bold")
AGENT: Column[Summary] = Column("AGENT", lambda session: f"@{session.agent}", "cyan", expendable=1)
TITLE: Column[Summary] = Column("TITLE", title, fit="ellipsis")
MESSAGES: Column[Summary] = number("MESSAGES", lambda session: session.message_count, expendable=3)
_SHORT_ID: Column[ListedSession] = Column("ID", lambda session: session.short_id, "bold")
_TITLE_AND_STATE = TITLE._replace(cell=_title_and_state)

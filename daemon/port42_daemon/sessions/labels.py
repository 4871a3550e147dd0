"""The rules of titles, tags, pins and ends: each adds an event to a session where it changes something."""

from __future__ import annotations

import re
from typing import Any

from port42_daemon.store.interface import ENDED, PINNED, RENAMED, TAGGED, SessionWriter
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import EventRecord
from port42_protocol.messages.search import PinSession, RenameSession, TagSession
from port42_protocol.messages.sessions import EndSession
from port42_protocol.messages.types import NAME_PATTERN
from port42_protocol.times import now

_MOST_TAGS = 32
AGENT_REF = re.compile(f"@{NAME_PATTERN}")
"""A reference to an agent's last session."""


def end(session: SessionWriter, _: EndSession) -> None:
    if session.summary.state != "ended":
        session.append((new_event(ENDED),), use=False)


def rename(session: SessionWriter, request: RenameSession) -> None:
    if session.summary.title != request.title:
        session.append((new_event(RENAMED, title=request.title),), use=False)


def tag(session: SessionWriter, request: TagSession) -> None:
    """Add tags and remove others; they keep the order in which they came."""
    before = session.summary.tags
    tags = tuple(dict.fromkeys([tag for tag in before if tag not in request.remove] + [*request.add]))
    if len(tags) > _MOST_TAGS:
        expected = f"no more than {_MOST_TAGS} tags on a session, with those it has"
        raise InvalidParams.expecting("add", expected)
    # Another order alone is no change.
    if set(tags) != set(before):
        session.append((new_event(TAGGED, tags=tags),), use=False)


def pin(session: SessionWriter, request: PinSession) -> None:
    if session.summary.pinned != request.pinned:
        session.append((new_event(PINNED, pinned=request.pinned),), use=False)


def new_event(name: str, **changed: Any) -> EventRecord:
    """An event of now that has no seq yet."""
    return EventRecord(seq=0, event=name, timestamp=now(), **changed)


def require_title(title: str | None) -> None:
    """Raises `InvalidParams` for a title that no reference can find."""
    if title is not None and (title.strip() == "last" or AGENT_REF.fullmatch(title.strip())):
        raise InvalidParams.expecting("title", "another title than last or @AGENT, which mean a last session")

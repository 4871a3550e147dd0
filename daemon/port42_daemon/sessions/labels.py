"""What people put on a session to find it again: another title, tags, a pin.

Each is an event in the session's file, and none is a use of it: the agent's last session stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from port42_daemon.sessions.service import Sessions, now
from port42_daemon.store.session_file.document import PINNED, RENAMED, TAGGED
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import EventRecord, Summary
from port42_protocol.messages.search import PinSession, RenameSession, TagSession

_MOST_TAGS = 32


class Marks:
    """The handlers. Whoever asks for what is there already changes nothing."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def rename_session(self, request: RenameSession) -> Summary:
        """Give it another title."""

        def rename(session: Summary) -> Sequence[EventRecord]:
            return () if session.title == request.title else (_event(RENAMED, title=request.title),)

        return await self._sessions.mark(request.session_id, request.agent, rename)

    async def tag_session(self, request: TagSession) -> Summary:
        """Put tags on it and take others off; they keep the order in which they came."""

        def tag(session: Summary) -> Sequence[EventRecord]:
            kept = [one for one in session.tags if one not in request.remove]
            tags = tuple(dict.fromkeys([*kept, *request.add]))
            if len(tags) > _MOST_TAGS:
                expected = f"no more than {_MOST_TAGS} tags on a session, with those it has"
                raise InvalidParams.expecting("add", expected)
            # A list that was only put into another order is what it was.
            return () if set(tags) == set(session.tags) else (_event(TAGGED, tags=tags),)

        return await self._sessions.mark(request.session_id, request.agent, tag)

    async def pin_session(self, request: PinSession) -> Summary:
        """Pin it, or let it go."""

        def pin(session: Summary) -> Sequence[EventRecord]:
            return () if session.pinned == request.pinned else (_event(PINNED, pinned=request.pinned),)

        return await self._sessions.mark(request.session_id, request.agent, pin)


def _event(name: str, **changed: Any) -> EventRecord:
    return EventRecord(seq=0, event=name, timestamp=now(), **changed)

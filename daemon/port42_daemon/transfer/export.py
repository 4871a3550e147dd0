"""`export_session`: a session as text, a page at a time, as it stood when its first page was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from port42_daemon.executors import Threads
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Store
from port42_daemon.transfer.writers import paging
from port42_daemon.transfer.writers.base import Ends
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import Message
from port42_protocol.messages.transfer import ExportPage, ExportSession

_READ_AT_ONCE = 256
_READ_BYTES = 256 * 1024


class Exporting:
    """The export, over a store."""

    def __init__(self, store: Store, threads: Threads, sessions: Sessions) -> None:
        self._store = store
        self._threads = threads
        self._sessions = sessions

    async def export_session(self, request: ExportSession) -> ExportPage:
        """The next page of the session's text."""
        place = None
        if request.cursor is not None:
            try:
                place = paging.parse_cursor(request.cursor)
            except ValueError:
                raise _no_cursor() from None
        await self._sessions.owned(request.session_id, request.agent)
        return await self._threads.files(self._page, request, place)

    def _page(self, request: ExportSession, place: paging.Place | None) -> ExportPage:
        header, footer = self._store.ends(request.session_id, place.through if place else None)
        if place is not None and place.through != footer.last_seq:
            raise _no_cursor()
        place = place or paging.Place(footer.last_seq)
        found: Counter[str] = Counter()
        if request.redact:
            # Counted where they are first shown, and once.
            counted = found if place == paging.Place(footer.last_seq) else Counter[str]()
            ends = paging.without_secrets(header, footer, self._first_said(request.session_id), counted)
        else:
            ends = Ends(header, footer)
        text, onward = paging.next_page(
            paging.WRITERS[request.format],
            ends,
            lambda after: self._records(request.session_id, after, footer.last_seq),
            place,
            found if request.redact else None,
        )
        return ExportPage(text, onward.cursor() if onward else None, dict(sorted(found.items())))

    def _records(self, session_id: str, after: int, through: int) -> Iterator[Message]:
        onward: int | None = after
        while onward is not None:
            page, onward = self._store.read(
                session_id, after_seq=onward, limit=_READ_AT_ONCE, max_bytes=_READ_BYTES, events=True
            )
            for record in page:
                if record.seq > through:
                    return
                yield record

    def _first_said(self, session_id: str) -> str | None:
        """What a title was made from, if it was."""
        page, _ = self._store.read(
            session_id, after_seq=0, limit=_READ_AT_ONCE, max_bytes=_READ_BYTES, events=False
        )
        return next((str(one.content) for one in page if one.role == "user" and one.content), None)


def _no_cursor() -> InvalidParams:
    expected = "a next_cursor from an earlier page"
    return InvalidParams(f"cursor: expected {expected}", field="cursor", expected=expected)

"""`export_session`: a session as text, a page at a time, as it was when the first page was asked for.

The text is an opening, a piece for each record and a closing, cut into pages of `PAGE_CHARACTERS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice

import msgspec

from port42_daemon.executors import Threads
from port42_daemon.rpc import cursors
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import SessionStore, title_from
from port42_daemon.transfer.writers import base, html, markdown
from port42_daemon.transfer.writers.base import Frame, Writer
from port42_daemon.transfer.writers.redaction import redact, redact_record
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import Activity, Record, UserMessage
from port42_protocol.messages.transfer import ExportPage, ExportSession

PAGE_CHARACTERS = 256 * 1024
"""In one page: at most 1.5 MiB of JSON, if each has to be escaped, which is below the limit of a response."""
WRITERS: dict[str, Writer] = {"json": base.JSON, "markdown": markdown.WRITER, "html": html.WRITER}
_READ_RECORDS = 256
_READ_BYTES = 256 * 1024

Records = Callable[[int], Iterator[Record]]
"""``records(after_seq)`` yields the later records."""


class Position(msgspec.Struct, frozen=True):
    """Start of a page: `offset` in the piece after the record `after`, of the session as of the record
    `through`.

    The opening is the piece after -1, that of the first record the piece after 0.
    """

    through: int
    after: int = -1
    offset: int = 0

    def cursor(self) -> str:
        return cursors.cursor(self.through, self.after + 1, self.offset)


class Exporter:
    """Handles `export_session`."""

    def __init__(self, store: SessionStore, threads: Threads, sessions: Sessions) -> None:
        self._store = store
        self._threads = threads
        self._sessions = sessions

    async def export_session(self, request: ExportSession) -> ExportPage:
        if request.format == "json" and not request.activities:
            raise InvalidParams.expecting("activities", "true with the format json, which loses nothing")
        start = None if request.cursor is None else parse_cursor(request.cursor)
        await self._sessions.owned(request.session_id, request.agent)
        return await self._threads.files(self._page, request, start)

    def _page(self, request: ExportSession, start: Position | None) -> ExportPage:
        session_id = request.session_id
        frame = Frame(*self._store.ends(session_id, start.through if start else None))
        start = start or Position(frame.footer.last_seq)
        if start.through != frame.footer.last_seq:
            raise cursors.refused()
        redactions: Counter[str] = Counter()
        if request.redact:
            # The user's first message: a title may be derived from it.
            first = islice(records_after(self._store, session_id, 0), _READ_RECORDS)
            messages = (record.content for record in first if isinstance(record, UserMessage))
            # Secrets in header and footer count on the first page only.
            counts = redactions if start == Position(start.through) else Counter[str]()
            frame = redact_frame(frame, next(filter(None, messages), None), counts)
        text, rest = next_page(
            request.format,
            frame,
            lambda after: (
                record
                for record in records_after(self._store, session_id, after)
                if request.activities or not isinstance(record, Activity)
            ),
            start,
            redactions if request.redact else None,
        )
        return ExportPage(text, rest.cursor() if rest else None, dict(sorted(redactions.items())))


def records_after(store: SessionStore, session_id: str, after: int) -> Iterator[Record]:
    """All later records, read a page at a time."""
    position: int | None = after
    while position is not None:
        page = store.read(
            session_id, after_seq=position, limit=_READ_RECORDS, max_bytes=_READ_BYTES, events=True
        )
        yield from page.records
        position = page.onward


def parse_cursor(cursor: str) -> Position:
    """Raises `InvalidParams`."""
    through, piece, offset = cursors.numbers(cursor, 3)
    if piece > through + 1:
        raise cursors.refused()
    return Position(through, piece - 1, offset)


def next_page(
    format_name: str, frame: Frame, records: Records, start: Position, redactions: Counter[str] | None
) -> tuple[str, Position | None]:
    """The text from `start` on, and where the next page begins, None at the end.

    With `redactions` secrets are replaced, and counted on the page on which their piece begins.
    """
    text, offset = "", start.offset
    for after, piece in _pieces(format_name, frame, records, start, redactions):
        room = PAGE_CHARACTERS - len(text)
        text += piece[offset : offset + room]
        if len(piece) - offset > room:
            return text, Position(start.through, after, offset + room)
        offset = 0
    _record_piece.cache_clear()
    return text, None


def _pieces(
    format_name: str, frame: Frame, records: Records, start: Position, redactions: Counter[str] | None
) -> Iterator[tuple[int, str]]:
    """Each piece from `start` on, with the seq before it."""
    writer = WRITERS[format_name]
    if start.after < 0:
        yield -1, writer.opening(frame)
    after = max(start.after, 0)
    if after < start.through:
        for record in records(after):
            if record.seq > start.through:
                break
            piece, counts = _record_piece(format_name, record, redacted=redactions is not None)
            # A piece that began on an earlier page is counted already.
            if redactions is not None and (start.offset == 0 or start.after != after):
                redactions.update(counts)
            yield after, (writer.between if after else "") + piece
            after = record.seq
    yield start.through, writer.closing(frame)


@lru_cache(maxsize=1)
def _record_piece(format_name: str, record: Record, *, redacted: bool) -> tuple[str, Counter[str]]:
    """The piece of one record. The last is cached, as one piece can span a hundred pages."""
    counts: Counter[str] = Counter()
    if redacted:
        record = redact_record(record, counts)
    return WRITERS[format_name].record(record), counts


def redact_frame(frame: Frame, first_message: str | None, redactions: Counter[str]) -> Frame:
    """The header and footer with their secrets replaced; `first_message` is the user's first.

    A title derived from it is derived again: a truncated secret would not be recognised.
    """
    header, footer = redact_record(frame.header, redactions), frame.footer
    if first_message is None or footer.title != title_from(first_message):
        return Frame(header, redact_record(footer, redactions))
    footer = redact_record(msgspec.structs.replace(footer, title=None), redactions)
    title = title_from(redact(first_message, Counter()))
    return Frame(header, msgspec.structs.replace(footer, title=title))

"""An export in pages: which piece comes next, cut so that every page is small, found again by a cursor."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from port42_daemon.store.session_file.document import Footer, Header, title_from
from port42_daemon.transfer.writers import html, json, markdown, redaction
from port42_daemon.transfer.writers.base import Ends, Writer
from port42_protocol.messages.records import Message

PAGE_CHARACTERS = 256 * 1024
"""Of text in one answer: 1.5 MiB as JSON where each has to be escaped, so below the limit of a page."""

WRITERS: dict[str, Writer] = {"json": json.WRITER, "markdown": markdown.WRITER, "html": html.WRITER}

Records = Callable[[int], Iterator[Message]]
"""``records(after_seq)`` gives each later record, at most through the seq that the export began with."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: in the session as it was at `through`, `offset` into the piece after `after`.

    The opening is the piece after -1, the first record's the one after 0.
    """

    through: int
    after: int = -1
    offset: int = 0

    def cursor(self) -> str:
        """As it travels."""
        plain = f"{self.through} {self.after} {self.offset}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def parse_cursor(cursor: str) -> Place:
    """The place in a cursor. Raises ValueError."""
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        place = Place(*map(int, plain.split(" ")))
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("a next_cursor from an earlier page") from None
    if not (
        0 <= place.through <= 2**53 and -1 <= place.after <= place.through and 0 <= place.offset <= 2**53
    ):
        raise ValueError("a next_cursor from an earlier page")
    return place


def next_page(
    writer: Writer, ends: Ends, records: Records, place: Place, found: Counter[str] | None
) -> tuple[str, Place | None]:
    """The text from `place` on, and where the next page begins, None at the end.

    With `found` secrets are replaced, and counted in the page where their piece begins.
    """
    text: list[str] = []
    room, offset = PAGE_CHARACTERS, place.offset
    for after, piece in _pieces(writer, ends, records, place, found):
        rest = piece[offset:]
        if len(rest) > room:
            text.append(rest[:room])
            return "".join(text), Place(place.through, after, offset + room)
        text.append(rest)
        room -= len(rest)
        offset = 0
    return "".join(text), None


def _pieces(
    writer: Writer, ends: Ends, records: Records, place: Place, found: Counter[str] | None
) -> Iterator[tuple[int, str]]:
    """Each piece from `place` on, with the seq that it comes after."""
    if place.after < 0:
        yield -1, writer.opening(ends)
    last = max(place.after, 0)
    if last < place.through:
        for record in records(last):
            counted = None if found is None else Counter[str]() if _begun(place, last) else found
            shown = record if counted is None else redaction.redacted(record, counted)
            yield last, (writer.between if last else "") + writer.record(shown)
            last = record.seq
    yield place.through, writer.closing(ends)


def _begun(place: Place, after: int) -> bool:
    """Whether an earlier page has the beginning of that piece."""
    return place.offset > 0 and place.after == after


def without_secrets(header: Header, footer: Footer, first: str | None, found: Counter[str]) -> Ends:
    """The ends with their secrets replaced; `first` is what the user said first.

    A title made from it is made anew: cut off in the middle, a secret would not look like one.
    """
    derived = first is not None and footer.title == title_from(first)
    title = title_from(redaction.redact(first, Counter())) if derived and first else None
    bare = msgspec.structs.replace(footer, title=None) if derived else footer
    clean = redaction.redacted(bare, found)
    if derived:
        clean = msgspec.structs.replace(clean, title=title)
    return Ends(redaction.redacted(header, found), clean)

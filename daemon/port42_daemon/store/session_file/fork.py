"""A fork: a session's records, or the first of them, under a header of its own. Pure bytes, no I/O."""

from __future__ import annotations

import msgspec

from port42_daemon.store.interface import Footer, Header
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.document import Document, Read
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import Record

_WORTH_SHARING = 64 * 1024
"""Bytes of records below which a copy costs less than the white space that lines the blocks up."""
_LARGEST_BLOCK = 64 * 1024


class Branch(msgspec.Struct, frozen=True, gc=False):
    """A fork's file: `head`, then `length` bytes of the original's records, then `tail`."""

    head: bytes
    length: int
    tail: bytes
    document: Document


def branch(read: Read, original: Document, seq: int, begun: tuple[Header, Record, int], block: int) -> Branch:
    """The fork of `original` at `seq`, `begun` with a header and a first record of its own, and its use.

    The records begin where the original's do in a block of `block` bytes, so that a file system can
    let both files share them. Raises `InvalidParams` where there is no such record, and `Damaged`.
    """
    header, event, use = begun
    footer, length = _up_to(read, original, seq)
    head = header.line()
    if length >= _WORTH_SHARING and block <= _LARGEST_BLOCK:
        head = header.line(len(head) + (original.records_at - len(head)) % block)
    # As if the copy were a session whose footer has no bytes yet: the event's append writes one.
    copied = document.assembled(header, footer, len(head), len(head) + length + 1, b"")
    growth = document.grow(copied, [event], use)
    return Branch(head, length, growth.data, growth.document)


def _up_to(read: Read, original: Document, seq: int) -> tuple[Footer, int]:
    """The fold through `seq`, and the bytes of the records through it, without what ends their last line."""
    if seq == original.footer.last_seq > 0:
        # The footer is the fold: not one record is looked at.
        return original.footer, original.footer_at - 1 - original.records_at
    footer, length = document.empty_fold(original.header), 0
    if seq < original.footer.last_seq:
        for line in document.lines(read, original, 0):
            record = document.parse_record(line)
            if record.seq > seq:
                break
            footer = document.fold(footer, record)
            if record.seq == seq:
                return footer, length + len(line.rstrip().removesuffix(b","))
            length += len(line) + 1
    expected = f"the seq of a record: {original.header.id} has 1 to {original.footer.last_seq}"
    if not original.footer.last_seq:
        expected = f"a session with a record: {original.header.id} has none yet"
    raise InvalidParams.expecting("at_seq", expected)

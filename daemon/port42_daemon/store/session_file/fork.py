"""A fork: a session's records, or the first of them, under a header of its own. Pure bytes, no I/O."""

from __future__ import annotations

import msgspec

from port42_daemon.store.interface import Header
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.document import Document, Read
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import Record

_WORTH_SHARING = 64 * 1024
"""Bytes of records; for fewer, a copy costs less than the white space that aligns the blocks."""
_LARGEST_BLOCK = 64 * 1024


class Branch(msgspec.Struct, frozen=True, gc=False):
    """A fork's file: `head`, then `length` bytes of the original's records, then `tail`."""

    head: bytes
    length: int
    tail: bytes
    document: Document


def branch(read: Read, original: Document, seq: int, begun: tuple[Header, Record, int], block: int) -> Branch:
    """The fork of `original` at `seq`, `begun` with a header and a first record of its own, and its use.

    Its records have the same offset in a block of `block` bytes, so that a file system can share the blocks.
    Raises `InvalidParams` where there is no such record, and `Damaged`.
    """
    header, event, use = begun
    footer, length = document.fold_through(read, original, seq)
    if not footer.last_seq == seq > 0:
        expected = f"the seq of a record: {original.header.id} has 1 to {original.footer.last_seq}"
        if not original.footer.last_seq:
            expected = f"a session with a record: {original.header.id} has none yet"
        raise InvalidParams.expecting("at_seq", expected)
    head = header.line()
    if length >= _WORTH_SHARING and block <= _LARGEST_BLOCK:
        head = header.line(len(head) + (original.records_at - len(head)) % block)
    # As if the copy were a session whose footer has no bytes yet: the event's append writes one.
    copied = document.assembled(header, footer, len(head), len(head) + length + 1, b"")
    growth = document.grow(copied, [event], use)
    return Branch(head, length, growth.data, growth.document)

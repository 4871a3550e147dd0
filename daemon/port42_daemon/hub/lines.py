"""Records as the hub has them: what leaves this machine, and whether two lines are the same record."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import msgspec
from msgspec import UNSET

from port42_daemon.config import HubConfig
from port42_daemon.store.interface import (
    ENDED,
    PINNED,
    RENAMED,
    RESTORED,
    RESUMED,
    TAGGED,
    TRASHED,
    Footer,
    Header,
    SessionStore,
)
from port42_daemon.transfer.writers.redaction import redact_record
from port42_protocol.encoding import encode
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.records import EventRecord, Record, decode_record, encode_stored, replace

PRIVATE = "private"
"""The tag of sessions that stay on this machine."""
_LABELS = frozenset({RENAMED, TAGGED, PINNED, ENDED, RESUMED, TRASHED, RESTORED})
"""Events that say something of a session as a whole: they are true behind any other records, too."""
Line = tuple[int, bytes]
ALL = 2**62
"""More than any session has, of bytes or of records."""
_decode_header = msgspec.json.Decoder(Header).decode


def may_leave(config: HubConfig, header: Header, footer: Footer, store: SessionStore) -> bool:
    """Whether the session, one of `store`, is one of those that are pushed. Raises `RpcError`."""
    if config.agents is not None and header.agent not in config.agents:
        return False
    if PRIVATE in footer.tags or _is_of_a_private_one(header, store):
        return False
    if config.folders is None:
        return True
    return header.cwd is not None and any(map(PurePosixPath(header.cwd).is_relative_to, config.folders))


def _is_of_a_private_one(header: Header, store: SessionStore) -> bool:
    """Whether a session of a sub-agent is below one that stays here, perhaps in the trash."""
    seen: set[str] = set()  # headers that were edited by hand may form a circle
    while header.parent and header.parent.session_id not in seen:
        seen.add(header.parent.session_id)
        try:
            stored = store.lines(header.parent.session_id, ALL, 1)
        except SessionNotFound:
            return False
        if PRIVATE in stored.footer.tags:
            return True
        header = stored.header
    return False


def header_to_push(header: Header, *, redact: bool) -> bytes:
    return encode(redact_record(header, Counter()) if redact else header)


def lines_to_push(lines: Sequence[Line], *, redact: bool) -> Sequence[Line]:
    return [(seq, _redacted(line)) for seq, line in lines] if redact else lines


def header_of(text: str, session_id: str | None = None) -> Header:
    """The header at the hub. Raises `msgspec.DecodeError`, also for one of another session than `session_id`.

    Whoever shares a session wrote its header, too, which must not lead to a session of this machine.
    """
    header = _decode_header(text.encode())
    if session_id not in {None, header.id}:
        raise msgspec.ValidationError(f"its header is that of {header.id}")
    return header


def attributed(line: Line, author: str, owner: str, reader: str) -> Line:
    """The line as `reader` has it: with the name of whoever recorded it, unless that is `reader`.

    It was pushed by `author` into a session of `owner`, who alone may push what somebody else recorded.
    Raises `msgspec.DecodeError`.
    """
    if author == owner == reader:
        return line
    seq, text = line
    record = decode_record(text)
    writer = (record.author or owner) if author == owner else author
    return seq, encode_stored(replace(record, author=UNSET if writer == reader else writer))


def records_of(lines: Iterable[Line]) -> list[Record]:
    """Raises `msgspec.DecodeError`."""
    return [decode_record(line) for _, line in lines]


def shared(mine: Sequence[Line], theirs: Sequence[Line]) -> int:
    """How many records at the beginning of both are the same."""
    count = 0
    for own, other in zip(mine, theirs, strict=False):
        if not _same(own, other):
            break
        count += 1
    return count


def is_header_of(header: Header, owner: str, text: str) -> bool:
    """Whether a session here is that of another owner with the header `text` at the hub."""
    if header.hub_owner is not UNSET:
        return header.hub_owner == owner
    # It is an own one, or was brought here by a version that did not note whose it is.
    other = header_of(text)
    return (header.id, header.agent, header.created_at, header.client) == (
        *(other.id, other.agent, other.created_at, other.client),
    )


def event_name(record: Record) -> str | None:
    """The name of an event; None for any other record."""
    return record.event if isinstance(record, EventRecord) else None


def only_labels(lines: Iterable[Line]) -> bool:
    """Whether nothing was said or done in these records."""
    return all(event_name(record) in _LABELS for record in records_of(lines))


def checksum(lines: Sequence[Line], seq: int) -> int:
    """The CRC-32 of the line with that seq, if it is the first; else 0."""
    return zlib.crc32(lines[0][1]) if lines and lines[0][0] == seq else 0


def _same(mine: Line, theirs: Line) -> bool:
    if mine[0] != theirs[0]:
        return False
    if mine[1] == theirs[1]:
        return True
    # A machine of another version may have written fields that are not kept here, or not the author, and
    # secrets be redacted.
    own, other = (replace(decode_record(line), author=UNSET) for _, line in (mine, theirs))
    return own == other or redact_record(own, Counter()) == other


def _redacted(line: bytes) -> bytes:
    return encode_stored(redact_record(decode_record(line), Counter()))

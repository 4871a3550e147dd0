"""Forks whose files have only what is new, as those of Codex: they begin with the original's records."""

from __future__ import annotations

from msgspec import UNSET, structs

from port42_daemon.store.interface import FORKED, Header, SessionStore
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.merge import is_of_source
from port42_daemon.transfer.readers.base import SessionInfo, text_size
from port42_protocol.errors import RpcError
from port42_protocol.messages.records import EventRecord, ForkPoint, Record, replace

_MOST = 16 * 1024 * 1024
"""Characters of an original that are copied: they are written at once."""


def with_original(store: SessionStore, header: Header, info: SessionInfo) -> tuple[Header, list[Record]]:
    """The header of a new fork, and what it begins with: the original's records until its time.

    Nothing where the original is not here, is too large, or has nothing from before.
    """
    point = header.forked_from
    if point is None or not info.has_only_new:
        return header, []
    copies: list[Record] = []
    at = size = 0
    try:
        for record in records_after(store, point.session_id, 0):
            copies.append(replace(record, seq=0))
            size += text_size(record)
            if size > _MOST:
                return header, []
            # A title given here later may stand between them.
            if is_of_source(record) and record.timestamp <= header.created_at:
                at = record.seq
    except RpcError:
        return header, []
    # The copies must have the same numbers, to which some of them refer.
    if not at or len(copies) < at:
        return header, []
    header = structs.replace(header, forked_from=ForkPoint(point.session_id, at))
    event = EventRecord(seq=0, event=FORKED, timestamp=header.created_at, title=info.title or UNSET)
    return header, [*copies[:at], event]


def copied_through(header: Header, info: SessionInfo) -> int:
    """The seq of the last record of a stored session that is a copy which its source does not have."""
    return header.forked_from.seq if info.has_only_new and header.forked_from else 0

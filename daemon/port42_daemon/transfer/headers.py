"""The headers of sessions of other programs: the same id for the same source."""

from __future__ import annotations

import contextlib
import hashlib

from msgspec import UNSET, structs

from port42_daemon.store.interface import Header, SessionStore
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.readers.base import EPOCH, SessionInfo
from port42_protocol.errors import RpcError
from port42_protocol.messages import records
from port42_protocol.messages.records import ForkPoint, Parent


def header_of(info: SessionInfo, format_name: str, agent: str) -> Header:
    """The header of a session of another program; its parent's `seq` is not known yet."""
    parent = Parent(derived_id(format_name, info.parent), 0) if info.parent else UNSET
    original = info.forked_from and derived_id(format_name, info.forked_from)
    return Header(
        id=derived_id(format_name, info.source_id),
        agent=agent,
        created_at=info.created_at or EPOCH,
        client="import",
        title=info.title,
        cwd=info.cwd,
        # Copies have the same places in both.
        forked_from=ForkPoint(original, info.shared) if original else None,
        imported_from=records.Source(format_name, info.source_id),
        parent=parent,
    )


def in_parent(store: SessionStore, header: Header, parent: Parent) -> Header:
    """A sub-agent's header with the parent's last record before it began; 0 where the parent is not here."""
    seq = 0
    with contextlib.suppress(RpcError):
        for record in records_after(store, parent.session_id, 0):
            if record.timestamp > header.created_at:
                break
            seq = record.seq
    return structs.replace(header, parent=structs.replace(parent, seq=seq))


def derived_id(format_name: str, source_id: str) -> str:
    """The same id for the same source, from whichever path it is read."""
    return f"{format_name}-{hashlib.sha256(source_id.encode()).hexdigest()[:16]}"

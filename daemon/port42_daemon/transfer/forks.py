"""Forks whose files have only what is new, as those of Codex: they begin with the original's records.

Where a fork is here before its original, these are added when that comes.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import UNSET, structs

from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import FORKED, Header, SessionStore
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.merge import copied, is_of_source, renumbered
from port42_daemon.transfer.readers.base import SessionInfo, text_size
from port42_protocol.errors import RpcError
from port42_protocol.messages.records import EventRecord, ForkPoint, Record, replace

_MOST = 16 * 1024 * 1024
"""Characters of a session that is copied, or written anew: they are written at once."""


def with_original(store: SessionStore, header: Header, info: SessionInfo) -> tuple[Header, list[Record]]:
    """The header of a new fork, and what it begins with: the original's records until its time, and an event.

    The event alone where the original is not here, is too large, or has nothing from before.
    """
    point = header.forked_from
    if point is None or not info.has_only_new:
        return header, []
    event = EventRecord(seq=0, event=FORKED, timestamp=header.created_at, title=info.title or UNSET)
    copies = _until(store, point.session_id, header.created_at)
    header = structs.replace(header, forked_from=ForkPoint(point.session_id, len(copies)))
    return header, [*copies, event]


def copied_through(header: Header, info: SessionInfo) -> int:
    """The seq of the last record of a stored session that is a copy which its source does not have."""
    return header.forked_from.seq if info.has_only_new and header.forked_from else 0


async def join_forks(
    sessions: Sessions, queues: SessionQueues, originals: Collection[str], backup: str
) -> tuple[dict[str, int], set[str]]:
    """Let forks that were here before these originals begin with what they were forked from.

    Returns by how much the records of which forks moved, and the originals of forks in which a turn is under
    way: they stay as they are.
    """
    moved: dict[str, int] = {}
    later: set[str] = set()
    await sessions.recovered()
    for fork, original in await sessions.threads.index(sessions.catalogue.early_forks, list(originals)):
        async with sessions.order(fork):
            if queues.busy(fork):
                later.add(original)
            elif added := await sessions.threads.files(_join, sessions.store, fork, backup):
                moved[fork] = added
    return moved, later


def _join(store: SessionStore, session_id: str, backup: str) -> int:
    """Returns by how much the fork's records moved. Raises `StorageFailed`."""
    try:
        header, _ = store.ends(session_id)
        records = _bounded(store, session_id)
    except RpcError:  # it is in the trash, or damaged
        return 0
    point, copies = header.forked_from, list[Record]()
    if point is None or point.seq or header.imported_from is None or not records:
        return 0
    if isinstance(records[0], EventRecord) and records[0].event == FORKED:
        copies = _until(store, point.session_id, header.created_at)
        at = len(copies)
        places = {record.seq: record.seq + at for record in records}
        records = [*copies, *(renumbered(record, places[record.seq], places) for record in records)]
    else:
        at, _ = copied(records_after(store, point.session_id, 0), records)
    if at:
        header = structs.replace(header, forked_from=ForkPoint(point.session_id, at))
        store.rewrite(header, records, backup)
    return len(copies)


def _until(store: SessionStore, session_id: str, when: str) -> list[Record]:
    """Copies of the session's records through its source's last one of that time or before.

    None where it is not here or too large, or where they would have other numbers: records refer to these.
    """
    try:
        records = _bounded(store, session_id)
    except RpcError:
        return []
    # A title given here later may stand between them.
    before = (record.seq for record in records if is_of_source(record) and record.timestamp <= when)
    at = max(before, default=0)
    return [replace(record, seq=0) for record in records[:at]] if len(records) >= at else []


def _bounded(store: SessionStore, session_id: str) -> list[Record]:
    """All records of the session; none where it is too large. Raises `RpcError`."""
    records: list[Record] = []
    size = 0
    for record in records_after(store, session_id, 0):
        records.append(record)
        size += text_size(record)
        if size > _MOST:
            return []
    return records

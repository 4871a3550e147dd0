"""What tests of the store put into it and read from it."""

from __future__ import annotations

import time
from typing import Any

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header, SessionFilter
from port42_protocol.messages.records import Record, Summary, UserMessage
from port42_protocol.messages.sessions import ListedSession

AT = "2026-01-01T00:00:00.000Z"


def said(content: str) -> Record:
    return UserMessage(seq=0, content=content, timestamp="2026-01-01T00:00:01.000Z")


def header(session_id: str, agent: str = "ai-muse") -> Header:
    return Header(id=session_id, agent=agent, created_at=AT, client="cli")


def contents(store: FileStore, session_id: str) -> list[str]:
    return [
        one.content
        for one in store.read(session_id, after_seq=0, limit=100, max_bytes=1 << 20, events=False).records
    ]


def add(store: FileStore, session_id: str, *records: Record) -> int:
    """Append the records; gives the last seq."""
    with store.writing(session_id) as session:
        session.append(records, use=True)
    return session.last_seq


def trash(store: FileStore, session_id: str) -> Summary:
    with store.writing(session_id) as session:
        summary = session.summary
        session.trash()
    return summary


def page(
    store: FileStore, limit: int = 100, before: tuple[str, str] | None = None, **wanted: Any
) -> list[ListedSession]:
    return store.catalogue.page(SessionFilter(**wanted), before, limit)[0]


def keyed(content: str, key: str) -> Record:
    return UserMessage(seq=0, content=content, timestamp=AT, key=key)


def find(store: FileStore, text: str) -> list[tuple[str, int]]:
    """Once every message is searched, if that can be: a busy machine may need more than one call's time."""
    deadline = time.monotonic() + 5
    while True:
        hits, _, _, incomplete, _ = store.catalogue.search(text, None, None, 0, 1000)
        if incomplete is None or time.monotonic() > deadline:
            break
    return sorted((hit.session.session_id, hit.seq) for hit in hits)


def listed(store: FileStore) -> list[str]:
    return sorted(session.session_id for session in page(store, limit=100))

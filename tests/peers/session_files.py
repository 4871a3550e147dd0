"""What tests of the store put into it and read from it."""

from __future__ import annotations

from typing import Any

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header, SessionFilter
from port42_protocol.messages.records import Record, Summary, UserMessage
from port42_protocol.messages.sessions import ListedSession


def said(content: str) -> Record:
    return UserMessage(seq=0, content=content, timestamp="2026-01-01T00:00:01.000Z")


def header(session_id: str, agent: str = "ai-muse") -> Header:
    return Header(id=session_id, agent=agent, created_at="2026-01-01T00:00:00.000Z", client="cli")


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

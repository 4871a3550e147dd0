"""Stores under test, which can be stopped and started again, and what tests put into them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import UNSET

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import (
    Header,
    SessionWriter,
)
from port42_protocol.messages.records import (
    MESSAGES,
    EventRecord,
    Record,
)


class Reopened:
    """A store that is closed and opened again between any two operations: nothing lives in memory only."""

    def __init__(
        self, make: Callable[[], FileStore], part: str = "", lock: threading.Lock | None = None
    ) -> None:
        self._make = make
        self._part = part
        self._one_at_a_time = lock or threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name == "writing":
            return self._writing
        if name in {"catalogue", "maintenance"}:
            return Reopened(self._make, name, self._one_at_a_time)
        if name == "last_sessions":
            with self._opened() as store:
                return dict(store.last_sessions)
        if name == "state":
            with self._opened() as part:
                return part.state

        def operate(*args: Any, **named: Any) -> Any:
            with self._opened() as part:
                return getattr(part, name)(*args, **named)

        return operate

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._one_at_a_time:
            store = self._make()
            store.open()
            try:
                yield getattr(store, self._part) if self._part else store
            finally:
                store.close()

    @contextlib.contextmanager
    def _writing(self, session_id: str) -> Iterator[SessionWriter]:
        with self._opened() as store, store.writing(session_id) as session:
            yield session


class Restartable:
    """A store under test, and the ways to meet it again after a stop, with or without its index."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home, self.kind = home, kind
        self.store: Any = None
        self.begin()

    def begin(self) -> None:
        if self.kind == "reopened":
            self.store = Reopened(lambda: FileStore(self.home))
        else:
            self.store = FileStore(self.home)
            self.store.open()

    def end(self) -> None:
        if self.kind != "reopened":
            self.store.close()

    def again(self, between: Callable[[], None] = lambda: None) -> Any:
        self.end()
        between()
        self.begin()
        return self.store


def at(second: int) -> str:
    return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"


def header(session_id: str, agent: str = "ai-muse", second: int = 0, **more: Any) -> Header:
    return Header(id=session_id, agent=agent, created_at=at(second), client="cli", **more)


def said(content: str, second: int = 1, role: str = "user", key: Any = UNSET) -> Record:
    return MESSAGES[role](seq=0, content=content, timestamp=at(second), key=key)


def event(name: str, second: int = 1) -> Record:
    return EventRecord(seq=0, event=name, timestamp=at(second))


def read(store: Any, session_id: str, **more: Any) -> tuple[list[Record], int | None]:
    page = store.read(
        session_id, **{"after_seq": 0, "limit": 1000, "max_bytes": 1 << 22, "events": False, **more}
    )
    return page.records, page.onward


def contents(store: Any, session_id: str) -> list[str]:
    return [one.content for one in read(store, session_id)[0]]


def searched(store: Any, word: str) -> list[str]:
    """The sessions of the hits, once every message is searched."""
    deadline = time.monotonic() + 30.0
    while True:
        hits, _, _, missing, _ = store.catalogue.search(word, None, None, 0, 10)
        if missing is None:
            return [hit.session.session_id for hit in hits]
        assert time.monotonic() < deadline, missing
        time.sleep(0.01)


def ids(found: list[Any]) -> list[str]:
    return [one.session_id for one in found]

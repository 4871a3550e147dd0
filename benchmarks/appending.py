"""A durable append: at the store, through the daemon, in a long session, and by other means."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import scene
from benchmarks.clock import interleave
from benchmarks.figure import Figure, median, percentile
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header
from port42_protocol.messages.records import Record, UserMessage

GROUP = "a durable append"
AGENT = "ai-engineer"
CONTENT = "build a parser that reads what people type, and says where it stopped understanding"
MESSAGE = UserMessage(seq=0, content=CONTENT, timestamp="2025-09-08T23:47:46.684Z")
LINE = msgspec.json.encode(MESSAGE) + b",\n"
BLOCK = 25
_REWRITTEN = 1_000
"""Messages in the document that is rewritten whole for each one more."""


def measure(rounds: int) -> list[Figure]:
    """Raw, ours and the peers in turn, on the same disk."""
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(scene.folder())
        actions = {
            "raw": stack.enter_context(_raw(home)),
            "store": stack.enter_context(_store(home / "store")),
            "daemon": stack.enter_context(_daemon()),
            "sqlite": stack.enter_context(_sqlite(home)),
            "rewrite": _rewrite(home),
        }
        samples = interleave(actions, rounds, BLOCK)
    store, raw = median(samples["store"]), median(samples["raw"])
    against = "raw append, fdatasync"
    return [
        Figure(GROUP, "store, median", store, "µs", against, raw, aim=1.4),
        Figure(GROUP, "store, median", store, "µs", "SQLite, WAL, FULL: insert", median(samples["sqlite"])),
        Figure(GROUP, "store, median", store, "µs", "rewriting 1,000 messages", median(samples["rewrite"])),
        Figure(
            GROUP,
            "store, 99th percentile",
            percentile(samples["store"], 99),
            "µs",
            against,
            percentile(samples["raw"], 99),
        ),
        Figure(GROUP, "append_message, median", median(samples["daemon"]), "µs", against, raw, aim=2.5),
    ]


def measure_growth(messages: int) -> list[Figure]:
    """A session's first thousand appends beside those that end at `messages`, one of each in turn."""
    with scene.folder() as home, contextlib.closing(FileStore(home)) as store:
        store.open()
        short, long = _begin(store, "short"), _begin(store, "long")
        # The first round of the clock is not counted: with it, the last append timed is `messages`.
        rounds = 1_000 // BLOCK
        missing = messages - (rounds + 1) * BLOCK
        while missing > 0:
            bulk = [MESSAGE] * min(missing, 1_000)
            _append(store, long, bulk)
            missing -= len(bulk)
        samples = interleave(
            {"short": _appending(store, short), "long": _appending(store, long)}, rounds, BLOCK
        )
    first, last = median(samples["short"]), median(samples["long"])
    what = f"store, message {messages - 1_000:,} to {messages:,}"
    return [Figure(GROUP, what, last, "µs", "store, first thousand", first, aim=1.1)]


def _begin(store: FileStore, name: str) -> str:
    store.create(Header(id=name, agent=AGENT, created_at=MESSAGE.timestamp, client="bench"))
    return name


def _appending(store: FileStore, session_id: str) -> Callable[[], object]:
    return lambda: _append(store, session_id, (MESSAGE,))


def _append(store: FileStore, session_id: str, records: Sequence[Record]) -> None:
    with store.writing(session_id) as session:
        session.append(records, use=True)


@contextlib.contextmanager
def _store(home: Path) -> Iterator[Callable[[], object]]:
    with contextlib.closing(FileStore(home)) as store:
        store.open()
        yield _appending(store, _begin(store, "bench-1"))


@contextlib.contextmanager
def _daemon() -> Iterator[Callable[[], object]]:
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection:
        begun = connection.call("create_session", agent=AGENT)
        line = scene.request(
            "append_message", agent=AGENT, session_id=begun["session_id"], role="user", content=CONTENT
        )

        def append() -> None:
            if b'"seq":' not in connection.ask(line):
                raise RuntimeError("the daemon did not append")

        yield append


@contextlib.contextmanager
def _raw(home: Path) -> Iterator[Callable[[], object]]:
    """The least that durable means: the line at the end of a file that stays open, and on the disk."""
    descriptor = os.open(home / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    # macOS has no fdatasync; its fsync does not reach the medium either (see the README).
    sync = getattr(os, "fdatasync", os.fsync)

    def append() -> None:
        os.write(descriptor, LINE)
        sync(descriptor)

    try:
        yield append
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _sqlite(home: Path) -> Iterator[Callable[[], object]]:
    with contextlib.closing(sqlite3.connect(home / "peer.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE messages (session TEXT, seq INTEGER PRIMARY KEY, role, content, at)")
        values = ("bench-1", MESSAGE.role, MESSAGE.content, MESSAGE.timestamp)
        insert = "INSERT INTO messages (session, role, content, at) VALUES (?, ?, ?, ?)"
        yield lambda: database.execute(insert, values)


def _rewrite(home: Path) -> Callable[[], object]:
    """One JSON document, encoded whole, written aside, synced and renamed for every message."""
    messages = [MESSAGE] * _REWRITTEN
    path, aside = home / "whole.json", home / "whole.json.new"

    def append() -> None:
        messages.append(MESSAGE)
        with aside.open("wb") as file:
            file.write(msgspec.json.encode({"agent": AGENT, "messages": messages}))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        messages.pop()

    return append

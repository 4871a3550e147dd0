"""What the CPU time of an index made from nothing is made of: its parts measured alone, in this process."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import library, scene
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import indexer
from port42_daemon.store.index.entries import Part
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.state import IndexState
from port42_daemon.store.index.writer import IndexWriter

_TIMES = 3
ALONE = "FTS5 alone, the same text"


def show(sessions: int) -> None:
    """Print microseconds of CPU time, user and system together, for each message: the least of the rounds."""
    with scene.folder() as home:
        library.generate(home, sessions)
        gc.freeze()  # as the daemon does
        rounds = [_round(home) for _ in range(_TIMES)]
    messages = sessions * library.EACH
    spent = {name: min(each[name] for each in rounds) for name in rounds[0]}
    print(f"\r\033[KCPU time of an index made from nothing ({sessions:,} sessions, {messages:,} messages),")
    print("in µs for each message, and against what FTS5 alone takes")
    for name, took in spent.items():
        print(f"  {name:72}{took / messages / 1e3:8.1f}{took / spent[ALONE]:8.2f}")


def _round(home: Path) -> dict[str, int]:
    """Nanoseconds of each part."""
    spent: dict[str, int] = {}

    @contextlib.contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.process_time_ns()
        yield
        spent[name] = time.process_time_ns() - began

    spent[ALONE] = library.fts5_alone(home, time.thread_time_ns)
    with timed("the whole, in the store"):
        library.rebuild(home)
    with contextlib.closing(FileStore(home)) as store:
        store.open()
        store.catalogue.counts()
        behind = [(session_id, 0) for session_id in store.catalogue.files()]
        with timed("one thread: files read and decoded, their text prepared"):
            for _ in store._index._indexer._parts(behind):
                pass
        parts = list(store._index._indexer._parts(behind))
    with _empty_index() as writer:
        with timed("before that: the rows of sessions, without their files"):
            for part in parts:
                writer.note(part.update)
            writer.flush()
        with timed("another thread: text written in batches, FTS5 included"):
            for batch in _batches(parts):
                writer.add(batch)
        with timed("… what FTS5 wrote is merged, at the end"):
            more = writer.merge("said", everything=True)
            while more:
                more = writer.merge("said", everything=False)
    return spent


@contextlib.contextmanager
def _empty_index() -> Iterator[IndexWriter]:
    with scene.folder() as folder:
        database = Database(folder / "index.db")
        database.open()
        yield IndexWriter(database, IndexState())
        database.close()


def _batches(parts: list[Part]) -> Iterator[list[Part]]:
    """As the indexer's thread makes them."""
    batch: list[Part] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += indexer.size_in_batch(part)
        if size >= indexer.BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch

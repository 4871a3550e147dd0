"""A library of many sessions: lists, searches, starts and the index, at two sizes, to show how each grows."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import msgspec

from benchmarks import scene
from benchmarks.figure import Figure
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index.indexer import Indexer
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.search import _ranked
from port42_daemon.store.index.tokens import TOKENIZE
from port42_daemon.store.interface import Header, SessionFilter
from port42_daemon.store.session_file import document
from port42_protocol.messages.records import MESSAGES, Location, Record, ToolRecord

AGENTS = ("ai-engineer", "ai-analyst", "ai-muse", "ai-founder")
EACH = 100
"""In each session."""
_VOCABULARY = 40_000
_BEGAN = 1_700_000_000
_SEARCHES = {
    "a rare word": "{rare}",
    "two words": "{middling} {usual}",
    "the commonest word": "{commonest}",
    "three of the commonest": "{commonest} {second} {third}",
    "a phrase of common words": '"{commonest} {second}"',
    "a word that begins so": "{begins}*",
    "common, one agent's, a role, a year": "{commonest} agent:ai-muse role:user after:2024",
    "rare, between two days": "{rare} after:2023-02-03 before:2030-11-30",
    "common, but not another": "{commonest} -{usual}",
    "a tool's calls on a file": "tool:bash file:{usual}.py",
    "the commonest word in a tool's calls": "{commonest} tool:bash",
}
_COMPARED = {"a rare word", "the commonest word"}


def measure(sessions: int, calls: int = 0) -> list[Figure]:
    """Everything about a store of so many sessions, with so many tool calls after each message."""
    group = f"a library of {sessions:,} sessions, {sessions * EACH:,} messages"
    if calls:
        group += f", {sessions * EACH * calls:,} tool calls"
    with scene.folder() as home:
        words, text_bytes = generate(home, sessions, calls)
        complete, merged = rebuild(home)
        alone = fts5_alone(home)
        size = (home / "index.db").stat().st_size
        return [
            # What `index rebuild` waits for.
            Figure(
                group, "index.db, until it is complete", complete / 1e9, "s", "FTS5 alone", alone / 1e9, 1.3
            ),
            Figure(group, "… and merged", merged / 1e9, "s", "FTS5 alone", alone / 1e9),
            Figure(group, "index.db, size", size / 1e6, "MB", "the text of the messages", text_bytes / 1e6),
            *_questions(group, home, words),
            *_starts(group, home),
        ]


def generate(home: Path, sessions: int, calls: int = 0) -> tuple[list[str], int]:
    """Write the sessions in the file format; gives the vocabulary, commonest first, and the text's bytes.

    `calls` is the number of tool calls after each message.

    Words are as common as in a language: the nth is n times rarer than the first (Zipf's law).
    """
    chance = random.Random(42)
    words = _vocabulary(chance)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    stream = chance.choices(words, cum_weights=weights, k=1_000_000)
    folder = home / "sessions"
    folder.mkdir(mode=0o700, parents=True)
    size = 0

    def text(least: int, most: int) -> str:
        length = chance.randint(least, most)
        at = chance.randrange(len(stream) - length)
        return " ".join(stream[at : at + length])

    for number in range(sessions):
        begun = _BEGAN + number * 600
        records: list[Record] = []
        for index in range(EACH):
            role, content = ("assistant", text(10, 110)) if index % 2 else ("user", text(4, 30))
            at = _time(begun + index + 1)
            records.append(MESSAGES[role](seq=len(records) + 1, content=content, timestamp=at))
            size += len(content)
            for _ in range(calls):
                record = _call(
                    len(records) + 1, at, text(1, 8), text(10, 60), f"src/{chance.choice(words)}.py"
                )
                size += len(record.title) + len(str(record.output))
                records.append(record)
        name = f"cli-{begun}000"
        agent = AGENTS[number % len(AGENTS)]
        header = Header(id=name, agent=agent, created_at=_time(begun), client="cli", cwd=f"/w/{number % 50}")
        (folder / f"{name}.json").write_bytes(document.compose(header, records)[0])
        if number % 200 == 0:
            print(f"\rwriting session {number:,} of {sessions:,} …", end="", file=sys.stderr, flush=True)
    return words, size


def _call(seq: int, at: str, title: str, output: str, path: str) -> ToolRecord:
    return ToolRecord(
        seq=seq,
        timestamp=at,
        id=f"call-{seq}",
        name=("Bash", "Edit", "Read")[seq % 3],
        title=title,
        kind="edit",
        state="done",
        output=output,
        locations=(Location(path),),
    )


def _vocabulary(chance: random.Random) -> list[str]:
    ends = ("a", "e", "i", "o", "u", "an", "er")
    syllables = [one + other for one in "bcdfghklmnprstvwz" for other in ends]
    lengths = (1, 2, 2, 3, 3, 4)
    made = ("".join(chance.choices(syllables, k=chance.choice(lengths))) for _ in range(3 * _VOCABULARY))
    return list(itertools.islice(dict.fromkeys(made), _VOCABULARY))


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def rebuild(home: Path) -> tuple[int, int]:
    """From no index to one that has every message, and until it is merged, too, in nanoseconds."""
    for path in home.glob("index.db*"):
        path.unlink()
    merge, merged = Indexer._merge, threading.Event()

    def noted(indexer: Indexer, *, everything: bool) -> None:
        merge(indexer, everything=everything)
        merged.set()

    began = time.perf_counter_ns()
    with patch.object(Indexer, "_merge", noted), contextlib.closing(FileStore(home)) as store:
        store.open()
        while not (status := store.catalogue.status()).complete:
            print(f"\rindexing, {status.records_behind:,} to go …   ", end="", file=sys.stderr, flush=True)
            time.sleep(0.1)
        complete = time.perf_counter_ns() - began
        merged.wait()
        return complete, time.perf_counter_ns() - began


def fts5_alone(home: Path, clock: Callable[[], int] = time.perf_counter_ns) -> int:
    """SQLite with the same tokenizer, given the same text 10,000 messages at a time, in nanoseconds."""
    took = 0
    with scene.folder() as folder, contextlib.closing(sqlite3.connect(folder / "fts.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = {TOKENIZE})")
        texts = (
            record.get("content") or f"{record['title']}\n{record['output']}"
            for path in (home / "sessions").iterdir()
            for record in msgspec.json.decode(path.read_bytes())["messages"]
        )
        number = 0
        while some := [(number + more, text) for more, text in enumerate(itertools.islice(texts, 10_000))]:
            began = clock()
            with database:
                database.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", some)
            took += clock() - began
            number += len(some)
    return took


def _questions(group: str, home: Path, words: list[str]) -> list[Figure]:
    named = {
        "commonest": words[0],
        "second": words[1],
        "third": words[2],
        "usual": words[50],
        "middling": words[2_000],
        "rare": words[-1],
        "begins": words[30][:3],
    }
    with contextlib.closing(FileStore(home)) as store:
        store.open()
        store.catalogue.counts()
        pages = {"first page of 50": {}, "… one agent's, in a folder": {"agent": AGENTS[0], "cwd": "/w/0"}}
        figures = [
            Figure(
                group,
                what,
                _median(partial(store.catalogue.page, SessionFilter(**wanted), None, 50)),
                "ms",
                aim=5,
            )
            for what, wanted in pages.items()
        ]
        for what, pattern in _SEARCHES.items():
            text = pattern.format(**named)
            took = _median(_searching(store, text), times=9)
            figures.append(Figure(group, f"search: {what}", took, "ms", aim=50))
            if what in _COMPARED:
                raw = _raw(home / "index.db", parse(text).expression)
                figures.append(Figure(group, f"search: {what}", took, "ms", "FTS5 alone, ORDER BY rank", raw))
    return figures


def _searching(store: FileStore, text: str) -> Callable[[], object]:
    def search() -> object:
        _ranked.cache_clear()  # a page that was ranked before would cost nothing
        return store.catalogue.search(text, None, None, 0, 20)

    return search


def _raw(path: Path, expression: str) -> float:
    """The same asked of SQLite as its documentation says: the best twenty by rank, without their text."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        query = "SELECT rowid FROM said WHERE said MATCH ? ORDER BY rank LIMIT 20"
        return _median(lambda: database.execute(query, (expression,)).fetchall(), times=3)


def _starts(group: str, home: Path) -> list[Figure]:
    """A daemon's start with all of that and a clean index, beside one in an empty home."""
    empty, full = [], []
    for _ in range(10):
        with scene.daemon() as daemon:
            empty.append(daemon.start_ns)
        with scene.daemon(home) as daemon:
            full.append(daemon.start_ns)
    what = "port42d, until it is ready, a clean index"
    return [Figure(group, what, min(full) / 1e6, "ms", "in an empty home", min(empty) / 1e6, aim=1.3)]


def _median(action: Callable[[], object], times: int = 25) -> float:
    """Milliseconds."""
    action()
    took = []
    for _ in range(times):
        began = time.perf_counter_ns()
        action()
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1e6


def figures(*, quick: bool) -> list[Figure]:
    """Both sizes, the small one first, then that with ten times the records; quick only sees that it runs."""
    few, many = (20, 50) if quick else (1_000, 10_000)
    return [*measure(few), *measure(many), *measure(few, calls=9)]

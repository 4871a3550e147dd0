"""Threads append to, rewrite, delete, restore and search sessions at once: what the index says then."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from peers.capturing import eventually
from peers.session_files import header, keyed, trash

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import entries, indexer
from port42_protocol.messages.records import Record, replace

SESSIONS = [f"cli-{number}" for number in range(1, 7)]
THREADS = 5


@pytest.mark.parametrize("steps", [100, pytest.param(3_000, marks=pytest.mark.torture)])
def test_the_index_has_what_the_files_have_after_a_storm(tmp_path, monkeypatch, steps):
    # Small, so that a session is read in many parts and batches.
    monkeypatch.setattr(entries, "_PART_BYTES", 3_000)
    monkeypatch.setattr(indexer, "BATCH_BYTES", 4_000)
    monkeypatch.setattr(indexer, "_DELAY", 0.02)
    store, numbers, locks = FileStore(tmp_path / "home"), count(), defaultdict(threading.Lock)
    words: list[str] = []

    def message(seq: int = 0) -> Record:
        word = "zq" + f"{next(numbers):07}".translate(str.maketrans("0123456789", "abcdefghij"))
        words.append(word)
        return replace(keyed(f"{word} {'flour ' * random.Random(word).randint(0, 80)}", word), seq=seq)

    def change(number: int) -> None:
        chance = random.Random(number)
        for _ in range(steps):
            session_id, what = chance.choice(SESSIONS), chance.random()
            if what < 0.2:
                store.catalogue.search(chance.choice(words), None, None, 0, 10)
                continue
            with locks[session_id]:
                if what < 0.4:
                    key = chance.choice(words[-200:])
                    found = store.catalogue.with_key("ai-muse", key, session_id)
                    assert found == stored(store, session_id).get(key)
                elif what < 0.8:
                    with store.writing(session_id) as writing:
                        writing.append([message() for _ in range(chance.randint(1, 8))], use=False)
                elif what < 0.9:
                    seq = chance.randint(0, store.ends(session_id)[1].last_seq)
                    new = [message(seq + more) for more in range(1, chance.randint(2, 10))]
                    store.splice(session_id, seq, new, used_at=1)
                else:
                    trash(store, session_id)
                    store.restore(session_id)

    store.open()
    for session_id in SESSIONS:
        store.create(header(session_id), [message()])
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(change, range(THREADS)))
    eventually(lambda: store.catalogue.status().complete)
    check(store, words)
    store.close()


def stored(store: FileStore, session_id: str) -> dict[str, tuple[str, int]]:
    """Session and seq of each message, by its key."""
    page = store.read(session_id, after_seq=0, limit=10**6, max_bytes=10**9, events=False)
    return {str(record.key): (session_id, record.seq) for record in page.records}


def check(store: FileStore, words: list[str]) -> None:
    places = {key: place for session_id in SESSIONS for key, place in stored(store, session_id).items()}
    for word in words:
        place = places.get(word)
        assert store.catalogue.with_key("ai-muse", word, None) == place
        hits = store.catalogue.search(word, None, None, 0, 10)[0]
        assert [(hit.session.session_id, hit.seq) for hit in hits] == ([place] if place else [])
    assert store.catalogue.problem() is None

"""What the CPU time of an import and of a capture is made of: its parts measured alone, in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks import capturing, cpu, idling, importing, scene, transcripts
from benchmarks.transcripts import Transcripts
from port42_daemon import durable
from port42_daemon.config import SessionsConfig
from port42_daemon.store.index import entries
from port42_daemon.store.index.entries import Part, session_update
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.state import IndexState
from port42_daemon.store.index.writer import IndexWriter
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.document import Growth
from port42_daemon.transfer.capture.original_rows import Original
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.headers import header_of
from port42_daemon.transfer.readers import detect
from port42_daemon.transfer.readers.claude_entries import Entry

T = TypeVar("T")
_MESSAGES = 100
_TOGETHER = 40
"""Sessions that are written at once, and whose text is."""


def show(sessions: int) -> None:
    """Print milliseconds of CPU time, user and system together, for each MB of source; and memory."""
    with scene.folder() as folder:
        size = transcripts.short(sessions, _MESSAGES).write(folder)
        gc.freeze()  # as the daemon does
        parts = _parts(folder, folder / "out")
    print(f"CPU time of an import and of its parts alone ({sessions:,} sessions, {size / 1e6:.1f} MB),")
    print("in ms for each MB of source")
    for name, spent in parts.items():
        print(f"  {name:64}{spent / size * 1e9:8.1f}")
    for name, work in {"import": importing.import_all, "capture": capturing.capture_all}.items():
        first, searched = in_daemon(work, sessions)
        print(f"  {f'{name}, in the daemon':64}{first / size * 1e9:8.1f}")
        print(f"  {'… until all of it is searched':64}{searched / size * 1e9:8.1f}")
    for captured in (transcripts.short(7 * sessions, _MESSAGES), transcripts.usual(6 * sessions // 5)):
        megabytes, memory = memory_after(captured)
        print(f"Resident memory after a capture of {megabytes:.0f} MB, {captured.what}: {memory:.1f} MiB")


def memory_after(captured: Transcripts) -> tuple[float, float]:
    """MB of the sessions, and MiB of the daemon that has captured them and written its index."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        size = captured.write(folder / "projects")
        capturing.capture_all(daemon, connection, folder / "projects", captured.sessions)
        while not connection.call("get_index_status")["complete"]:
            time.sleep(0.05)  # nothing tells when all is read
        return size / 1e6, idling.resident(daemon.pid)


def in_daemon(
    work: Callable[[scene.Daemon, scene.Connection, Path, int], object], sessions: int
) -> tuple[float, float]:
    """The daemon's CPU time for `work` on so many sessions, and until all is in the index, in seconds."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        transcripts.short(sessions, _MESSAGES).write(folder / "projects")
        clock = cpu.clock_of(daemon.pid)
        began = time.clock_gettime(clock)
        work(daemon, connection, folder / "projects", sessions)
        first = time.clock_gettime(clock) - began
        while not connection.call("get_index_status")["complete"]:
            time.sleep(0.05)  # nothing tells when all is read
        return first, time.clock_gettime(clock) - began


def _parts(folder: Path, out: Path) -> dict[str, float]:
    """Seconds of CPU time of each part, for all sessions."""
    spent: dict[str, float] = {}
    limits = SessionsConfig()
    paths = sorted(folder.glob("*.jsonl"))
    _, sources = detect.sources(folder, "claude")

    def timed(name: str, action: Callable[[], T]) -> T:
        began = time.process_time()
        result = action()
        spent[name] = time.process_time() - began
        return result

    timed(
        "JSON of the lines, decoded by msgspec",
        lambda: [msgspec.json.decode(line) for path in paths for line in path.read_bytes().splitlines()],
    )
    decode = msgspec.json.Decoder(Entry).decode
    timed(
        "… decoded into the types of its lines that have what is used",
        lambda: [decode(line) for path in paths for line in path.read_bytes().splitlines()],
    )
    read = timed(
        "the reader of Claude Code, JSON included", lambda: [s for x in sources for s in x.read(limits)]
    )
    begun = [(header_of(session.info, "claude", "ai-engineer"), list(session.records)) for session in read]
    grown = timed(
        "the sessions composed",
        lambda: [document.grow(document.begun(header), records) for header, records in begun],
    )
    out.mkdir()
    data = [header.line() + growth.data for (header, _), growth in zip(begun, grown, strict=True)]
    files = [(out / f"{header.id}.json", text) for (header, _), text in zip(begun, data, strict=True)]
    timed("… written durably, one by one", lambda: [durable.replace(path, text) for path, text in files])
    for path, _ in files:
        path.unlink()
    timed("… written durably, together", lambda: [durable.create_all(some) for some in _groups(files)])
    originals = Originals(out)
    timed("originals (capture only)", lambda: [_keep(originals, some) for some in _groups(paths)])
    originals.close()
    parts = timed("text prepared for the index", lambda: [_part(growth) for growth in grown])
    database = Database(out / "index.db")
    database.open()
    writer = IndexWriter(database, IndexState())
    for part in parts:
        writer.note(part.update)
    writer.flush()
    timed("… written to it", lambda: [writer.add(some) for some in _groups(parts)])
    database.close()
    return spent


def _groups(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[begin : begin + _TOGETHER] for begin in range(0, len(items), _TOGETHER)]


def _keep(originals: Originals, paths: Sequence[Path]) -> None:
    with originals.changes():
        for path in paths:
            original = originals.begin(Original("claude", str(path), "2026-01-01T00:00:00.000Z"))
            originals.add(original, [path.read_bytes()], 0)


def _part(growth: Growth) -> Part:
    update = session_update(growth.document, Path(__file__).stat(), growth.records)
    return entries.part(update, 0, list(growth.records), fed_seq=0)

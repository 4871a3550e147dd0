"""Reading a source in parts: any split of real files' bytes gives the records of the whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.progress import SourceState
from port42_daemon.transfer.capture.reading import LineSource

TOOLS = Path(__file__).parents[4] / "tests" / "data" / "tools"
FILES = sorted(
    path
    for folder in ("claude", "codex", "gemini", "copilot", "pi")
    for path in TOOLS.glob(f"{folder}*/**/*.jsonl")
    if path.stat().st_size < 400_000
    and "subagent" not in path.parts  # whose parents are told by their folders
)


def read(source):
    """The records that the source has now, and how far it is read."""
    records = []
    while True:
        batch = source.next()
        for more in batch.records.values():
            records += more
        if batch.complete:
            return records, batch.state


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOOLS)))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.floats(0, 1), max_size=5))
def test_any_split_gives_the_records_of_the_whole(tmp_path, path, cuts):
    tool = path.relative_to(TOOLS).parts[0].partition("-")[0]
    data, limits = path.read_bytes(), SessionsConfig()
    copy = tmp_path / path.name
    copy.write_bytes(data)
    expected, _ = read(LineSource(tool, copy, None, limits))
    copy.write_bytes(b"")
    records, state = [], None
    for end in (*sorted(int(cut * len(data)) for cut in cuts), len(data)):
        with copy.open("ab") as file:
            file.write(data[copy.stat().st_size : end])
        source = LineSource(tool, copy, state, limits)
        assert source.anew == (state is None)
        more, state = read(source)
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SourceState)
        records += more
    assert sorted(records, key=repr) == sorted(expected, key=repr)

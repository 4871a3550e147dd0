"""Real files with other values in them: whatever stands in a file, it is read or skipped."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.chat_exports import CHATGPT, CLAUDE_AI
from peers.tool_sessions import (
    LIMITS,
    TOOLS,
    check,
)

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import LINE_READERS, sources
from port42_daemon.transfer.readers.line_reader import read_whole

VALUE = st.one_of(
    st.sampled_from([None, True, -1, 1.5e300, 2**70, "", "\ud800", "x\0y", "../../etc"]),
    st.sampled_from([[], {}, [[]], [None], {"a": {}}, [{"type": []}]]),
)
FORMATS = {
    "claude": "claude/compacted",
    "codex": "codex/tools",
    "gemini": "gemini/tui",
    "copilot": "copilot/subagent",
    "pi": "pi/tui",
}


def places(value, path=()):
    """The path of each value in a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*path, key))


def changed(value, path, other):
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy


def a_change(data, value):
    return changed(value, data.draw(st.sampled_from(list(places(value)))), data.draw(VALUE))


@pytest.mark.parametrize(("name", "case"), FORMATS.items())
@settings(max_examples=60)
@given(data=st.data())
def test_lines_with_other_values_are_read_or_skipped(name, case, data):
    path = next(path for path in (TOOLS / case).rglob("*.jsonl") if "subagents" not in path.parts)
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    for at in data.draw(st.lists(st.integers(0, len(entries) - 1), max_size=4)):
        entries[at] = a_change(data, entries[at])
    reader = LINE_READERS[name]("x", LIMITS)
    with contextlib.suppress(Skipped):
        check(read_whole(reader, (json.dumps(entry).encode() for entry in entries)))
    assert LINE_READERS[name]("x", LIMITS, reader.save()).state == reader.state


EXPORT = next((TOOLS / "opencode/all").glob("export-ses_de778a4*.json"))
GEMINI = next((TOOLS / "gemini-0.17").rglob("*a5c91687.json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chatgpt", [CHATGPT]),
        ("claude-ai", [CLAUDE_AI]),
        ("opencode", json.loads(EXPORT.read_bytes())),
        ("gemini", json.loads(GEMINI.read_bytes())),
    ],
)
@settings(max_examples=60)
@given(data=st.data())
def test_documents_with_other_values_are_read_or_skipped(tmp_path, name, value, data):
    for _ in range(data.draw(st.integers(1, 4))):
        value = a_change(data, value)
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(value))
    with contextlib.suppress(Skipped):
        _, found = sources(path, name)
        for source in found:
            with contextlib.suppress(Skipped):
                check(source.read(LIMITS))

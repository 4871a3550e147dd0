"""Reading a source in parts: any split of real files' bytes gives the records of the whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.config import SessionsConfig
from port42_daemon.databases import zstandard
from port42_daemon.transfer.capture.progress import SourceState, signature_at
from port42_daemon.transfer.capture.reading import LineSource
from port42_daemon.transfer.readers.base import Skipped

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
@settings(max_examples=10)
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


def test_the_files_of_another_tool_are_named(tmp_path):
    [rollout] = (TOOLS / "codex" / "tools").rglob("*.jsonl")
    path = shutil.copy(rollout, tmp_path / "rollout-1.jsonl")
    records, state = read(LineSource("claude", path, None, SessionsConfig()))
    assert (records, state.problem) == ([], "it is of codex, not of claude")
    records, state = read(LineSource("codex", path, None, SessionsConfig()))
    assert (len(records) > 3, state.problem) == (True, None)
    begun = grown(tmp_path / "1.jsonl", 0, {"type": "summary", "summary": "Mill", "leafUuid": "1"})
    assert read(LineSource("claude", begun, None, SessionsConfig()))[1].problem is None


def grown(path, seconds, *lines):
    """The file with further lines, written so long ago."""
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_what_no_line_ends_is_read_when_the_file_has_been_quiet(tmp_path):
    path, limits, state = tmp_path / "rollout-1.jsonl", SessionsConfig(), None

    def read_now():
        nonlocal state
        records, state = read(LineSource("codex", path, state, limits))
        return [(record.role, getattr(record, "state", None)) for record in records]

    def item(**payload):
        return {"type": "response_item", "timestamp": "2026-02-03T04:05:06Z", "payload": payload}

    def reply(text):
        content = [{"type": "output_text", "text": text}]
        return item(type="message", id="m2", role="assistant", content=content)

    told = {"type": "item_completed", "item": {"type": "AgentMessage", "id": "m1"}}
    prompt = item(type="message", role="user", content=[{"type": "input_text", "text": "sail"}])
    meta = {"type": "session_meta", "payload": {"id": "1"}}
    grown(path, 0, meta, prompt, {"type": "event_msg", "payload": told}, reply("aye"))
    assert (read_now(), state.rest) == ([("user", None)], 30)
    grown(path, 31)
    assert (read_now(), state.rest) == ([("assistant", None)], 0)
    grown(path, 31, item(type="function_call", name="shell", call_id="c1", arguments="{}"))
    assert (read_now(), state.rest) == ([], 30 * 60)
    grown(path, 30 * 60 + 1)
    assert (read_now(), state.rest) == ([("tool", "interrupted")], 0)
    assert read_now() == []
    # It was not ended: the result is a record of its own, with all that is known of the call.
    grown(path, 0, item(type="function_call_output", call_id="c1", output="wind"))
    assert (read_now(), state.rest) == ([("tool", "done")], 0)
    grown(path, 0, prompt)
    assert read_now() == [("user", None)]


ROLLOUT = max(
    (path for path in FILES if "codex" in str(path.relative_to(TOOLS))), key=lambda path: path.stat().st_size
)


@settings(max_examples=20)
@given(cuts=st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=5))
def test_a_rollout_that_codex_compresses_and_unpacks_gives_the_records_of_the_whole(tmp_path, cuts):
    data, limits = ROLLOUT.read_bytes(), SessionsConfig()
    plain, packed = tmp_path / ROLLOUT.name, tmp_path / f"{ROLLOUT.name}.zst"
    packed.unlink(missing_ok=True)
    plain.write_bytes(data)
    expected, _ = read(LineSource("codex", plain, None, limits))
    records, state = [], None
    for cut, is_packed in (*sorted(cuts), (1.0, True)):
        part = data[: int(cut * len(data))]
        if is_packed:
            packed.write_bytes(zstandard().compress(part))
            plain.unlink(missing_ok=True)
        else:
            plain.write_bytes(part)  # beside it the other one may still be there
        source = LineSource("codex", plain, state, limits)
        assert source.anew == (state is None)
        more, state = read(source)
        assert b"".join(source.part(0, state.offset)) == part[: state.offset]
        assert state.signature == signature_at(plain)
        records += more
    assert sorted(records, key=repr) == sorted(expected, key=repr)


def test_a_rollout_that_codex_replaces_while_it_is_read(tmp_path):
    plain, packed = tmp_path / ROLLOUT.name, tmp_path / f"{ROLLOUT.name}.zst"
    data = ROLLOUT.read_bytes()
    plain.write_bytes(data)
    expected, _ = read(LineSource("codex", plain, None, SessionsConfig()))
    source = LineSource("codex", plain, None, SessionsConfig())
    packed.write_bytes(zstandard().compress(data))
    plain.unlink()
    assert read(source)[0] == expected
    packed.unlink()
    with pytest.raises(Skipped, match="cannot be read: no such file"):
        source.next()
    packed.write_bytes(zstandard().compress(data)[:-9])
    with pytest.raises(Skipped, match="cannot be decompressed"):
        source.next()

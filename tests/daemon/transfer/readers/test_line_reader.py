"""Reading in stages: however a file is cut and whenever the daemon restarts, the records are the same."""

from __future__ import annotations

import contextlib
import json
import weakref
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import files
from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.detect import LINE_READERS, can_resume, open_reader

LIMITS = SessionsConfig(tool_input_bytes=256, tool_output_bytes=256)
DATA = Path(__file__).parents[3] / "data"
SOURCES = {
    path: next(name for name in LINE_READERS if any(part.startswith(name) for part in path.parts))
    for path in sorted(DATA.rglob("*.jsonl"))
    if path.name != "session_index.jsonl"
}


def whole(format_name, path):
    reader = open_reader(format_name, path, LIMITS)
    return taken(reader, files.lines(path)), reader.state


def taken(reader, lines):
    for line in lines:
        reader.feed(line)
    return reader.taken()


def in_stages(format_name, path, copy, ends):
    """The file grows to each of `ends` bytes, and the reader is saved and opened again in between."""
    data, offset, saved, records = path.read_bytes(), 0, None, []
    for end in [*sorted(ends), len(data)]:
        copy.write_bytes(data[:end])
        reader = open_reader(format_name, path, LIMITS, saved)
        for position, line in files.whole_lines(copy, offset):
            reader.feed(line)
            records += reader.taken()
            offset = position
        saved = reader.save()
    return records, reader.state


@pytest.mark.parametrize(("path", "format_name"), SOURCES.items(), ids=[path.stem[-40:] for path in SOURCES])
@settings(max_examples=5)
@given(data=st.data())
def test_a_file_that_grows_gives_the_same_records(path, format_name, data, tmp_path_factory):
    size = path.stat().st_size
    ends = data.draw(st.lists(st.integers(0, size), max_size=6))
    copy = tmp_path_factory.mktemp("grows") / path.name
    if not path.read_bytes().endswith(b"\n"):
        return  # its last line is never whole
    assert in_stages(format_name, path, copy, ends) == whole(format_name, path)


def test_there_are_sources_of_each_format():
    assert set(SOURCES.values()) == set(LINE_READERS)


# --- generated transcripts ------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["sail", "anchor", "<system-reminder>x</system-reminder>", "[Request interrupted by user]", ""]
)
IDS = st.sampled_from("abc")
BLOCK = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, WORDS),
    st.builds(lambda text: {"type": "thinking", "thinking": text}, WORDS),
    st.builds(lambda call: {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": "ls"}}, IDS),
    st.builds(
        lambda call, ok: {"type": "tool_result", "tool_use_id": call, "content": "x" * 600, "is_error": ok},
        IDS,
        st.booleans(),
    ),
)
ENTRY = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["user", "assistant", "queue-operation", "summary", "ai-title"]),
        "uuid": st.sampled_from([f"u{n}" for n in range(9)]),
        "parentUuid": st.none() | st.sampled_from(["u1", "u2", "elsewhere"]),
        "isSidechain": st.sampled_from([False, False, False, True]),
        "sessionId": st.sampled_from(["s1", "s1", "s2"]),
        "timestamp": st.integers(0, 59).map(lambda second: f"2026-02-03T04:05:{second:02}.000Z"),
        "message": st.fixed_dictionaries(
            {
                "id": IDS,
                "content": WORDS | st.lists(BLOCK, max_size=3),
                "usage": st.just({})
                | st.builds(lambda sent: {"input_tokens": sent, "output_tokens": 1}, st.integers(0, 9)),
            }
        ),
        "operation": st.sampled_from(["enqueue", "remove", "dequeue", "popAll"]),
        "content": WORDS,
        "summary": WORDS,
        "aiTitle": WORDS,
        "leafUuid": st.sampled_from(["u1", "u2"]),
        "isMeta": st.sampled_from([None, None, True]),
    }
)


@settings(max_examples=60)
@given(entries=st.lists(ENTRY, max_size=12), cuts=st.sets(st.integers(0, 12)))
def test_any_entries_give_the_same_records_however_they_come(entries, cuts):
    lines = [json.dumps(entry).encode() for entry in entries]
    at_once = LINE_READERS["claude"]("file", LIMITS)
    expected = taken(at_once, lines)
    saved, records = None, []
    for begin, end in pairwise([0, *sorted(cuts), len(lines)]):
        reader = LINE_READERS["claude"]("file", LIMITS, saved)
        records += taken(reader, lines[begin:end])
        saved = reader.save()
    assert records == expected
    assert saved == at_once.save()


@pytest.mark.parametrize("format_name", LINE_READERS)
def test_a_state_that_another_version_saved_is_not_taken(format_name):
    saved = LINE_READERS[format_name]("file", LIMITS).save()
    assert can_resume(format_name, saved)
    assert can_resume(format_name, None)
    other = json.loads(saved) | {"line": "seven"}
    assert not can_resume(format_name, json.dumps(other).encode())


def test_the_state_stays_small():
    """It is saved after every reading."""
    reader = LINE_READERS["claude"]("file", LIMITS)
    for number in range(2000):
        call = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"command": "x" * 5000}}
        entry = {
            "type": "assistant",
            "uuid": f"u{number}",
            "message": {"id": f"m{number}", "content": [call], "usage": {"input_tokens": 1}},
        }
        reader.feed(json.dumps(entry).encode())
    assert len(reader.save()) < 200_000


FIELDS = [
    (name, field)
    for name, reader in LINE_READERS.items()
    for field in reader.entry_type.__struct_encode_fields__
]
NESTED_LIST, NESTED_OBJECT = "[" * 950 + "]" * 950, '{"a":' * 950 + "1" + "}" * 950
KINDS = ["user", "assistant", "summary", "attachment", "queue-operation", "message", "function_call"]


@pytest.mark.parametrize(("format_name", "field"), FIELDS)
@pytest.mark.parametrize(
    "value", ["[" * 950 + "]" * 950, '{"a":' * 950 + "1" + "}" * 950, "[[],{}]", "1e999", "true"]
)
def test_any_value_in_any_field_ends_no_reader(format_name, field, value):
    for kind in KINDS:
        reader = LINE_READERS[format_name]("file", LIMITS)
        line = f'{{"type":"{kind}","isSidechain":true,"message":{{"content":"hi"}},"{field}":{value}}}'
        with contextlib.suppress(Skipped):
            for _ in range(2):
                reader.feed(line.encode())
        LINE_READERS[format_name]("file", LIMITS, reader.save())


def test_any_block_of_a_result_is_text():
    nested: object = "x"
    for _ in range(400):
        nested = {"type": "content", "content": nested}
    blocks = [
        {"type": []},
        {"type": "diff", "path": [], "newText": {}},
        {"resource": {"text": "x", "uri": {}}},
        nested,
    ]
    for content in [*blocks, blocks]:
        reader = LINE_READERS["claude"]("file", LIMITS)
        result = {"type": "tool_result", "tool_use_id": "t", "content": content}
        reader.feed(json.dumps({"type": "user", "message": {"content": [result]}}).encode())
        assert reader.state.problems == []


@pytest.mark.parametrize("depth", [900, 990, 1100, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize(
    ("format_name", "line"),
    [
        ("claude", '{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t","input":%s}]}}'),
        (
            "claude",
            '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":%s}]}}',
        ),
        ("codex", '{"type":"response_item","payload":{"type":"local_shell_call","call_id":"c","action":%s}}'),
    ],
)
def test_deeply_nested_values_end_no_reader(format_name, line, opening, depth):
    nested = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    reader = LINE_READERS[format_name]("file", LIMITS)
    reader.feed((line % nested).encode())
    LINE_READERS[format_name]("file", LIMITS, reader.save())


@pytest.mark.parametrize("format_name", LINE_READERS)
def test_a_reader_is_freed_without_a_garbage_collection(format_name, tmp_path):
    """Of thousands of files the readers would stay in memory until the next one."""
    reader = weakref.ref(open_reader(format_name, tmp_path / "a.jsonl", LIMITS))
    assert reader() is None

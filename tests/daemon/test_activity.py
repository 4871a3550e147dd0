"""Bounded records from what back ends and tools' files say."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from port42_daemon.activity import (
    kind_of,
    plan_entries,
    shorten,
    text_of,
    thought_record,
    tool_record,
)
from port42_daemon.config import SessionsConfig
from port42_protocol.messages.records import Location, PlanEntry, ToolRecord, decode_record, encode_stored

AT = "2026-11-23T03:37:11.042Z"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def tool(**fields: Any) -> ToolRecord:
    return tool_record(**{"id": "1", "timestamp": AT, "state": "done", "limits": SessionsConfig()} | fields)


@given(st.text(max_size=2000), st.integers(256, 1000))
def test_head_and_tail_stay_and_what_is_left_out_is_counted(text: str, limit: int) -> None:
    shown, omitted = shorten(text, limit)
    size = len(text.encode())
    if size <= limit:
        assert (shown, omitted) == (text, 0)
        return
    head, tail = shown.split(f"\n[… {omitted:,} bytes left out …]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head.encode()) + omitted + len(tail.encode()) == size
    assert len(head.encode()) + len(tail.encode()) <= limit


@given(JSON, JSON)
def test_whatever_a_tool_got_and_gave_makes_a_record_that_can_be_stored(given_: Any, result: Any) -> None:
    record = tool(name="any", input=given_, output=result, title=None)
    assert decode_record(encode_stored(record)) == record
    assert record.title.strip()


def test_a_call_is_described_by_its_input() -> None:
    record = tool(name="Bash", input={"command": "npm test", "description": "run the tests"})
    assert (record.title, record.kind, record.input) == (
        "npm test",
        "execute",
        '{"command":"npm test","description":"run the tests"}',
    )
    assert tool(name="shell", input={"command": ["bash", "-lc", "ls"]}).title == "bash -lc ls"
    read = tool(name="Read", input={"file_path": "/a/b.py"})
    assert (read.title, read.kind, read.locations) == ("/a/b.py", "read", (Location("/a/b.py"),))
    assert tool(name="x", title="Look", kind="search", input={"path": "/a"}).kind == "search"
    assert (tool().title, tool().name, tool().input, tool().locations) == ("tool call", UNSET, UNSET, UNSET)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Read", "read"),
        ("read_file", "read"),
        ("MultiEdit", "edit"),
        ("WebFetch", "fetch"),
        ("run_shell_command", "execute"),
        ("mcp__github__list_issues", "search"),
        ("apply_patch", "edit"),
        ("", "other"),
        (None, "other"),
        ("Zebra", "other"),
    ],
)
def test_the_kind_follows_from_the_name(name: str | None, kind: str) -> None:
    assert kind_of(name) == kind


PNG = base64.b64encode(b"\x89PNG" * 30).decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a\tb\x1b[0m", "a\tb\x1b[0m"),
        ({"a": [1]}, '{"a":[1]}'),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "content", "content": {"type": "text", "text": "a"}}], "a"),
        ([{"type": "diff", "path": "/a", "oldText": "x", "newText": "y"}], "/a\ny"),
        ([{"type": "image", "mimeType": "image/png", "data": PNG}], "[image/png, 120 bytes]"),
        (
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}],
            "[image/png, 120 bytes]",
        ),
        ([{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}], "[image/png, 120 bytes]"),
        ({"shot": f"data:image/png;base64,{PNG}"}, '{"shot":"[image/png, 120 bytes]"}'),
        ({"type": "resource", "resource": {"uri": "file:///a", "text": "b"}}, "file:///a\nb"),
        (
            {"type": "resource", "resource": {"mimeType": "application/pdf", "blob": PNG}},
            "[application/pdf, 120 bytes]",
        ),
        ("ELF\x00\x01", "[binary, 5 bytes]"),
        (b"abc", "[binary, 3 bytes]"),
    ],
)
def test_binary_is_a_placeholder_with_type_and_size(value: object, text: str) -> None:
    assert text_of(value) == text


def test_limits_hold_for_input_output_and_thoughts() -> None:
    limits = SessionsConfig(tool_input_bytes=256, tool_output_bytes=512)
    record = tool(input="i" * 300, output="o" * 1000, limits=limits)
    assert (record.input_omitted, record.output_omitted) == (44, 488)
    thought = thought_record("t" * 600, AT, limits)
    assert thought is not None
    assert thought.omitted == 88
    assert thought_record(" \n", AT, limits) is None
    assert tool(locations=[Location("/a")] * 100, duration_ms=-1).locations == (Location("/a"),) * 32


def test_a_plan_in_the_forms_that_tools_have() -> None:
    todos = [
        {"content": "a", "status": "completed", "activeForm": "doing a"},
        {"step": "b", "status": "in_progress"},
        {"content": "c", "status": "no such"},
        "d",
        {"content": ""},
        7,
    ]
    states = [("a", "completed"), ("b", "in_progress"), ("c", "pending"), ("d", "pending")]
    assert plan_entries(todos) == tuple(PlanEntry(*step) for step in states)  # type: ignore[arg-type]
    assert plan_entries("no list") == ()
    assert len(plan_entries([str(n) for n in range(1000)])) == 100


def test_records_have_no_lone_surrogates() -> None:
    msgspec.json.encode(tool(id="\ud800", title="\ud800", input={"a": "\udfff"}, output="\ud800"))

"""Files of other programs: what is read of damaged, huge and special ones, and in how much memory."""

from __future__ import annotations

import errno
import json
import os
import socket
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.config import SessionsConfig
from port42_daemon.databases import zstandard
from port42_daemon.transfer.readers import aichat, files, original, port42
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.detect import sources
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_daemon.transfer.readers.line_reader import LineReader
from port42_daemon.transfer.readers.values import MESSAGE_BYTES

LIMITS = SessionsConfig()
WHEN = "2026-01-15T10:00:00.000Z"


class Reader(LineReader):
    """Keeps each object's field `a`."""

    class Entry(msgspec.Struct):
        a: Any = None

    format = "test"
    entry_type = Entry

    def __init__(self):
        super().__init__("x", LIMITS)
        self.values = []

    def take(self, entry, location):
        self.values.append(entry.a)


def objects(data: bytes) -> tuple[list[object], list[tuple[str, str]]]:
    reader = Reader()
    for line in data.splitlines(keepends=True):
        reader.feed(line)
    return reader.values, reader.state.problems


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (rb'{"a":"half \ud83d here"}', "half \ufffd here"),
        (rb'{"a":"other half \ude00"}', "other half \ufffd"),
        (rb'{"a":"whole \ud83d\ude00"}', "whole \U0001f600"),
        (rb'{"a":"\ud83d\ud83d\ude00"}', "\ufffd\U0001f600"),
        (rb'{"a":"no escape \\ud83d"}', r"no escape \ud83d"),
        (rb'{"a":"no escape \\\ud83d"}', "no escape \\\ufffd"),
        (b'{"a":"as bytes \xed\xa0\xbd"}', "as bytes \ufffd\ufffd\ufffd"),
        (b'{"a":"cut off \xf0\x9f"}', "cut off \ufffd"),
        (b'\0\0{"a":"padded"}' + b"\0" * 5000, "padded"),
        (b'\xef\xbb\xbf{"a":"behind a mark"}', "behind a mark"),
    ],
)
def test_damaged_text_is_kept_with_a_replacement(line, text):
    assert objects(line) == ([text], [])


@given(st.text(st.characters(codec=None, categories=["L", "Cs", "P"]), max_size=20))
def test_any_text_that_json_can_hold_comes_in(text):
    [value], problems = objects(json.dumps({"a": text}).encode())
    assert problems == []
    assert value == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


OBJECT = st.fixed_dictionaries({"a": st.integers() | st.text(max_size=8)})


@given(st.lists(OBJECT, min_size=1, max_size=4), st.sampled_from([b"", b" ", b"\0"]), st.binary(max_size=6))
def test_whole_objects_on_one_line_come_in_whatever_stands_behind_them(objects_on_the_line, padding, tail):
    line = (
        b" ".join(json.dumps(value).encode() for value in objects_on_the_line)
        + padding
        + tail.replace(b"\n", b"")
    )
    values, problems = objects(line.replace(b"\r", b""))
    assert values[: len(objects_on_the_line)] == [value["a"] for value in objects_on_the_line]
    assert len(problems) <= len(padding + tail)  # each byte may be a number


NESTED = st.fixed_dictionaries(
    {"type": st.text(max_size=9), "parts": st.lists(st.fixed_dictionaries({"n": st.integers()}), max_size=2)}
)


@given(torn=NESTED, cut=st.integers(1, 90), after=st.lists(NESTED, min_size=1, max_size=2))
def test_whole_objects_behind_one_that_was_not_written_to_its_end_come_in(torn, cut, after):
    beginning = json.dumps(torn)
    beginning = beginning[: min(cut, len(beginning) - 1)]
    found: list[Any] = []
    with pytest.raises(Skipped, match="not JSON"):
        found.extend(files.json_values((beginning + "".join(map(json.dumps, after))).encode()))
    # A whole object at the end of what was torn may come before them.
    assert found[-len(after) :] == after


def test_a_line_of_a_million_values_is_left_out():
    values, problems = objects(b'{"a":[' + b"[]," * 600_000 + b"1]}")
    assert (values, problems) == ([], [("line 1", "it has more than 1,000,000 values")])


# --- one long document ----------------------------------------------------------------------------

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["messages", "a", '"', "\\"]), inner, max_size=3)
    ),
    max_leaves=10,
)
LAYOUT = st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}])
FIELDS = st.dictionaries(st.text(max_size=4).filter(lambda name: name != "messages"), VALUE, max_size=3)


@settings(max_examples=80)
@given(FIELDS, st.lists(VALUE, max_size=5), FIELDS, LAYOUT, st.integers(1, 9))
def test_a_document_in_pieces_is_the_document(before, messages, after, layout, size):
    whole = {**before, "messages": messages}
    whole |= {name: value for name, value in after.items() if name not in before}
    data = json.dumps(whole, **layout).encode()
    document = JsonDocument((data[at : at + size] for at in range(0, len(data), size)), limit=1000)
    assert [json.loads(item) for item in document.items() if item is not None] == messages
    assert json.loads(document.rest) == {**whole, "messages": []}


def test_an_item_that_is_too_long_is_left_out():
    document = JsonDocument([b'{"messages":[1,"', b"x" * 100, b'",2]}'], limit=20)
    assert list(document.items()) == [b"1", None, b"2"]


def test_everything_else_of_a_document_is_limited():
    document = JsonDocument([b'{"a":"' + b"x" * 2**20 + b'","messages":[]}'], limit=20)
    with pytest.raises(Skipped, match="besides its messages"):
        list(document.items())


HEADER = {"format": 1, "id": "a", "agent": "b", "client": "c", "created_at": WHEN}
HEAD = json.dumps(HEADER)[:-1] + ',"messages":['
OURS = json.dumps({"seq": 1, "role": "user", "content": "x", "timestamp": WHEN})


def read_original(chunks):
    return original.read(chunks, LIMITS)


def read_ours(chunks):
    return port42.read(chunks)


@pytest.mark.parametrize(
    ("read", "head", "item"),
    [
        (read_original, '{"id":"x","messages":[', "{}"),
        (read_original, '{"id":"x","messages":[', '{"role":"user","content":""}'),
        (read_ours, HEAD, "[]"),
        (read_ours, HEAD, OURS),
    ],
)
def test_reading_takes_less_memory_than_the_source_has_bytes(read, head, item):
    """Decoded whole, ``[{},{},…]`` took 26 times its size."""
    pieces = [head.encode(), *[f"{item},".encode() * 1000] * 60, b"1]}"]
    tracemalloc.start()
    with suppress(Skipped):
        read(iter(pieces))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < sum(map(len, pieces))


# --- YAML -----------------------------------------------------------------------------------------


def yaml_session(content: str, before: str = "") -> ParsedSession:
    return aichat.read(
        f"{before}model: m\nmessages:\n- role: user\n  content: {content}\n".encode(), "x", 0, LIMITS
    )[0]


@pytest.mark.parametrize(
    "scalar", ["1:" * 50_000 + "1", "0b" + "1" * 100_000, "9" * 100_000, "2026-13-45", "1e999", ".inf", "yes"]
)
def test_a_scalar_is_text_and_never_a_number(scalar):
    """A number to the base of 60 with 50,000 digits took quadratic time."""
    assert [record.content for record in yaml_session(scalar).records] == [scalar]


def test_aliases_cannot_make_a_message_that_memory_does_not_hold():
    part = "&p {type: text, text: " + "x" * 100_000 + "}"
    with pytest.raises(Skipped, match=f"message 1: a message of more than {MESSAGE_BYTES:,} bytes"):
        yaml_session("[" + part + ", *p" * 20_000 + "]")


@pytest.mark.parametrize("field", ["arguments", "output"])
def test_aliases_cannot_make_a_tool_call_that_memory_does_not_hold(field):
    """A thousand bytes of YAML stood for 4 GB of JSON."""
    lists = ["bomb:\n- &a0 [" + "x, " * 9 + "x]"]
    lists += [f"- &a{n} [" + f"*a{n - 1}, " * 9 + f"*a{n - 1}]" for n in range(1, 9)]
    values = {"arguments": "{}", "output": "done"} | {field: "*a8"}
    session = aichat.read(
        "\n".join(
            [
                *lists,
                "messages:\n- role: tool\n  content:\n    text: so\n    tool_results:",
                f"    - call: {{name: ls, id: c1, arguments: {values['arguments']}}}",
                f"      output: {values['output']}",
            ]
        ).encode(),
        "x",
        0,
        LIMITS,
    )[0]
    assert session.problems == [("message 1", f"its tool calls have more than {aichat.LIMIT:,} bytes")]
    text, call = session.records
    assert (text.content, call.name, call.state) == ("so", "ls", "done")


def test_merges_of_merges_are_not_done():
    keys, aliases = ", ".join(f"k{n}: v" for n in range(2000)), ", ".join(["*b"] * 2000)
    session = yaml_session("hi", before=f"base: &b {{{keys}}}\nmore: {{<<: [{aliases}]}}\n")
    assert [record.content for record in session.records] == ["hi"]


@pytest.mark.parametrize("text", ["*nobody", "? [a]\n: b", "{a: b", "&a [*a]", "a: b\na: c", "'"])
def test_odd_yaml_is_skipped_with_a_reason(text):
    with pytest.raises(Skipped):
        aichat.read(text.encode(), "x", 0, LIMITS)


# --- what is no ordinary file ---------------------------------------------------------------------


def test_special_and_endless_files_are_skipped_with_a_reason(tmp_path):
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / "good.jsonl").write_text('{"sessionId":"x","type":"user","message":{"content":"hi"}}\n')
    os.mkfifo(folder / "fifo.jsonl")
    (folder / "link.jsonl").symlink_to(folder / "good.jsonl")
    (folder / "device.jsonl").symlink_to("/dev/zero")
    (folder / "folder.jsonl").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.jsonl"))
        (folder / "sparse.jsonl").touch()
        os.truncate(folder / "sparse.jsonl", 2**42)
        reasons = {}
        for source in sources(folder, "auto")[1]:
            try:
                source.read(LIMITS)
            except Skipped as reason:
                reasons[source.key] = str(reason)
    assert reasons == {
        "fifo.jsonl": "it is not an ordinary file",
        "link.jsonl": "it is a symbolic link",
        "device.jsonl": "it is a symbolic link",
        "socket.jsonl": "it is not an ordinary file",
        "sparse.jsonl": "it has more than 1,073,741,824 bytes",
    }


def test_a_folder_of_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_ENTRIES", 3)
    for number in range(4):
        (tmp_path / f"{number}.jsonl").touch()
    with pytest.raises(Skipped, match="more than 3 files"):
        sources(tmp_path, "auto")


# --- compressed -----------------------------------------------------------------------------------

NAME = "rollout-2026-03-01T10-00-00-019c0000-0000-7000-8000-000000000001.jsonl"


def rollout(*texts):
    items = [{"type": "message", "role": "user", "content": text} for text in texts]
    lines = [{"timestamp": WHEN, "type": "response_item", "payload": item} for item in items]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder and a file that this user may not read, also where that is root, who may read all."""
    (tmp_path / "open.jsonl").write_text('{"type":"summary","leafUuid":"1"}\n')
    closed = (tmp_path / "closed", tmp_path / "closed.jsonl")
    closed[0].mkdir()
    closed[1].touch()

    def refusing(call):
        def refuse(path, *arguments):
            if Path(path) in closed:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return call(path, *arguments)

        return refuse

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "open", refusing(os.open))
    return closed


def test_what_a_person_may_not_read_is_named(closed, tmp_path):
    formats, found = sources(tmp_path, "auto")
    problems = {source.key: source.problem for source in found if source.problem}
    assert formats == ["claude"]
    assert problems == dict.fromkeys(["closed", "closed.jsonl"], "it cannot be read: permission denied")


def test_a_link_to_a_folder_is_named(tmp_path):
    (tmp_path / "moved").mkdir()
    (tmp_path / "claude").mkdir()
    (tmp_path / "claude" / "projects").symlink_to(tmp_path / "moved")
    with pytest.raises(Skipped, match="projects: it is a symbolic link"):
        sources(tmp_path / "claude", "auto")


def test_a_file_that_may_not_be_read_may_be_later(closed):
    with pytest.raises(files.DiskFault, match="permission denied"), files.opened(closed[1]):
        pass


def test_a_rollout_that_codex_compressed_is_read_once(tmp_path):
    packed = tmp_path / "2026" / f"{NAME}.zst"
    packed.parent.mkdir()
    packed.write_bytes(zstandard().compress(rollout("hi")) + zstandard().compress(rollout("and?")))
    (tmp_path / "session_index.jsonl").write_text(json.dumps({"id": NAME[28:-6], "thread_name": "Boats"}))
    for path in (packed, tmp_path):
        formats, [source] = sources(path, "auto")
        [session] = source.read(LIMITS)
        assert (formats, [record.content for record in session.records]) == (["codex"], ["hi", "and?"])
        assert (session.info.source_id, session.info.title) == (NAME[28:-6], "Boats")
    packed.with_suffix("").write_bytes(rollout("hi", "and?", "again"))  # it is written to again
    [source] = sources(tmp_path, "codex")[1]
    assert source.path == packed.with_suffix("")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zstandard().compress(rollout("hi" * 400_000))[:-20], "cannot be decompressed"),
        (b"(\xb5/\xfd no more", "cannot be decompressed"),
        (zstandard().compress(b"\n" * 2_000_000), "more than 1,000,000 bytes"),
    ],
)
def test_a_compressed_file_that_is_damaged_or_a_bomb(tmp_path, monkeypatch, data, reason):
    monkeypatch.setattr(files, "FILE_BYTES", 1_000_000)
    (tmp_path / f"{NAME}.zst").write_bytes(data)
    [source] = sources(tmp_path, "codex")[1]
    with pytest.raises(Skipped, match=reason):
        source.read(LIMITS)

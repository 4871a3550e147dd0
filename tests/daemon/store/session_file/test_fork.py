"""A fork's bytes: those of the original, aligned with its blocks."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from port42_daemon import durable
from port42_daemon.store.interface import FORKED, Header
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.fork import branch
from port42_daemon.store.session_file.salvage import salvage
from port42_protocol.messages.records import EventRecord, ForkPoint, UserMessage
from port42_protocol.times import milliseconds

BLOCK = 4096


def original(contents):
    header = Header(id="cli-1", agent="ai-muse", created_at="2026-01-01T00:00:00.000Z", client="cli")
    records = [
        UserMessage(seq=seq, content=content, timestamp="2026-01-01T00:00:01.000Z")
        for seq, content in enumerate(contents, 1)
    ]
    return document.compose(header, records)


def forked(data, whole, seq, **more):
    header = structs.replace(whole.header, id="cli-2", forked_from=ForkPoint("cli-1", seq), **more)
    event = EventRecord(seq=0, event=FORKED, timestamp="2026-01-01T00:00:02.000Z")
    read = lambda offset, length: data[offset : offset + length]  # noqa: E731
    fork = branch(read, whole, seq, (header, event, milliseconds(event.timestamp)), BLOCK)
    middle = data[whole.records_at : whole.records_at + fork.length]
    return fork, fork.head + middle + fork.tail


@given(st.lists(st.text(max_size=50), min_size=1, max_size=8), st.data(), st.text(max_size=200) | st.none())
def test_any_fork_is_a_valid_document_with_the_same_records(contents, data, cwd):
    written, whole = original(contents)
    seq = data.draw(st.integers(1, len(contents)))
    fork, made = forked(written, whole, seq, cwd=cwd)
    read = lambda offset, length: made[offset : offset + length]  # noqa: E731
    assert document.load(read, len(made)) == fork.document
    before, after = json.loads(written)["messages"], json.loads(made)["messages"]
    assert after[:-1] == before[:seq]
    assert (after[-1]["seq"], after[-1]["event"]) == (seq + 1, FORKED)
    header, kept, lost = salvage(made)
    assert (header, len(kept), lost) == (fork.document.header, seq + 1, 0)
    assert document.compose(header, kept)[1].footer == fork.document.footer


@given(st.integers(1, 5000))
def test_records_worth_sharing_have_the_same_offset_in_a_block(length):
    data, whole = original(["x" * 1000] * 100)
    fork, _ = forked(data, whole, 100, cwd="/" + "d" * length)
    assert (fork.document.records_at - whole.records_at) % BLOCK == 0
    assert len(fork.head) == fork.document.records_at


def test_few_records_cost_no_white_space():
    data, whole = original(["x"])
    assert b" " not in forked(data, whole, 1)[0].head


def test_a_fork_of_a_whole_session_reads_no_record():
    _, whole = original(["x"] * 10)
    looked = []
    header = structs.replace(whole.header, id="cli-2")
    event = EventRecord(seq=0, event=FORKED, timestamp="2026-01-01T00:00:02.000Z")
    branch(
        lambda *where: looked.append(where) or b"",
        whole,
        10,
        (header, event, milliseconds(event.timestamp)),
        BLOCK,
    )
    assert looked == []


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 5000])
def test_a_span_is_copied_with_and_without_copy_file_range(tmp_path, monkeypatch, kernel, offset):
    if not kernel:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    data = os.urandom(3 * 1024 * 1024)
    (tmp_path / "a").write_bytes(data)
    file = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        span = durable.Span(file, offset, len(data) - offset - 7)
        durable.replace_with_copy(tmp_path / "b", b"h" * 100, span, b"tail")
        durable.replace_with_copy(tmp_path / "c", b"h" * offset, span, b"tail")
    finally:
        os.close(file)
    assert (tmp_path / "b").read_bytes() == b"h" * 100 + data[offset:-7] + b"tail"
    assert (tmp_path / "c").read_bytes() == b"h" * offset + data[offset:-7] + b"tail"
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600

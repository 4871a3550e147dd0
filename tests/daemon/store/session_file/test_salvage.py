"""Recovery of damaged sessions: every whole message is kept, and the original file."""

from __future__ import annotations

import json
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.interface import Header
from port42_daemon.store.session_file import salvage as subject
from port42_daemon.store.session_file.document import Damaged, compose
from port42_daemon.store.session_file.salvage import recover, salvage, set_aside
from port42_protocol.messages.records import (
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
)


@pytest.fixture
def path(tmp_path):
    header = Header(id="cli-1", agent="a", created_at="2026-01-01T00:00:00.000Z", client="cli")
    records = [
        UserMessage(seq=seq, content=f"m{seq}", timestamp="2026-01-01T00:00:01.000Z") for seq in (1, 2, 3)
    ]
    path = tmp_path / "cli-1.json"
    path.write_bytes(compose(header, records)[0])
    return path


def test_a_torn_file_is_recovered_and_its_original_kept(path):
    torn = path.read_bytes().replace(b'"m2"', b'"m2')[:-30]
    path.write_bytes(torn)
    kept, lost, original = recover(path, "cli-1")
    assert (kept, lost) == (2, 1)
    whole = json.loads(path.read_bytes())
    assert [record["content"] for record in whole["messages"]] == ["m1", "m3"]
    assert [record["seq"] for record in whole["messages"]] == [1, 3]
    assert (whole["message_count"], whole["last_seq"]) == (2, 3)
    assert original.read_bytes() == torn
    assert original.name.startswith("cli-1.json.damaged-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_without_a_header_is_not_changed(path):
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    before = path.read_bytes()
    with pytest.raises(Damaged):
        recover(path, "cli-1")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["cli-1.json"]


def test_every_original_gets_its_own_name(path):
    names = {set_aside(path).name for _ in range(20)}
    assert len(names) == 20


# --- record by record --------------------------------------------------------------------------------


HEADER = Header(id="cli-1", agent="a", created_at="2026-01-01T00:00:00.000Z", client="cli")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ['{"seq":9', '"}', "}", '\\"', '{"seq":7,"role":"user","content":"x","timestamp":"t"}', "\n]"]
)


def messages(texts):
    return [UserMessage(seq=seq, content=text, timestamp="t") for seq, text in enumerate(texts, 1)]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
def test_a_byte_between_two_records_costs_neither(texts, data):
    whole = bytearray(compose(HEADER, messages(texts))[0])
    begin = whole.index(b"[\n") + 2
    between = [match.start() for match in re.finditer(rb",?\n", whole) if match.start() >= begin]
    for position in data.draw(st.lists(st.sampled_from(between), max_size=3)):
        whole[position] = data.draw(st.integers(0, 255).filter(lambda byte: byte not in b'"{}\\'))
    kept = salvage(bytes(whole)).records
    assert [record.content for record in kept] == texts


ACTIVITIES = [
    ToolRecord(seq=1, timestamp="t", id="c", name="Bash", title="ls", state="failed", output='"}\n{"seq":9'),
    ThoughtRecord(seq=2, timestamp="t", content="Hm, }"),
    PlanRecord(seq=3, timestamp="t", entries=(PlanEntry("look", "completed"), PlanEntry("leap"))),
    PermissionRecord(seq=4, timestamp="t", title="rm?", options=("Yes",), chosen="Yes", by="config"),
]


@pytest.mark.parametrize("lost", range(4))
def test_activities_are_recovered_in_their_stored_form(path, lost):
    data = compose(HEADER, ACTIVITIES)[0]
    line = data.split(b"\n")[1 + lost]
    assert b'"role":"event","event":"' in line
    path.write_bytes(data.replace(line, line.replace(b'"timestamp":"t"', b'"timestamp":t')))
    kept, gone, _ = recover(path, "cli-1")
    assert (kept, gone) == (0, 1)
    whole = ACTIVITIES[:lost] + ACTIVITIES[lost + 1 :]
    assert salvage(path.read_bytes()).records == whole
    assert path.read_bytes().count(b'"role":"event","event":"') == 3


@given(st.lists(TEXTS, max_size=6), st.sampled_from([None, 1, 4]), st.booleans(), st.booleans())
def test_json_that_another_tool_formatted_is_read(texts, indent, bom, sort):
    document = json.loads(compose(HEADER, messages(texts))[0])
    text = json.dumps(document, indent=indent, sort_keys=sort, ensure_ascii=sort).encode()
    header, kept, lost = salvage((b"\xef\xbb\xbf" if bom else b"") + text)
    assert (header.id, header.agent, lost) == ("cli-1", "a", 0)
    assert [record.content for record in kept] == texts


def test_a_damaged_header_still_has_the_agent(path):
    text = path.read_bytes().replace(b'"created_at":"2026', b'"created_at:"2026')
    path.write_bytes(text)
    assert recover(path, "cli-1")[:2] == (3, 0)
    assert json.loads(path.read_bytes())["agent"] == "a"
    path.write_bytes(text.replace(b'"agent":"a"', b'"agent:"a"'))
    with pytest.raises(Damaged):
        recover(path, "cli-1")


def test_a_damaged_header_still_says_whose_session_it_is_at_the_hub(path):
    """Else it would be pushed as an own one where nothing else says so any more."""
    header = b'"client":"cli","hub_owner":"ada"'
    text = path.read_bytes().replace(b'"created_at":"2026', b'"created_at:"2026')
    path.write_bytes(text.replace(b'"client":"cli"', header))
    recover(path, "cli-1")
    assert json.loads(path.read_bytes())["hub_owner"] == "ada"


def test_a_sparse_file_of_terabytes_is_refused_by_its_beginning(tmp_path, path):
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(Damaged, match="does not begin as a session does"):
        recover(tmp_path / "big.json", "big")
    with path.open("r+b") as file:
        file.truncate(1 << 42)
    assert recover(path, "cli-1")[:2] == (3, 0)


@pytest.mark.parametrize(
    "piece", [b'{"seq":1,"a":{', b'{"seq":1,"a":"', b'{"seq":1 ', b'"', b'{"seq":{', b'{"seq":1,"x":"\\"']
)
def test_recovery_takes_linear_time(piece, monkeypatch):
    """Measured in scanned bytes: twice the file is twice the bytes."""
    gone_through = []
    real = subject._object_end

    def count(text, start):
        end = real(text, start)
        gone_through.append(end - start.start())
        return end

    monkeypatch.setattr(subject, "_object_end", count)
    head = compose(HEADER, [])[0].split(b"\n")[0] + b"\n"
    for size in (1000, 2000):
        gone_through.clear()
        body = piece * size
        salvage(head + body)
        assert sum(gone_through) <= (subject._SCANS + 1) * len(body)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_number_of_the_last_use_is_recovered(path, indent):
    data = compose(HEADER, messages(['"used":1', "x"]), 1_900_000_000_000)[0]
    path.write_bytes(
        data.replace(b",\n", b"* ") if indent is None else json.dumps(json.loads(data), indent=2).encode()
    )
    assert recover(path, "cli-1")[:2] == (2, 0)
    assert json.loads(path.read_bytes())["used"] == 1_900_000_000_000

"""A damaged session: every whole message kept, and the original beside it."""

from __future__ import annotations

import json
import stat

import pytest

from port42_daemon.store.interface import Header
from port42_daemon.store.session_file.document import Damaged, compose
from port42_daemon.store.session_file.salvage import recover, set_aside
from port42_protocol.messages.records import UserMessage


@pytest.fixture
def path(tmp_path):
    header = Header(id="cli-1", agent="a", created_at="2026-01-01T00:00:00.000Z", client="cli")
    said = [
        UserMessage(seq=seq, content=f"m{seq}", timestamp="2026-01-01T00:00:01.000Z") for seq in (1, 2, 3)
    ]
    path = tmp_path / "cli-1.json"
    path.write_bytes(compose(header, said)[0])
    return path


def test_a_torn_file_is_whole_again_and_its_original_beside_it(path):
    torn = path.read_bytes().replace(b'"m2"', b'"m2')[:-30]
    path.write_bytes(torn)
    kept, lost, original = recover(path)
    assert (kept, lost) == (2, 1)
    whole = json.loads(path.read_bytes())
    assert [one["content"] for one in whole["messages"]] == ["m1", "m3"]
    assert [one["seq"] for one in whole["messages"]] == [1, 3]
    assert (whole["message_count"], whole["last_seq"]) == (2, 3)
    assert original.read_bytes() == torn
    assert original.name.startswith("cli-1.json.damaged-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_without_a_header_is_left_as_it_is(path):
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    before = path.read_bytes()
    with pytest.raises(Damaged):
        recover(path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["cli-1.json"]


def test_every_original_gets_a_name_of_its_own(path):
    names = {set_aside(path).name for _ in range(20)}
    assert len(names) == 20

"""`agent_sessions.json`: durable at every change, written only then."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon import durable
from port42_daemon.store.last_sessions import LastSessions, MappingDamaged, UseOrder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent_sessions.json"


def on_disk(path) -> dict:
    return json.loads(path.read_bytes())


def test_a_change_is_on_the_disk_when_it_returns_as_indented_json(path):
    mapping = LastSessions(path)
    assert mapping.load() is False
    mapping.set("ai-engineer", "cli-1")
    mapping.set("ai-analyst", "cli-2")
    assert path.read_text() == '{\n  "ai-engineer": "cli-1",\n  "ai-analyst": "cli-2"\n}\n'
    again = LastSessions(path)
    assert again.load() is True
    assert again.agents() == {"ai-engineer": "cli-1", "ai-analyst": "cli-2"}
    assert (again.view.get("ai-engineer"), again.view.get("ai-muse")) == ("cli-1", None)


def test_an_unchanged_mapping_is_not_written(path):
    mapping = LastSessions(path)
    mapping.set("a", "cli-1")
    inode = path.stat().st_ino
    mapping.set("a", "cli-1")
    mapping.save()
    assert path.stat().st_ino == inode


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a":1}',
        b'{"a":null}',
        b'{"a/b":"cli-1"}',
        b'{"a":"../x"}',
        b'{"a":"x\\u0000"}',
        b'{"a":"cli-1"}x',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"\x00" * 30,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:16]),
)
def test_damage_is_an_error_and_changes_nothing(path, data):
    path.write_bytes(data)
    with pytest.raises(MappingDamaged):
        LastSessions(path).load()
    assert path.read_bytes() == data


def test_a_rebuilt_mapping_is_on_the_disk_once_it_is_complete(path):
    mapping = LastSessions(path)
    mapping.begin_rebuilding({"a": "cli-1", "b": "cli-2", "d": "cli-7"})
    mapping.set("a", "cli-3")
    mapping.set("d", "cli-7")  # used again, later than all that is found below
    assert not path.exists()
    mapping.complete({"a": "cli-4", "b": "cli-5", "c": "cli-6", "d": "cli-8"})
    assert on_disk(path) == {"a": "cli-3", "b": "cli-5", "c": "cli-6", "d": "cli-7"}


def test_a_change_that_failed_is_written_with_the_next_save(path, monkeypatch):
    mapping = LastSessions(path)
    mapping.set("a", "cli-1")
    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            mapping.set("a", "cli-2")
        with pytest.raises(OSError, match="full"):
            mapping.set("a", "cli-2")
    assert on_disk(path) == {"a": "cli-1"}
    assert mapping.view.get("a") == "cli-2"
    mapping.save()
    assert on_disk(path) == {"a": "cli-2"}


def test_concurrent_changes_share_writes_and_each_is_on_the_disk(path, monkeypatch):
    mapping, real, writes = LastSessions(path), durable.replace, []
    gate = threading.Event()

    def replace(where, data) -> None:
        writes.append(data)
        if len(writes) == 1:
            gate.wait()  # so that the others have to queue behind the first
        real(where, data)

    monkeypatch.setattr(durable, "replace", replace)

    def change(number: int) -> None:
        mapping.set(f"agent-{number}", "cli-1")
        assert on_disk(path)[f"agent-{number}"] == "cli-1"

    with ThreadPoolExecutor(16) as pool:
        changes = [pool.submit(change, number) for number in range(16)]
        while len(mapping.agents()) < 16:
            pass
        gate.set()
        for change in changes:
            change.result()
    assert len(on_disk(path)) == 16
    assert len(writes) < 16


def test_a_change_instead_of_another_session(tmp_path):
    mapping = LastSessions(tmp_path / "m.json")
    mapping.set("a", "cli-1")
    mapping.set("a", "cli-2", "cli-9")
    assert mapping.view.get("a") == "cli-1"
    mapping.set("a", "cli-2", "cli-1")
    assert mapping.view.get("a") == "cli-2"
    mapping.set("a", None, "cli-2")
    assert mapping.agents() == {}
    assert json.loads((tmp_path / "m.json").read_bytes()) == {}


def test_a_file_that_another_program_wrote_is_noticed_and_written_again(tmp_path):
    path = tmp_path / "m.json"
    mapping = LastSessions(path)
    assert mapping.is_written()
    mapping.set("a", "cli-1")
    assert mapping.is_written()
    for junk in (b"", b"{}", b'{"a":"cli-2"}', b"\xff"):
        path.write_bytes(junk)
        assert not mapping.is_written()
        mapping.write_anew()
        assert mapping.is_written()
    path.unlink()
    assert not mapping.is_written()


# --- the order of uses ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 50))))
def test_uses_are_numbered_in_order_whatever_the_clock_does(uses):
    order, before, latest = UseOrder(), None, 0
    for session_id, now in uses:
        use = order.next(session_id, now)
        assert use >= now
        assert use > latest or (use == latest and session_id == before)
        before, latest = session_id, use


def test_with_a_clock_that_advances_a_use_is_its_time():
    order = UseOrder()
    order.see(5)
    assert [order.next("a", 10), order.next("b", 11), order.next("b", 11)] == [10, 11, 11]


def test_a_folder_in_its_place_is_set_aside(tmp_path):
    path = tmp_path / "agent_sessions.json"
    last = LastSessions(path)
    last.set("a", "cli-1")
    path.unlink()
    path.mkdir()
    (path / "inside").touch()
    last.set("a", "cli-2")
    assert json.loads(path.read_bytes()) == {"a": "cli-2"}
    (aside,) = tmp_path.glob("agent_sessions.json.damaged-*")
    assert (aside / "inside").exists()


def test_what_is_being_rebuilt_and_so_not_written_is_no_change_of_another_program(path):
    last = LastSessions(path)
    last.begin_rebuilding({"ada": "cli-1"})
    assert last.is_written()
    last.complete({"ada": "cli-1"})
    assert last.is_written()
    path.unlink()
    assert not last.is_written()

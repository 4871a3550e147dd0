"""The kept originals: restored to where the tool looks for them, and read again."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import llm_database
from peers.capturing import captured, eventually, texts
from peers.claude_code import Transcript
from peers.originals import as_a_file, kept, kept_bytes, original_of_claude

from port42_daemon import durable
from port42_daemon.databases import zstandard
from port42_daemon.transfer.capture import original_rows
from port42_daemon.transfer.capture.original_rows import Damaged, Original
from port42_daemon.transfer.capture.reading import Rewritten


def test_an_original_is_restored_where_its_tool_looks_for_it(capturing, transcript):
    for number in range(3):
        transcript.user(f"message {number}")
        session = captured(capturing, *(f"message {n}" for n in range(number + 1)))
    data = transcript.path.read_bytes()
    session_id = session["session_id"]
    with pytest.raises(pytest.RpcFailed, match="force"):
        capturing.call("restore_original", session_id=session_id)
    shutil.rmtree(transcript.path.parent)
    restored = capturing.call("restore_original", session_id=session_id, agent="claude")
    assert (restored["path"], restored["bytes"]) == (str(transcript.path), len(data))
    assert restored["resume"] == ["claude", "--resume", transcript.id]
    assert transcript.path.read_bytes() == data
    transcript.path.write_bytes(b"other")
    capturing.call("restore_original", session_id=session_id, force=True)
    assert transcript.path.read_bytes() == data
    transcript.path.unlink()
    transcript.path.mkdir()
    for force in (False, True):
        with pytest.raises(pytest.RpcFailed, match="a folder is in its place"):
            capturing.call("restore_original", session_id=session_id, force=force)
    transcript.path.rmdir()
    capturing.call("restore_original", session_id=session_id)
    transcript.user("after")
    captured(capturing, "message 0", "message 1", "message 2", "after")
    for path in capturing.home.glob("originals.db*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_session_without_an_original(capturing):
    session_id = capturing.call("create_session", agent="claude")["session_id"]
    with pytest.raises(pytest.RpcFailed, match="a captured session whose original is kept"):
        capturing.call("restore_original", session_id=session_id)


def test_an_earlier_generation_of_a_file_that_was_written_anew(capturing, transcript):
    for text in ("one", "two", "three"):
        transcript.user(text)
    session = captured(capturing, "one", "two", "three")["session_id"]
    first = transcript.path.read_bytes()
    eventually(lambda: kept_bytes(capturing) == len(first))
    transcript.path.write_bytes(first.splitlines(keepends=True)[0])
    transcript.user("four")
    captured(capturing, "one", "two", "three", "four")
    eventually(lambda: len(kept(capturing)) == 2)
    second = transcript.path.read_bytes()
    capturing.call("set_capture", name="claude", on=False)  # or what is restored may be a third one
    for generation, data in ((None, second), (1, first), (2, second)):
        params = {"generation": generation} if generation else {}
        restored = capturing.call("restore_original", session_id=session, force=True, **params)
        assert (restored["generation"], restored["generations"]) == (generation or 2, 2)
        assert transcript.path.read_bytes() == data
    with pytest.raises(pytest.RpcFailed) as refused:
        capturing.call("restore_original", session_id=session, force=True, generation=3)
    assert refused.value.data["field"] == "generation"
    assert "1 to 2" in refused.value.data["expected"]


def test_a_source_that_is_written_anew_while_it_is_kept_leaves_what_was_kept_before(originals):
    def rewritten():
        yield b"two"
        raise Rewritten

    original = originals.begin(original_of_claude())
    kept = originals.add(original, [b"one"], 0)
    another = originals.begin(original_of_claude("/x/two.jsonl"))
    with originals.changes():  # in which others are kept, too
        for each, size in ((original, kept), (another, 0)):
            with pytest.raises(Rewritten):
                originals.add(each, rewritten(), size)
    assert b"".join(originals.data(original)) == b"one"
    assert originals.all() == [original]
    assert originals.damaged(5) == []


def test_an_original_goes_with_its_session_if_the_tool_has_no_file(capturing, folder, transcript):
    transcript.user("one")
    first = captured(capturing, "one")["session_id"]
    other = Transcript(folder, "/home/ada/other")
    other.user("another")
    second = captured(capturing, "another")["session_id"]
    eventually(lambda: len(kept(capturing)) == 2)
    sizes = {original.size for original, _ in kept(capturing)}
    transcript.path.unlink()
    for session_id in (first, second):
        capturing.call("delete_session", session_id=session_id)
    preview = capturing.call("prune_sessions", trash_older_than_days=0)
    assert (len(preview["deleted"]), preview["original_bytes"] in sizes) == (2, True)
    assert len(kept(capturing)) == 2
    done = capturing.call("prune_sessions", trash_older_than_days=0, dry_run=False)
    assert done["original_bytes"] == preview["original_bytes"]
    [(left, _)] = kept(capturing)
    assert left.path == str(other.path)


@pytest.mark.parametrize("beside", [False, True])
def test_the_originals_of_an_earlier_version_are_taken_in_and_go_on(originals, tmp_path, beside):
    one = original_of_claude()
    kept = as_a_file(tmp_path, one, zlib.compress(b"one"), beside=beside)
    with (tmp_path / "originals" / "claude" / "0123456789abcdef-1.z").open("ab") as file:
        file.write(zlib.compress(b"what capture.db does not know, by a crash"))
    [taken] = originals.all()
    assert (taken.path, taken.sessions, taken.generation) == (one.path, one.sessions, 1)
    assert not (tmp_path / "originals").exists()
    originals.add(taken, [b" two"], kept)
    assert b"".join(originals.data(taken)) == b"one two"
    # A version that knows nothing of the database may have gone on, and the same may be there after a crash.
    for data, count in ((b"one", 2), (b"three", 3)):
        as_a_file(tmp_path, one, zlib.compress(data), beside=beside)
        originals.close()
        for _ in range(2):
            assert len(originals.all()) == count
            originals.close()
    assert [b"".join(originals.data(each)) for each in originals.all()] == [b"one two", b"one", b"three"]


def test_others_get_in_between_while_many_are_taken_in(originals, tmp_path, monkeypatch):
    known = originals.begin(original_of_claude("/x/known.jsonl"))
    originals.add(known, [b"known"], 0)
    originals.close()
    for number in range(250):
        as_a_file(
            tmp_path,
            original_of_claude(f"/x/{number}.jsonl"),
            zlib.compress(b"%d" % number),
            name=f"{number:016x}",
        )
    remove, seen = durable.remove, []

    def remove_and_look(paths):
        with ThreadPoolExecutor(1) as other:
            seen.append(other.submit(lambda: b"".join(originals.data(known))).result(timeout=20))
        remove(paths)

    monkeypatch.setattr(durable, "remove", remove_and_look)
    assert [originals.take_in_some() for _ in range(2)] == [True, True]
    assert len(list(tmp_path.glob("originals/claude/*.z"))) == 50
    # Who looks for one gets it, whether it is taken in already or not.
    assert originals.find("claude", "/x/249.jsonl", 0).generation == 1
    assert seen == [b"known"] * 3
    assert [len(originals.all()), originals.take_in_some()] == [251, False]
    assert not (tmp_path / "originals").exists()


def test_a_daemon_takes_in_what_an_earlier_version_kept_before_it_is_needed(daemon):
    daemon.stop()
    for number in range(250):
        as_a_file(
            daemon.home,
            original_of_claude(f"/x/{number}.jsonl"),
            zlib.compress(b"one"),
            name=f"{number:016x}",
        )
    daemon.start()
    daemon.call("get_capture")
    eventually(lambda: not (daemon.home / "originals").exists())
    assert len(kept(daemon)) == 250


def test_what_was_taken_in_before_a_crash_is_not_taken_in_twice(originals, tmp_path):
    as_a_file(tmp_path, original_of_claude(), zlib.compress(b"one"))
    shutil.copytree(tmp_path / "originals", tmp_path / "as before")
    first = originals.all()
    originals.close()
    (tmp_path / "as before").rename(tmp_path / "originals")
    assert originals.all() == first
    assert not (tmp_path / "originals").exists()


def test_what_an_earlier_version_kept_is_not_called_damaged_before_it_is_taken_in(originals, tmp_path):
    as_a_file(tmp_path, original_of_claude(), zlib.compress(b"one"))
    assert originals.damaged(5) == []
    assert not (tmp_path / "originals").exists()


def test_a_file_among_the_originals_that_nothing_describes_stays_and_is_named(originals, tmp_path):
    file = tmp_path / "originals" / "claude" / "0123456789abcdef-1.z"
    file.parent.mkdir(parents=True)
    file.write_bytes(zlib.compress(b"one"))
    assert originals.all() == []
    assert file.exists()
    assert originals.damaged(5) == [file.name]


def test_long_originals_are_kept_in_rows_and_end_where_they_are_said_to(originals):
    noise = [os.urandom(50_000) for _ in range(10)]
    original = originals.begin(original_of_claude())
    first = originals.add(original, noise[:5], 0)
    originals.add(original, noise[5:], first)
    assert b"".join(originals.data(original)) == b"".join(noise)
    originals.add(original, [b"other"], first)  # the second part was no one's, by a crash
    assert b"".join(originals.data(original)) == b"".join([*noise[:5], b"other"])
    assert originals.size(original) == originals.all()[0].size < 270_000
    document = Original("gemini", "/x/one.json", "2026-01-01T00:00:00.000Z")
    originals.keep(document, b"".join(noise))
    assert b"".join(originals.data(document)) == b"".join(noise)
    with originals.changes() as database:
        assert database.execute("SELECT max(length(data)) FROM parts").fetchone()[0] < 200_000


def test_what_is_discarded_is_gone_from_the_disk(originals, tmp_path):
    secret = os.urandom(1_000_000)
    original = originals.begin(original_of_claude(str(tmp_path / "gone.jsonl")))
    original.sessions = {"claude-1": "1", "claude-2": "2"}
    size = originals.add(original, [secret], 0)
    assert originals.discard(["claude-1"], dry_run=False) == 0
    assert originals.discard(["claude-1", "claude-2"], dry_run=True) == size
    assert originals.all() == [original]
    assert originals.discard(["claude-1", "claude-2"], dry_run=False) == size
    assert originals.all() == []
    assert sum(path.stat().st_size for path in tmp_path.glob("originals.db*")) < 100_000


def test_what_is_not_discarded_because_of_another_session_or_the_tools_file_is_so_later(originals, tmp_path):
    path = tmp_path / "there.jsonl"
    path.touch()
    original = originals.begin(original_of_claude(str(path)))
    original.sessions = {"claude-1": "1", "claude-2": "2"}
    size = originals.add(original, [b"one"], 0)
    here = {"claude-2"}
    gone = lambda each: each not in here  # noqa: E731  # as the store says it
    assert originals.discard(["claude-1"], dry_run=False, is_gone=gone) == 0
    here.clear()
    assert originals.discard(["claude-2"], dry_run=False, is_gone=gone) == 0
    path.unlink()
    assert originals.discard([], dry_run=True, is_gone=gone) == size
    assert originals.discard([], dry_run=False, is_gone=gone) == size
    assert originals.all() == []


def test_what_could_not_be_discarded_is_so_after_a_restart(originals, tmp_path, monkeypatch):
    sizes = {}
    for number in "12":
        one = Original("claude", str(tmp_path / number), "2026-01-01T00:00:00.000Z", sessions={number: "x"})
        sizes[number] = originals.add(originals.begin(one), [number.encode() * 99], 0)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    for number in "12":
        with monkeypatch.context() as patch:
            patch.setattr(original_rows, "delete", full)
            with pytest.raises(OSError, match="full"):
                originals.discard([number], dry_run=False)
    assert len(originals.all()) == 2
    originals.close()
    # One of the sessions is here again.
    assert originals.discard([], dry_run=True, is_gone="1".__eq__) == sizes["1"]
    assert originals.discard([], dry_run=False, is_gone="1".__eq__) == sizes["1"]
    assert [each.sessions for each in originals.all()] == [{"2": "x"}]
    assert originals.discard([], dry_run=False, is_gone=lambda _: True) == 0
    assert len(originals.all()) == 1


def test_a_database_that_is_damaged_is_set_aside_and_another_one_begun(originals, tmp_path):
    (tmp_path / "originals.db").write_bytes(b"no database" * 1000)
    original = originals.begin(original_of_claude())
    originals.add(original, [b"one"], 0)
    assert originals.all() == [original]
    [aside] = tmp_path.glob("originals.db.damaged-*")
    assert aside.read_bytes() == b"no database" * 1000


def test_a_database_that_is_removed_is_begun_again(originals, tmp_path):
    original = originals.begin(original_of_claude())
    originals.add(original, [b"one"], 0)
    for path in tmp_path.glob("originals.db*"):
        path.unlink()
    assert originals.size(original) == 0
    another = originals.begin(original_of_claude("/x/two.jsonl"))
    originals.add(another, [b"two"], 0)
    assert (originals.all(), originals.size(original)) == ([another], 0)


def test_on_a_full_disk_nothing_is_lost_of_what_is_kept(originals):
    original = originals.begin(original_of_claude())
    size = originals.add(original, [b"one"], 0)
    with originals.changes() as database:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(OSError, match="full") as refused:
        originals.add(original, [os.urandom(1_000_000)], size)
    assert refused.value.errno == errno.ENOSPC
    database.execute("PRAGMA max_page_count = 1000000")
    assert [b"".join(originals.data(each)) for each in originals.all()] == [b"one"]
    originals.add(original, [b" two"], size)
    assert b"".join(originals.data(original)) == b"one two"


def test_what_fails_of_the_originals_is_an_error_that_says_so(capturing, transcript):
    transcript.user("one")
    session_id = captured(capturing, "one")["session_id"]
    eventually(lambda: kept(capturing))
    shutil.rmtree(transcript.path.parent)
    capturing.call("delete_session", session_id=session_id)
    capturing.stop()
    for path in capturing.home.glob("originals.db*"):
        path.unlink()
    (capturing.home / "originals.db").mkdir()
    capturing.start()
    for method, params in (
        ("restore_original", {"session_id": capturing.call("create_session", agent="x")["session_id"]}),
        ("import_sessions", {"again": True}),
        ("prune_sessions", {"trash_older_than_days": 0, "dry_run": False}),
    ):
        with pytest.raises(pytest.RpcFailed, match=r"originals\.db: unable to open") as refused:
            capturing.call(method, **params)
        assert refused.value.data["kind"] == "storage_failed"


def long_ago(path):
    """What has not changed for half a minute is kept."""
    os.utime(path, (time.time() - 60,) * 2)


def without_a_reply(daemon, session_id):
    """Take a reply out of the stored session, as a reader that does not know it would have left it."""
    file = daemon.home / "sessions" / f"{session_id}.json"
    *lines, footer = file.read_bytes().splitlines(keepends=True)
    at = max(number for number, line in enumerate(lines) if b'"role":"assistant"' in line)
    file.write_bytes(b"".join([*lines[:at], *lines[at + 1 :], footer]))


def test_conversations_of_a_database_can_be_read_again_when_it_is_gone(daemon, tmp_path):
    path = tmp_path / "llm" / "logs.db"
    path.parent.mkdir()
    llm_database.old(path, {"c1": [("one", "eins"), ("two", "zwei")], "c2": [("three", "drei")]})
    long_ago(path)
    daemon.call("set_capture", name="llm", on=True, path=str(path.parent))
    session_id = captured(daemon, "be brief", "one", "eins", "two", "zwei", agent="llm")["session_id"]
    eventually(lambda: len(kept(daemon)) == 2)
    eventually(lambda: daemon.call("get_capture")["tools"][6]["original_bytes"] > 0)
    with pytest.raises(pytest.RpcFailed, match="in one database"):
        daemon.call("restore_original", session_id=session_id)
    path.unlink()
    assert daemon.call("import_sessions", again=True)["unchanged"] == 2
    without_a_reply(daemon, session_id)
    (rewritten,) = daemon.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    assert texts(daemon, session_id) == ["be brief", "one", "eins", "two", "zwei"]
    # With a session that is deleted for good its rows go, too.
    daemon.call("delete_session", session_id=session_id)
    daemon.call("prune_sessions", trash_older_than_days=0, dry_run=False)
    assert len(kept(daemon)) == 1


def test_a_file_that_is_written_whole_is_kept_as_it_is_and_as_it_was_before_it_got_shorter(daemon, tmp_path):
    path = tmp_path / "sessions" / "chat.yaml"
    path.parent.mkdir()
    words = [
        "model: m\nmessages:\n",
        "- role: user\n  content: sail\n",
        "- role: assistant\n  content: aye\n",
    ]
    path.write_text("".join(words[:2]))
    long_ago(path)
    daemon.call("set_capture", name="aichat", on=True, path=str(path.parent))
    session_id = captured(daemon, "sail", agent="aichat")["session_id"]
    eventually(lambda: len(kept(daemon)) == 1)
    path.write_text("".join(words))
    long_ago(path)
    captured(daemon, "sail", "aye", agent="aichat")
    whole = path.read_bytes()

    eventually(lambda: kept_bytes(daemon) == len(whole))
    path.unlink()
    restored = daemon.call("restore_original", session_id=session_id)
    assert (restored["generations"], path.read_bytes()) == (1, whole)
    path.unlink()
    without_a_reply(daemon, session_id)
    (rewritten,) = daemon.call("import_sessions", again=True)["imported"]
    assert (rewritten["change"], texts(daemon, session_id)) == ("rewritten", ["sail", "aye"])
    path.write_text("".join(words[::2]))
    long_ago(path)
    eventually(lambda: len(kept(daemon)) == 2)
    assert daemon.call("restore_original", session_id=session_id, generation=1, force=True)["bytes"] == len(
        whole
    )
    assert path.read_bytes() == whole


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=500),
        st.tuples(st.just("zeros"), st.integers(1, 3_000_000)),
        st.tuples(st.just("noise"), st.integers(1, 20_000)),
    ),
    max_size=4,
)


def made(piece):
    match piece:
        case "zeros", size:
            return bytes(size)
        case "noise", size:
            return random.Random(size).randbytes(size)
    return piece


@given(PIECES, PIECES, st.booleans(), st.integers(1, 70_000))
def test_streams_of_either_kind_in_rows_of_any_size_are_what_was_compressed(first, second, old, size):
    first, second = [made(piece) for piece in first], [made(piece) for piece in second]
    data = b"".join(zlib.compress(piece) if old else zstandard().compress(piece) for piece in first)
    rows = [data[at : at + size] for at in range(0, len(data), size)]
    # What an earlier version began is gone on with by this one.
    rows += [zstandard().compress(piece) for piece in second]
    pieces = list(original_rows.decompressed(rows))
    assert b"".join(pieces) == b"".join(first + second)
    assert all(len(piece) <= 1024 * 1024 for piece in pieces)
    if rows:
        with pytest.raises(Damaged):
            list(original_rows.decompressed([*rows[:-1], rows[-1][:-1]]))


@pytest.mark.parametrize("lost", ["first", "middle", "last"])
def test_a_lost_row_of_an_original_is_noticed(originals, lost):
    original = originals.begin(original_of_claude())
    size = 0
    for part in (b"one", b"two", b"three"):
        size = originals.add(original, [part], size)
    with originals.changes() as database:
        rows = [begins for (begins,) in database.execute("SELECT begins FROM parts ORDER BY begins")]
        at = rows[["first", "middle", "last"].index(lost)]
        database.execute("DELETE FROM parts WHERE begins = ?", (at,))
    with pytest.raises(Damaged):
        list(originals.data(original))


def test_a_changed_byte_of_an_original_is_noticed(originals):
    original = originals.begin(original_of_claude())
    originals.add(original, [b"a word of a person"], 0)
    [row] = originals._parts(original)
    noticed = 0
    for at in range(len(row)):
        try:
            data = b"".join(original_rows.decompressed([row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]]))
        except Damaged:
            noticed += 1
        else:
            assert data == b"a word of a person", at  # a bit that means nothing
    assert noticed > 20

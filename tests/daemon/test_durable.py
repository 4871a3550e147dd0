"""Whole or not at all, on the disk before it returns, and nobody else's to read."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from port42_daemon import durable


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def any_umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_folder_is_made_ours_alone(tmp_path, any_umask):
    durable.own_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "a" / "b").chmod(0o755)
    durable.own_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_temporary_files_have_a_folder_that_is_empty_at_first_and_gone_afterwards(tmp_path):
    for before in ("folder", "link", "fifo", "nothing"):
        folder, other = tmp_path / before, tmp_path / f"{before}-other"
        other.mkdir()
        (other / "kept").touch()
        if before == "folder":
            (folder / "left").mkdir(parents=True)
        elif before == "link":
            folder.symlink_to(other)
        elif before == "fifo":
            os.mkfifo(folder)
        with durable.temporary_files_in(folder):
            assert not list(folder.iterdir())
            assert mode(folder) == 0o700
            with tempfile.NamedTemporaryFile() as file:
                assert Path(file.name).parent == folder
        assert not folder.exists()
        assert (other / "kept").exists()
    assert tempfile.gettempdir() != os.fspath(folder)


def test_where_the_disk_takes_no_folder_temporary_files_are_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "own_folder", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with durable.temporary_files_in(tmp_path / "a"), tempfile.TemporaryFile():
        assert not (tmp_path / "a").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(durable.FolderRefused, match="a is not a folder"):
        durable.own_folder(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is another user's")
def test_another_users_folder_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(durable.FolderRefused, match=r"belongs to another user \(uid 65534\)"):
        durable.own_folder(tmp_path)


def test_replace_leaves_the_new_contents_and_nothing_else(tmp_path, any_umask):
    path = tmp_path / "file"
    for data in (b"one", b"", b"x" * 3_000_000, b"short"):
        durable.replace(path, data)
        assert path.read_bytes() == data
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert mode(path) == 0o600


def test_replace_writes_through_no_link_that_stands_in_its_way(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("os.urandom", bytes)
    (tmp_path / ".file.00000000.new").symlink_to(victim)
    with pytest.raises(FileExistsError):
        durable.replace(tmp_path / "file", b"x")
    assert victim.read_text() == "precious"


def test_only_a_file_of_the_expected_size_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert durable.read_file(path, 3_000_000) == b"x" * 3_000_000
    with pytest.raises(durable.NotReadable, match="has more than 2,999,999 bytes"):
        durable.read_file(path, 2_999_999)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(durable.NotReadable):
        durable.read_file(path, 1 << 20)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(durable.NotReadable, match="it is not a file"):
        durable.read_file(path, 1 << 20)
    with pytest.raises(FileNotFoundError):
        durable.read_file(tmp_path / "none", 1)


def test_what_a_folder_is_called_does_not_keep_leftovers(tmp_path):
    (tmp_path / ".folder.new").mkdir()
    (tmp_path / ".file.new").touch()
    durable.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".folder.new"]


def test_a_replace_that_fails_keeps_the_old_contents(tmp_path, monkeypatch):
    path = tmp_path / "file"
    durable.replace(path, b"old")
    monkeypatch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(5, "no")))
    monkeypatch.setattr("fcntl.fcntl", lambda *_: (_ for _ in ()).throw(OSError(5, "no")))
    with pytest.raises(OSError, match="no"):
        durable.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_tail_is_overwritten_and_put_back_when_the_disk_refuses(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"head|tail")
    with path.open("r+b") as file:
        durable.overwrite_tail(file.fileno(), 5, b"longer tail", b"tail")
        assert path.read_bytes() == b"head|longer tail"
        real = os.pwrite
        calls = iter([3, OSError(28, "full")])

        def some_of_it(descriptor: int, data: bytes, offset: int) -> int:
            what = next(calls, None)
            if isinstance(what, OSError):
                raise what
            return real(descriptor, bytes(data)[:what], offset)

        monkeypatch.setattr(os, "pwrite", some_of_it)
        with pytest.raises(OSError, match="full"):
            durable.overwrite_tail(file.fileno(), 5, b"X" * 1000, b"longer tail")
    assert path.read_bytes() == b"head|longer tail"


def test_leftovers_of_an_interrupted_replace_go_and_nothing_else(tmp_path):
    for name in (".a.json.new", ".b.new", "c.new", ".hidden", "d.json"):
        (tmp_path / name).touch()
    durable.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"c.new", ".hidden", "d.json"}

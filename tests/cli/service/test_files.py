"""The service's files: written whole, put back, never somebody else's."""

from __future__ import annotations

import pytest

from port42_cli.service import files
from port42_cli.service.supervisor import MARK
from port42_client.errors import Refused

OURS = f"# {MARK}\ntext\n"


def test_a_file_is_created_kept_changed_and_removed(tmp_path):
    path = tmp_path / "a" / "b" / "port42.service"
    (create,) = files.changes_to({path: OURS})
    assert (create.kind, create.foreign) == ("create", False)
    assert list(files.shown([create])) == [f"create {path}", f"    # {MARK}", "    text"]
    files.carry_out([create])
    assert path.read_text() == OURS
    assert path.stat().st_mode & 0o777 == 0o644
    (keep,) = files.changes_to({path: OURS})
    assert list(files.shown([keep])) == [f"keep {path}"]
    (change,) = files.changes_to({path: OURS.replace("text", "new")})
    assert [line for line in files.shown([change]) if line.startswith("    -")] == ["    -text"]
    files.carry_out([change])
    assert files.put_back([change]) == []
    assert path.read_text() == OURS
    (remove,) = files.changes_to({path: None})
    files.carry_out([remove])
    assert list(path.parent.iterdir()) == []


def test_what_was_written_before_a_failure_is_undone(tmp_path):
    first, beneath = tmp_path / "first", tmp_path / "file" / "second"
    beneath.parent.write_text("")
    changes = [files.Change(first, None, OURS), files.Change(beneath, None, OURS)]
    with pytest.raises(Refused, match=r"cannot write .*/file/second: .*; nothing was changed"):
        files.carry_out(changes)
    assert not first.exists()


def test_what_cannot_be_put_back_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    beneath = tmp_path / "file" / "second"
    assert files.put_back([files.Change(beneath, "was", None)]) == [beneath]


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(Refused, match="cannot read"):
        files.changes_to({tmp_path: None})


def test_a_file_of_others_and_a_link_are_foreign_and_keep_their_bytes(tmp_path):
    path, link = tmp_path / "theirs", tmp_path / "link"
    path.write_bytes(b"caf\xe9\n")
    (theirs,) = files.changes_to({path: OURS})
    assert theirs.foreign
    files.carry_out([theirs])
    link.symlink_to(path)
    assert files.changes_to({link: None})[0].foreign, "a link to our own file is not ours"
    files.put_back([theirs])
    assert path.read_bytes() == b"caf\xe9\n"

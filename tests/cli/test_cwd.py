"""The folder a command is typed in, also where it has no name that a session could keep."""

from __future__ import annotations

import os

import pytest

from port42_cli import cwd
from port42_client.errors import BadInput


def test_an_ordinary_folder_is_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cwd.sendable() == cwd.here(None) == str(tmp_path)


@pytest.mark.parametrize("name", ["two\nlines", os.fsdecode(b"caf\xe9")])
def test_a_name_that_is_not_a_line_of_text_is_not_sent(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert cwd.sendable() is None
    with pytest.raises(BadInput, match="--here: expected a folder that still exists"):
        cwd.here(None)


def test_a_deleted_folder_is_not_sent(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cwd.sendable() is None

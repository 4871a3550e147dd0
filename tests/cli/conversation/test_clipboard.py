"""What puts a text on the clipboard, by the surroundings."""

from __future__ import annotations

import base64
import shutil

import pytest

from port42_cli import streams
from port42_cli.conversation import clipboard
from port42_client.errors import Refused

CAT = shutil.which("cat")


@pytest.fixture
def program(tmp_path):
    """Makes programs that keep what they are given, in files of their names and ".copied"."""

    def make(name, code=0):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{CAT} > {path}.copied\nexit {code}\n")
        path.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("name", "around"),
    [
        ("tmux", {"TMUX": "/tmp/tmux", "SSH_CONNECTION": "here there", "DISPLAY": ":0"}),
        ("wl-copy", {"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}),
        ("xclip", {"DISPLAY": ":0"}),
        ("xsel", {"DISPLAY": ":0"}),
    ],
)
def test_the_program_of_the_surroundings_gets_the_text(program, tmp_path, monkeypatch, name, around):
    monkeypatch.setattr(clipboard.sys, "platform", "linux")
    program(name)
    done = clipboard.copy("größer\n", {"PATH": str(tmp_path), **around})
    assert done == f"Copied 7 characters with {name}."
    assert (tmp_path / f"{name}.copied").read_text() == "größer\n"


@pytest.mark.parametrize("around", [{}, {"SSH_CONNECTION": "here there"}])
def test_where_no_program_can_the_terminal_is_asked(program, tmp_path, monkeypatch, capsys, around):
    program("xclip", code=1)
    monkeypatch.setattr(streams, "can_draw", lambda: True)
    done = clipboard.copy("größer", {"PATH": str(tmp_path), "DISPLAY": ":0", **around})
    assert "6 characters" in done
    assert "OSC 52" in done
    sent = capsys.readouterr().out
    assert sent.startswith("\x1b]52;c;")
    assert sent.endswith("\x07")
    assert base64.b64decode(sent[7:-1]).decode() == "größer"
    assert (tmp_path / "xclip.copied").exists() is not bool(around)


def test_without_any_way_it_is_refused(tmp_path):
    with pytest.raises(Refused, match="expected wl-copy, xclip"):
        clipboard.copy("x", {"PATH": str(tmp_path)})

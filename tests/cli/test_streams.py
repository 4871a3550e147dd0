"""Which stream words go to, and what a terminal gets instead of what a pipe gets."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC

import pytest

from port42_cli import streams
from port42_client.errors import DaemonError, NoDaemon


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_lines_go_to_stdout_as_they_are(capsys):
    streams.lines(["a\x1b[31m", "b"])
    assert capsys.readouterr() == ("a\x1b[31m\nb\n", "")


def test_piped_json_is_one_exact_line(capsys):
    streams.as_json({"title": "Grüße\x1b\x9b\n"})
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "Grüße" in out
    assert json.loads(out) == {"title": "Grüße\x1b\x9b\n"}
    assert err == ""


def test_json_on_a_terminal_is_laid_out_harmless_and_the_same_value():
    value = {"title": "\x1b[2J\x9b31m\x7f\u202eGrüße"}
    screen = Terminal()
    streams.as_json(value, to=screen)
    shown = screen.getvalue()
    assert shown.count("\n") == 3
    assert not set("\x1b\x9b\x7f\u202e") & set(shown)
    assert json.loads(shown) == value


def test_json_for_a_stream_without_utf8_is_escaped():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    streams.as_json("Grüße", to=stream)
    stream.seek(0)
    assert stream.read() == '"Gr\\u00fc\\u00dfe"\n'


def test_a_log_is_exact_in_a_pipe_and_harmless_on_a_terminal(capsys, monkeypatch):
    streams.raw_lines([b"a\x1b[31m\n", b"no end \xff"])
    assert capsys.readouterr().out == "a\x1b[31m\nno end \ufffd"
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    streams.raw_lines([b"a\x1b[31m\n"])
    assert screen.getvalue() == "a␛[31m\n"


def test_banners_and_notices_go_to_stderr_harmless(capsys):
    streams.banner("🔄 a\x1b[31m", "two")
    streams.notice("b\x07")
    assert capsys.readouterr() == ("", "🔄 a␛[31m\ntwo\nb␇\n")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_notices_are_dim_on_a_terminal_unless_no_color(monkeypatch, no_color, coloured):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    monkeypatch.setenv("NO_COLOR", no_color)
    streams.notice("quiet")
    assert ("\x1b[2m" in screen.getvalue()) is coloured


def test_a_failure_says_error_once_and_what_to_do_below(capsys):
    streams.failure(NoDaemon("gone"))
    details = {"kind": "unknown_agent", "agent": "x", "suggestions": []}
    streams.failure(DaemonError(1006, "unknown agent x", details))
    assert capsys.readouterr().err.splitlines() == [
        "Error: gone",
        "Error: unknown agent @x",
        "  To make it known: port42 agents add x",
    ]


def test_now_is_in_utc():
    assert streams.now().tzinfo is UTC

"""`port42 status`: the daemon's own facts, for programs, pipes and people."""

from __future__ import annotations

import os

from port42_protocol.version import __version__


def test_json_has_what_a_script_needs(port42):
    port42.begin("@ai-muse", "hi")
    facts = port42.json("status", "--json")
    assert facts["version"] == __version__
    assert facts["socket"] == os.environ["PORT42_SOCKET"]
    assert facts["sessions"] == 1
    os.kill(facts["pid"], 0)


def test_piped_it_is_a_line_for_each_fact(port42, home):
    lines = port42("status").stdout.splitlines()
    assert lines[0] == f"version: {__version__}"
    assert f"home: {home}" in lines
    assert "sessions: 0" in lines


def test_on_a_terminal_it_is_laid_out(port42, terminal):
    screen = terminal("status", TERM="dumb")
    screen.expect(rf"port42d +{__version__}, pid \d+, up ")
    screen.expect("socket")

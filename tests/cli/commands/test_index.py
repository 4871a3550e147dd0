"""`port42 index`: how far it has come, and making it anew."""

from __future__ import annotations


def test_how_it_stands_and_made_anew(port42, terminal):
    port42.begin("@ai-muse", "an ode")
    before = port42.json("index", "--json")
    assert (before["sessions"], before["messages"], before["records_behind"]) == (1, 1, 0)
    lines = port42("index", "rebuild").stdout.splitlines()
    assert lines[:2] == ["complete: yes", "sessions: 1 (0 still to be read)"]
    assert port42.json("index", "rebuild", "--json")["complete"] is True
    assert port42("search", "ode").stdout.endswith(":1: an ode\n")
    screen = terminal("index", "rebuild", TERM="xterm")
    screen.expect("reading records")
    screen.expect("complete: yes")
    assert port42("index", "--json", "rebuild").returncode == 2

"""`port42 trash`: what could be restored."""

from __future__ import annotations


def test_the_list(port42, terminal):
    assert port42("trash").stderr == "The trash is empty.\n"
    mine, theirs = port42.begin("@ai-muse", "mine"), port42.begin("@ai-engineer", "theirs")
    port42("rm", "-y", mine, theirs)
    rows = [line.split("\t") for line in port42("trash").stdout.splitlines()]
    assert [row[:3] for row in rows] == [[theirs, "ai-engineer", "1"], [mine, "ai-muse", "1"]]
    assert [one["session_id"] for one in port42.json("trash", "@ai-muse", "--json")["sessions"]] == [mine]
    screen = terminal("trash", TERM="dumb")
    screen.expect(r"ID +AGENT +TITLE +MESSAGES +DELETED\r\n")
    screen.expect(rf"{theirs} +@ai-engineer +theirs +1")

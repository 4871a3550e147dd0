"""`port42 tree`: indented lines in a pipe, a drawn tree on a terminal."""

from __future__ import annotations


def test_the_family(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    forked = port42.json("fork", begun, "--json")["session_id"]
    port42("rm", "-y", begun)
    assert port42("tree", forked).stdout == (f"{begun}\t\t\t(in the trash)\n  {forked}\t1\tai-muse\tan ode\n")
    assert [one["trashed"] for one in port42.json("tree", forked, "--json")["nodes"]] == [True, False]
    screen = terminal("tree", forked, TERM="dumb")
    screen.expect_exact(f"{begun}  in the trash")
    screen.expect(rf"└── {forked}  at 1  @ai-muse  an ode  1 message")

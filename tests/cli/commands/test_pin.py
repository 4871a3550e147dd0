"""`port42 pin`, `unpin`: kept in sight, and let go."""

from __future__ import annotations


def test_a_pinned_session_is_listed_as_such_until_it_is_let_go(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    port42.begin("@ai-muse", "another")
    assert port42("pin", "an ode").stdout == f"{begun}: pinned\n"
    (line,) = port42("sessions", "--pinned").stdout.splitlines()
    assert line.split("\t")[4:] == ["active pinned", "an ode"]
    screen = terminal("sessions", TERM="dumb")
    screen.expect_exact("📌 an ode")
    assert port42.json("unpin", begun, "--json")["pinned"] is False
    assert port42("sessions", "--pinned").stdout == ""
    assert port42("pin", "last").returncode == 2

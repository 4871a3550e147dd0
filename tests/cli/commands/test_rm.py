"""`port42 rm`: asks, moves, and has the agent go on with the session before."""

from __future__ import annotations


def test_after_the_last_one_the_one_before_goes_on_and_then_none(port42):
    one, two = port42.begin("@ai-muse", "one"), port42.begin("@ai-muse", "two")
    done = port42("rm", "-y", two)
    assert (done.returncode, done.stderr) == (
        0, f"In the trash. To bring it back: port42 restore {two}\n",
    )  # fmt: skip
    assert one in port42("possess", "@ai-muse", "--session", "last").stderr
    assert port42.json("rm", "-y", "last", "-a", "@ai-muse", "--json")[0]["last_session"] is None
    done = port42("possess", "@ai-muse", "--session", "last")
    assert (done.returncode, done.stderr) == (1, "No previous sessions found for @ai-muse\n")


def test_nothing_moves_unless_it_is_agreed_to_and_all_are_found(port42, terminal):
    begun = port42.begin("@ai-muse", "one")
    assert port42("rm", begun).returncode == 2
    assert port42("rm").returncode == 2
    assert port42("rm", "-y", begun, "nosuch").returncode == 1
    assert port42("rm", "--dry-run", begun).stdout.startswith(f"{begun}\tai-muse\t1\t")
    screen = terminal("rm", begun)
    screen.expect(r"Move 1 session to the trash\? \[y/N\]")
    screen.sendline("n")
    screen.expect_exact("Nothing was changed.")
    screen.wait()
    assert port42.json("trash", "--json")["sessions"] == []
    screen = terminal("rm", begun)
    screen.expect_exact("[y/N]")
    screen.sendline("y")
    screen.expect_exact(f"port42 restore {begun}")
    screen.wait()
    assert port42.json("trash", "--json")["sessions"][0]["session_id"] == begun

"""`port42 du`: exact for programs, readable for people."""

from __future__ import annotations


def test_json_has_exact_bytes_and_a_pipe_readable_ones(port42, home):
    session_id = port42.begin("@ai-muse", "x" * 3000)
    size = (home / "sessions" / f"{session_id}.json").stat().st_size
    assert port42.json("du", "--json")["agents"][0]["session_bytes"] == size
    lines = [line.split("\t") for line in port42("du").stdout.splitlines()]
    assert lines[0] == ["@ai-muse", "1", *[f"{size / 1024:.1f} KiB", "0 B", "0 B", f"{size / 1024:.1f} KiB"]]
    assert lines[1][0] == "index"
    assert lines[-1][0] == "total"
    assert port42("du", "@ai-muse").stdout.splitlines()[1:] == [f"total\t{size / 1024:.1f} KiB"]


def test_an_agent_that_nobody_knows(port42):
    done = port42("du", "@ai-nobody-at-all")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: unknown agent @ai-nobody-at-all")


def test_at_a_terminal_it_is_drawn(port42, terminal):
    port42.begin("@ai-muse", "hi")
    screen = terminal("du", TERM="dumb")
    screen.expect("AGENT +SESSIONS +SIZE +TOTAL")
    screen.expect("@ai-muse +1 .*█")
    screen.expect("total .* free on this disk")

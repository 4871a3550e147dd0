"""`port42 stats` and `du`: for programs, pipes and people."""

from __future__ import annotations

from datetime import UTC, datetime


def test_json_is_the_daemons_answer(port42):
    port42.begin("@ai-muse", "hi")
    statistics = port42.json("stats", "@ai-muse", "--days", "3", "--json")
    assert statistics["agents"][0]["user_messages"] == 1
    assert len(statistics["days"]) == 3


def test_piped_it_is_a_line_for_each_thing(port42):
    port42.begin("@ai-muse", "hi")
    port42.begin("@ai-analyst", "hi")
    lines = [line.split("\t") for line in port42("stats").stdout.splitlines()]
    assert [line[:5] for line in lines[:2]] == [
        ["@ai-analyst", "1", "1", "0", "0"],
        ["@ai-muse", "1", "1", "0", "0"],
    ]
    assert [line[0] for line in lines[2:]] == ["day", "hour"]
    assert lines[2][2] == "2"
    assert abs((datetime.fromisoformat(lines[2][1]).date() - datetime.now(UTC).date()).days) <= 1


def test_where_nothing_was_said(port42):
    done = port42("stats")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("No messages yet.")


def test_what_cannot_be(port42):
    assert port42("stats", "--days", "0").returncode == 2
    assert port42("stats", "@ai-nobody-at-all").returncode == 1
    assert port42("stats", "@a/b").returncode == 1


def test_at_a_terminal_it_is_drawn(port42, terminal):
    port42.begin("@ai-muse", "hi")
    screen = terminal("stats", TERM="dumb")
    screen.expect("AGENT +SESSIONS +MESSAGES")
    screen.expect("@ai-muse +1 +1")
    screen.expect("1 message since .*, at most 1 a day")
    screen.expect("Hours")


def test_du_as_json_has_exact_bytes_and_a_pipe_readable_ones(port42, home):
    session_id = port42.begin("@ai-muse", "x" * 3000)
    size = (home / "sessions" / f"{session_id}.json").stat().st_size
    assert port42.json("du", "--json")["agents"][0]["session_bytes"] == size
    lines = [line.split("\t") for line in port42("du").stdout.splitlines()]
    assert lines[0] == ["@ai-muse", "1", *[f"{size / 1024:.1f} KiB", "0 B", "0 B", f"{size / 1024:.1f} KiB"]]
    assert lines[1][0] == "index"
    assert lines[-1][0] == "total"
    assert port42("du", "@ai-muse").stdout.splitlines()[1:] == [f"total\t{size / 1024:.1f} KiB"]


def test_du_of_an_agent_that_nobody_knows(port42):
    done = port42("du", "@ai-nobody-at-all")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: unknown agent @ai-nobody-at-all")


def test_du_at_a_terminal_is_drawn(port42, terminal):
    port42.begin("@ai-muse", "hi")
    screen = terminal("du", TERM="dumb")
    screen.expect("AGENT +SESSIONS +SIZE +TOTAL")
    screen.expect("@ai-muse +1 .*█")
    screen.expect("total .* free on this disk")

"""`port42 rm`, `restore`, `trash`, `prune`: moved, listed, brought back, deleted for good."""

from __future__ import annotations

import json

import pytest


def test_after_the_last_one_the_one_before_goes_on_and_then_none(port42):
    first, second = port42.begin("@ai-muse", "one"), port42.begin("@ai-muse", "two")
    done = port42("rm", "-y", second)
    assert (done.returncode, done.stderr) == (
        0, f"In the trash. To bring it back: port42 restore {second}\n",
    )  # fmt: skip
    assert first in port42("possess", "@ai-muse", "--session", "last").stderr
    assert port42.json("rm", "-y", "last", "-a", "@ai-muse", "--json")[0]["last_session"] is None
    done = port42("possess", "@ai-muse", "--session", "last")
    assert (done.returncode, done.stderr) == (1, "No previous sessions found for @ai-muse\n")


def test_nothing_moves_unless_it_is_agreed_to_and_all_are_found(port42, terminal):
    begun = port42.begin("@ai-muse", "one")
    assert port42("rm", begun).returncode == 2
    assert port42("rm").returncode == 2
    assert port42("rm", "-y", begun, "nosuch").returncode == 1
    assert port42("rm", "--dry-run", begun).stdout.startswith(f"{begun}\tai-muse\t1\t")
    screen = terminal("rm", begun, TERM="dumb")
    screen.expect(r"ID +AGENT +TITLE +MESSAGES +LAST USED")
    screen.expect(rf"{begun}.*@ai-muse.*one")
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


def test_by_id_prefix_and_title(port42):
    begun = port42.begin("@ai-muse", "An Ode")
    for ref in (begun, begun[:-2], "an ode"):
        assert port42("rm", "-y", begun).returncode == 0
        assert port42("restore", ref).stderr.startswith(f"{begun} is back.\n")
    assert port42("possess", "@ai-muse", "-c").returncode == 0


def test_what_fits_none_or_several(port42):
    ids = [port42.begin("@ai-muse", "same") for _ in range(2)]
    port42("rm", "-y", *ids)
    assert port42("restore", "nosuch").stderr.startswith("Error: no session in the trash fits nosuch")
    several = port42("restore", "same")
    assert several.returncode == 1
    assert all(session_id in several.stderr for session_id in ids)


def test_the_list(port42, terminal):
    assert port42("trash").stderr == "The trash is empty.\n"
    mine, theirs = port42.begin("@ai-muse", "mine"), port42.begin("@ai-engineer", "theirs")
    port42("rm", "-y", mine, theirs)
    rows = [line.split("\t") for line in port42("trash").stdout.splitlines()]
    assert [row[:3] for row in rows] == [[theirs, "ai-engineer", "1"], [mine, "ai-muse", "1"]]
    assert [session["session_id"] for session in port42.json("trash", "@ai-muse", "--json")["sessions"]] == [
        mine
    ]
    screen = terminal("trash", TERM="dumb")
    screen.expect(r"ID +AGENT +TITLE +MESSAGES +DELETED\r\n")
    screen.expect(rf"{theirs} +@ai-engineer +theirs +1")


def test_it_shows_then_moves_then_deletes(port42, terminal):
    begun = port42.begin("@ai-muse", "old")
    shown = port42("prune", "--older-than", "0d", "--dry-run")
    assert shown.stdout.startswith(f"to the trash\t{begun}\tai-muse\t1\t")
    screen = terminal("prune", "--older-than", "0d", "--json", TERM="dumb")
    screen.expect_exact("To the trash:")
    screen.expect(rf"{begun} +@ai-muse +old")
    screen.sendline("n")
    screen.expect_exact("Nothing was changed.")
    assert port42("prune", "--older-than", "1", "-y").stderr == "There is nothing to prune.\n"
    done = port42("prune", "--older-than", "0", "-y")
    assert done.stderr.startswith("1 session moved to the trash, 0 sessions (0 bytes) deleted for good.")
    gone = port42.json("prune", "--trash-older-than", "0d", "-y", "--json")
    assert [session["session_id"] for session in gone["deleted"]] == [begun]
    assert port42("restore", begun).returncode == 1


def test_sub_agents_that_go_with_theirs_are_counted(port42, tmp_path):
    begun = port42.begin("@ai-muse", "old")
    exported = json.loads(port42("export", begun, "--format", "json").stdout)
    for number in range(2):
        child = {**exported, "id": f"child-{number}", "parent": {"session_id": begun, "seq": 1}}
        (tmp_path / f"{number}.json").write_text(json.dumps(child))
    port42("import", str(tmp_path))
    shown = port42("prune", "--older-than", "0d", "--dry-run")
    assert shown.stdout.splitlines()[-1] == "with 2 sessions of sub-agents"
    done = port42("prune", "--older-than", "0", "-y")
    assert done.stderr.startswith("1 session and 2 of sub-agents moved to the trash, 0 sessions")


@pytest.mark.parametrize("args", [[], ["--older-than", "90d"], ["--older-than", "x", "-y"], ["-y"]])
def test_usage(port42, args):
    assert port42("prune", *args).returncode == 2

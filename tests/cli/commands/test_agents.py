"""`port42 agents`: who there is, and `add`, which writes config.toml."""

from __future__ import annotations

import tomllib

import pytest


def test_piped_agents_are_a_line_each(port42):
    begun = port42.begin("@ai-muse", "hi")
    rows = [line.split("\t") for line in port42("agents").stdout.splitlines()]
    assert ["ai-muse", "none", "built-in", "1", begun] in rows
    assert ["ai-engineer", "none", "built-in", "0", ""] in rows


def test_a_terminal_gets_a_table(port42, terminal):
    screen = terminal("agents", TERM="dumb")
    screen.expect(r"AGENT +BACK END +SESSIONS +LAST SESSION +PERSONA")
    screen.expect(r"@ai-engineer +none +0 +– +You are")


def test_json_is_what_the_daemon_says(port42):
    assert port42.json("agents", "--json") == port42.json("rpc", "list_agents")


def test_an_agent_that_was_added_is_known_and_stays_in_the_config(port42, home):
    assert port42("possess", "@tester", "hi").returncode == 1
    done = port42("agents", "add", "@tester", "--system", 'You "test".')
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == '@tester is known now: port42 possess @tester "…"\n'
    assert tomllib.loads((home / "config.toml").read_text())["agents"]["tester"]["system"] == 'You "test".'
    assert port42("possess", "@tester", "hi").returncode == 0


def test_adding_as_json_gives_the_agent(port42):
    assert port42.json("agents", "add", "tester", "--json")["source"] == "config"


def test_a_name_no_agent_can_have_is_refused_and_nothing_written(port42, home):
    done = port42("agents", "add", "a b")
    assert done.returncode == 1
    assert "agent: expected an agent name" in done.stderr
    assert not (home / "config.toml").exists()


@pytest.mark.parametrize("typed", [["add"], ["--json", "add", "x"], ["nonsense"]])
def test_half_a_command_is_a_usage_error(port42, typed):
    assert port42("agents", *typed).returncode == 2


def test_a_config_that_is_not_in_force_is_told(port42, home):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text("[agents\n")
    done = port42("agents")
    assert done.returncode == 0
    assert "ai-muse" in done.stdout
    assert "config.toml is not in force as it stands" in done.stderr

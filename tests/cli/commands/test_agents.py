"""`port42 agents`: who there is, what answers for whom, and changing it in config.toml."""

from __future__ import annotations

import tomllib

import pytest
from peers.model_server import ModelServer, gives, refuses
from peers.talk import configure


@pytest.fixture
def answered(home):
    """`shout` shouts, and what `lost` names is not there."""
    configure(home, shout=["tr", "a-z", "A-Z"], lost=["port42-no-such-program"])


def test_piped_agents_are_a_line_each(port42):
    begun = port42.begin("@ai-muse", "hi")
    rows = [line.split("\t") for line in port42("agents").stdout.splitlines()]
    assert ["ai-muse", "none", "built-in", "1", begun, "none", "", "records only"] in rows
    assert ["ai-engineer", "none", "built-in", "0", "", "none", "", "records only"] in rows


def test_a_terminal_gets_a_table(port42, terminal):
    screen = terminal("agents", TERM="dumb")
    screen.expect(r"AGENT +BACK END +MODEL +STATE +SESSIONS +DETAIL")
    screen.expect(r"@ai-engineer +none +– +none +0 +records only")


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
    assert done.stderr.startswith("config.toml: not TOML: ")
    assert done.stderr.endswith("; it is not used until that is corrected\n")
    # It has not been valid since the daemon started, so there is no last valid version.
    assert "until then no agent answers" in port42("doctor").stdout


def test_the_state_of_each_is_told(port42, answered):
    rows = {row[0]: row for row in (line.split("\t") for line in port42("agents").stdout.splitlines())}
    assert rows["shout"][1:6] == ["shout", "config", "0", "", "ready"]
    assert rows["lost"][5] == "missing"
    assert "port42-no-such-program is not on the daemon's PATH" in rows["lost"][7]


def test_what_is_found_is_offered_and_not_switched_on(port42, home, tmp_path):
    program = tmp_path / "llm"
    program.write_text("#!/bin/sh\ncat\n")
    program.chmod(0o755)
    done = port42("agents", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    offer, typed = done.stderr.splitlines()
    assert offer.startswith("Found here and not connected: ")
    assert "llm" in offer
    assert typed.startswith("To connect one: port42 agents connect @ai-engineer ")
    assert not (home / "config.toml").exists()


def test_the_overview_offers_a_command_that_works_as_it_stands(port42, terminal, tmp_path):
    program = tmp_path / "llm"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho from the model\n")
    program.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    screen = terminal(PATH=path, TERM="dumb")
    screen.expect(r"port42 (agents connect @ai-engineer llm) +llm, the program")
    screen.expect(r'port42 (possess @ai-engineer) "…"')
    assert port42("agents", "connect", "@ai-engineer", "llm").stderr.startswith("@ai-engineer: llm · ready")
    assert port42("possess", "@ai-engineer", "hello").stdout == "from the model\n"
    assert "agents connect" not in port42().stdout


def test_what_can_be_connected_is_in_the_help_and_near_a_mistyped_name(port42):
    assert "\n  claude      Claude Code, with its own login\n" in port42("agents", "connect", "-h").stdout
    assert port42("agents", "connect", "@ai-muse", "claud").stderr.endswith(
        ", got claud: did you mean claude or claude-acp?\n"
    )


def test_connecting_writes_the_file_and_keeps_its_comments(port42, home, answered):
    config = home / "config.toml"
    config.write_text("# mine\n" + config.read_text())
    done = port42("agents", "connect", "@ai-muse", "shout")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("@ai-muse: shout · ready · ")
    assert config.read_text().startswith("# mine\n")
    assert port42("possess", "@ai-muse", "hello").stdout == "HELLO\n"


def test_connecting_with_a_model_as_json(port42, answered):
    agent = port42.json("agents", "connect", "shout", "shout", "--model", "loud", "--json")
    assert (agent["agent"], agent["backend"], agent["model"]) == ("shout", "shout", "loud")


def test_a_back_end_that_is_none_is_refused_with_those_there_are(port42, answered):
    done = port42("agents", "connect", "@ai-muse", "nonsense")
    assert done.returncode == 1
    assert "backend: expected one of shout, lost, " in done.stderr


def test_an_agent_is_shown_with_its_persona(port42, terminal):
    shown = port42("agents", "show", "@ai-muse").stdout.splitlines()
    assert shown[:3] == ["agent: ai-muse", "source: built-in", "backend: none"]
    assert shown[-1].startswith("persona: You are a muse.")
    assert port42.json("agents", "show", "ai-muse", "--json")["agent"] == "ai-muse"
    screen = terminal("agents", "show", "@ai-muse", TERM="dumb")
    screen.expect("back end +none: messages are recorded without a reply")
    screen.expect("persona +You are a muse")


@pytest.mark.parametrize(
    ("agent", "code", "words"),
    [
        ("shout", 0, "@shout: shout · ready · "),
        ("lost", 1, "@lost: lost · missing · port42-no-such-program is not on the daemon's PATH"),
        ("ai-muse", 0, "@ai-muse: none, messages are recorded without a reply"),
    ],
)
def test_a_test_ends_as_the_agent_is(port42, answered, agent, code, words):
    done = port42("agents", "test", agent)
    assert done.returncode == code
    assert done.stdout.startswith(words)
    assert port42("agents", "test", agent, "--json").returncode == code


def test_testing_nobody_is_refused(port42):
    done = port42("agents", "test", "@ai-muze")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Did you mean @ai-muse" in done.stderr


def test_removing_asks_first(port42, home, answered, terminal):
    before = (home / "config.toml").read_text()
    assert port42("agents", "remove", "@lost").returncode == 2
    terminal("agents", "remove", "@nobody").expect("unknown agent @nobody")
    screen = terminal("agents", "remove", "@lost")
    screen.expect(r"Remove @lost from config.toml\? \[y/N\]")
    screen.sendline("n")
    screen.expect("Nothing was changed")
    assert (home / "config.toml").read_text() == before
    done = port42("agents", "remove", "@lost", "-y")
    assert (done.returncode, done.stderr) == (0, "@lost is no longer in config.toml; its sessions stay.\n")
    assert "lost" not in tomllib.loads((home / "config.toml").read_text())["agents"]
    assert port42("agents", "remove", "@lost", "-y").returncode == 1


@pytest.fixture
def served(home):
    """`served` is answered by a model server with two models, and knows a third."""
    with ModelServer(
        refuses(404, {"error": {"message": "no such model"}}),
        lists=gives({"data": [{"id": "small-1"}, {"id": "large-1"}]}),
    ) as server:
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "config.toml").write_text(
            '[agents.served]\nbackend = "local"\n[backends.local]\ntype = "openai"\nmodel = "own"\n'
            f'base_url = "{server.url}/v1"\n'
        )
        yield server


def test_models_are_a_line_each(port42, served):
    done = port42("agents", "models", "@served")
    assert (done.returncode, done.stdout) == (0, "own\nsmall-1\nlarge-1\n")
    assert port42("agents", "models", "@ai-muse", "local").stdout == "own\nsmall-1\nlarge-1\n"
    answer = port42.json("agents", "models", "served", "--json")
    assert answer["models"] == ["own", "small-1", "large-1"]
    assert answer == port42.json("rpc", "list_models", "agent=served")


def test_no_models_are_an_exit_code_and_a_reason(port42):
    done = port42("agents", "models", "@ai-muse")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("none: no back end answers\n")


def test_a_wrong_model_is_answered_with_a_similar_one(port42, served):
    done = port42("possess", "@served", "--model", "small-2", "hello")
    assert done.returncode == 1
    assert "answers 404: no such model; did you mean small-1?" in done.stderr


def test_a_model_that_the_server_does_not_list_is_connected_and_warned_of(port42, served):
    done = port42("agents", "connect", "@ai-muse", "local", "--model", "small-2")
    assert done.returncode == 0
    assert "local does not list a model small-2; did you mean small-1?" in done.stderr
    assert port42.json("agents", "show", "@ai-muse", "--json")["model"] == "small-2"
    assert (
        "does not list" not in port42("agents", "connect", "@ai-muse", "local", "--model", "large-1").stderr
    )

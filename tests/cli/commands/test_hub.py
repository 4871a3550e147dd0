"""`port42 hub`, with a real PostgreSQL: its tables made, two machines joined, paused, left."""

from __future__ import annotations

import tomllib

import psycopg
import pytest
from peers.daemons import stop_daemon_of


@pytest.fixture
def server(port42, home):
    """Runs `port42` for another machine's home."""
    other = home.parent / "server"

    def run(*args):
        env = {"PORT42_HOME": str(other), "PORT42_SOCKET": str(home.parent / "server.sock")}
        return port42(*args, env=env)

    yield run
    stop_daemon_of(other)


def test_without_a_hub_it_says_how_to_begin(port42):
    done = port42("hub")
    assert (done.returncode, done.stdout) == (0, "state: off\n")
    assert "port42 hub init ADDRESS" in done.stderr


def test_a_second_machine_has_what_was_said_on_the_first(port42, server, hub_url):
    made = port42("hub", "init", hub_url)
    assert (made.returncode, made.stdout) == (0, "")
    assert "port42 hub join 'postgresql://OWNER@" in made.stderr
    assert "Join as the role whose sessions they are" in made.stderr
    assert "had its tables already" in port42("hub", "init", hub_url).stderr
    joined = port42("hub", "join", hub_url, "--machine", "laptop")
    assert joined.returncode == 0, joined.stderr
    assert "state: connected" in joined.stdout.splitlines()
    session_id = port42.begin("@echo", "build a parser")
    while port42.json("hub", "--json")["waiting"]:
        pass
    there = server("hub", "join", hub_url, "--machine", "server")
    assert "to pull: 0" in there.stdout.splitlines()
    names = [line.split("\t")[1] for line in there.stdout.splitlines() if line.startswith("machine\t")]
    assert sorted(names) == ["laptop", "server"]
    assert "build a parser" in server("show", session_id).stdout


def test_it_is_paused_resumed_and_left(port42, home, hub_url):
    port42("hub", "init", hub_url)
    assert port42("hub", "join", hub_url, "--agent", "@echo", "--folder", "/srv", "--redact").returncode == 0
    assert "redact = true" in (home / "config.toml").read_text()
    assert port42("hub", "pause").returncode == 0
    assert port42.json("hub", "--json")["state"] == "paused"
    assert port42("hub", "resume").returncode == 0
    assert port42.json("hub", "--json")["state"] in {"connecting", "connected"}
    refused = port42("hub", "leave")
    assert (refused.returncode, "expected -y" in refused.stderr) == (2, True)
    assert port42("hub", "leave", "-y").returncode == 0
    assert port42.json("hub", "--json")["state"] == "off"


def test_joining_again_forgets_nothing_of_what_may_leave(port42, home, hub_url):
    """A new address, or another password, must not push what was kept here until then."""
    port42("hub", "init", hub_url)
    port42("hub", "join", hub_url, "--machine", "laptop", "--agent", "@echo", "--redact")
    file = home / "config.toml"
    file.write_text(file.read_text() + "# mine\npassword_env = 'HUB_PASSWORD'\n")
    port42("hub", "pause")
    assert port42("hub", "join", hub_url, "--machine", "desktop").returncode == 0
    hub = tomllib.loads(file.read_text())["hub"]
    assert hub == {"url": hub_url, "machine": "desktop", "agents": ["echo"], "redact": True}
    assert "# mine" in file.read_text()


def test_what_config_toml_forbids_is_not_pushed_from_then_on(port42, home, hub_url):
    port42("hub", "init", hub_url)
    port42("hub", "join", hub_url)
    secret = "sk-ant-api03-" + "aB3" * 20
    file = home / "config.toml"
    joined = file.read_text()
    file.write_text(joined + "redact = true\n")
    port42.begin("@ai-muse", f"my key is {secret}")
    file.write_text(joined + 'redact = true\nagents = ["ai-muse"]\n')
    assert port42("daemon", "reload").returncode == 0
    port42.begin("@ai-engineer", "nobody's business")
    last = port42.begin("@ai-muse", "the last")
    with psycopg.connect(hub_url, autocommit=True) as connection:
        while not (all_of_it := connection.execute("SELECT line FROM port42.records").fetchall()) or (
            "the last" not in str(all_of_it)
        ):
            pass
        sessions = [row[0] for row in connection.execute("SELECT session_id FROM port42.sessions").fetchall()]
    assert last in sessions
    assert len(sessions) == 2
    assert secret not in str(all_of_it)
    assert "[redacted: anthropic key]" in str(all_of_it)
    file.write_text(joined + "on = false\n")
    assert port42("daemon", "reload").returncode == 0
    while port42.json("status", "--json")["hub"]["state"] != "paused":
        pass


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["init"], 2, "or --service NAME; config.toml names no hub"),
        (["join"], 2, "expected ADDRESS (postgresql://USER@HOST/DATABASE) or --service NAME"),
        (["join", "x", "--service", "y"], 2, "expected ADDRESS"),
        (["join", "http://x/y"], 1, "an address of PostgreSQL"),
        (["join", "postgresql://me:secret@x/y"], 1, "an address without a password"),
        (["join", "postgresql://me@/y?host=/nowhere"], 1, "the hub is unreachable"),
        (["pause"], 1, "there is no hub"),
        (["--json", "status"], 2, "--json goes behind the subcommand"),
    ],
)
def test_wrong_input_is_refused_and_changes_nothing(port42, home, args, code, words):
    done = port42("hub", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "secret" not in done.stderr
    assert not (home / "config.toml").exists()


def test_an_unreachable_hub_is_a_problem_with_its_reason(port42, home):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text('[hub]\nurl = "postgresql://me@/y?host=/nowhere"\n')
    while (done := port42("hub")).stdout.startswith("state: connecting"):
        pass
    assert done.returncode == 1
    assert "problem: " in done.stdout

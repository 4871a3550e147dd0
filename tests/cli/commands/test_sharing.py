"""`port42 share` and `unshare`: two people, each a role of one real PostgreSQL, and a group."""

from __future__ import annotations

import psycopg
import pytest
from peers.daemons import stop_daemon_of


@pytest.fixture
def people(port42, home, hub_url):
    """Runs `port42` as Ada or as Bob, both at the hub; Bob is in the group `team`."""
    mark = hub_url.partition("?")[0].rpartition("_")[2]
    names = {name: f"{name}_{mark}" for name in ("ada", "bob", "team")}
    with psycopg.connect(hub_url, autocommit=True) as connection:
        for name in ("ada", "bob"):
            connection.execute(f"CREATE ROLE {names[name]} LOGIN")
        connection.execute(f"CREATE ROLE {names['team']} ROLE {names['bob']}")
    assert port42("hub", "init", hub_url).returncode == 0

    def person(name):
        def run(*args):
            env = {"PORT42_HOME": str(home.parent / name), "PORT42_SOCKET": str(home.parent / f"{name}.sock")}
            return port42(*args, env=env)

        joined = run("hub", "join", hub_url.replace("postgres@", f"{names[name]}@"))
        assert joined.returncode == 0, joined.stderr
        return run

    yield person("ada"), person("bob"), names["team"]
    for name in ("ada", "bob"):
        stop_daemon_of(home.parent / name)


def test_a_session_is_shared_with_a_group_and_no_more(people):
    ada, bob, team = people
    ada("possess", "@echo", "build a parser")
    ada("possess", "@echo", "nobody's business")
    session_id = ada("sessions").stdout.splitlines()[1].split("\t")[0]
    assert "is shared with nobody" in ada("share", session_id).stderr
    done = ada("share", session_id, f"@{team}", "--may-write")
    assert (done.returncode, done.stdout) == (0, f"{team}\twrite\n"), done.stderr
    while "build a parser" not in (listed := bob("sessions").stdout):
        pass
    assert "nobody's business" not in listed
    assert ada("share", session_id, team).stdout == f"{team}\tread\n"
    assert ada("share", session_id).stdout == f"{team}\tread\n"
    stopped = ada("unshare", session_id, team)
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert "is shared with nobody" in stopped.stderr


def test_wrong_input_is_refused(people):
    ada, _, _ = people
    ada("possess", "@echo", "hi")
    unknown = ada("share", "last", "nobody_here")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nobody_here" in unknown.stderr
    mistyped = ada("unshare", "last", "nobody_here")
    assert (mistyped.returncode, mistyped.stdout) == (1, "")
    assert 'grantee: expected a role that the session is shared with, got "nobody_here"' in mistyped.stderr
    owner = next(line for line in ada("hub").stdout.splitlines() if line.startswith("owner: "))
    assert ada("share", "last", owner.removeprefix("owner: ")).returncode == 1
    assert ada("share", "last", "--may-write").returncode == 2
    assert ada("share", "nothing-such", "x").returncode == 1
    assert ada("unshare", "last").returncode == 2


def test_without_a_hub_it_says_so(port42):
    port42.begin("@echo", "hi")
    for args in (["share", "last"], ["share", "last", "x"], ["unshare", "last", "x"]):
        done = port42(*args)
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no hub: `port42 hub join ADDRESS` names one" in done.stderr

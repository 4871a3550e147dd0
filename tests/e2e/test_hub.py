"""Daemons of several machines at one hub: real processes, a real PostgreSQL, wrong clocks, and kills."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from peers import late_daemon
from peers.hub_homes import at_hub, init
from peers.postgres import Server

_WITHIN = 60.0
AGENT = "ai-muse"


def until(condition: Callable[[], Any], what: str) -> Any:
    """What `condition` gives, once that is true."""
    deadline = time.monotonic() + _WITHIN
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


@pytest.fixture
def machine(home: Path, start_daemon: Callable[..., Any]) -> Callable[..., Any]:
    """Starts the daemon of a machine, which is at the hub."""

    def start(name: str, url: str, clock: int | None = None) -> Any:
        python = [late_daemon.__file__, str(clock)] if clock is not None else None
        folder = home.parent / name
        daemon = start_daemon(home=folder, socket=home.parent / f"{name}.sock", python=python)
        daemon.call("join_hub", url=url, machine=name)
        until(lambda: daemon.call("get_hub")["state"] == "connected", "it does not get to the hub")
        return daemon

    return start


def say(daemon: Any, session_id: str, text: str) -> None:
    daemon.call("append_message", agent=AGENT, session_id=session_id, role="user", content=text)


def texts(daemon: Any, session_id: str) -> list[str]:
    try:
        messages = daemon.call("get_session", session_id=session_id, limit=10_000)["messages"]
    except pytest.RpcFailed:
        return []
    return [message["content"] for message in messages]


def sessions(daemon: Any) -> list[str]:
    return [row["session_id"] for row in daemon.call("list_sessions", limit=500)["sessions"]]


def test_what_is_said_on_one_machine_is_followed_on_another(machine, hub_url):
    init(hub_url)
    laptop, server = machine("laptop", hub_url), machine("server", hub_url)
    session = laptop.call("create_session", agent=AGENT)["session_id"]
    until(lambda: session in sessions(server), "it does not get to the other machine")
    with server.connect() as peer, peer.makefile("rb") as lines:
        peer.sendall(
            b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"session_id":"%b"}}\n' % session.encode()
        )
        assert b'"result"' in lines.readline()
        say(laptop, session, "hello from the laptop")
        assert b"hello from the laptop" in lines.readline()
    say(server, session, "hello from the server")
    until(lambda: len(texts(laptop, session)) == 2, "the answer does not come")
    until(lambda: laptop.call("get_hub")["waiting"] == 0, "something is still to be pushed")
    status = laptop.call("get_hub")
    assert (status["busy"], status["sessions"]) == (0, 1)
    assert {row["name"]: row["this"] for row in status["machines"]} == {"laptop": True, "server": False}


def test_the_last_session_is_the_one_used_last_on_any_machine_though_their_clocks_are_hours_apart(
    machine, hub_url
):
    init(hub_url)
    early, late = machine("early", hub_url, -3 * 3600), machine("late", hub_url, 5 * 3600)
    first = late.call("create_session", agent=AGENT)["session_id"]
    say(late, first, "used first, at a time that is later by its clock")
    until(lambda: texts(early, first), "it does not get to the other machine")
    last = early.call("create_session", agent=AGENT)["session_id"]
    say(early, last, "used last")
    until(lambda: texts(late, last), "it does not get to the other machine")
    for daemon in (early, late):
        until(
            lambda daemon=daemon: daemon.call("get_last_session", agent=AGENT)["session_id"] == last,
            "another session is the last one",
        )
        assert sessions(daemon) == [last, first]
    say(late, first, "used again")
    for daemon in (early, late):
        until(
            lambda daemon=daemon: daemon.call("get_last_session", agent=AGENT)["session_id"] == first,
            "another session is the last one",
        )


def test_a_hub_that_cannot_be_used_is_said_and_everything_goes_on_here(start_daemon, postgres):
    url = postgres.database()
    daemon = start_daemon()
    with pytest.raises(
        pytest.RpcFailed, match="it has no tables of Port42 yet: `port42 hub init` makes them"
    ):
        daemon.call("join_hub", url=url)
    assert daemon.call("get_hub")["state"] == "off"
    applied = daemon.call("init_hub", url=url)["applied"]
    assert [name[:4] for name in applied] == ["0001", "0002"]
    daemon.call("join_hub", url=url)
    until(lambda: daemon.call("get_hub")["state"] == "connected", "it does not get to the hub")
    postgres.kill()
    until(lambda: daemon.call("get_hub")["state"] == "unreachable", "nobody says that the hub is gone")
    session = daemon.call("create_session", agent=AGENT)["session_id"]
    say(daemon, session, "said without a hub")
    until(lambda: daemon.call("get_hub")["waiting"] == 1, "nobody says that it is to be pushed")
    assert daemon.call("status")["hub"]["state"] == "unreachable"
    daemon.kill()
    daemon.start()
    until(lambda: daemon.call("status")["hub"]["waiting"] == 1, "a new daemon does not know it")
    postgres.start()
    until(lambda: session in at_hub(url), "it is not pushed afterwards")
    assert daemon.log().count("the hub is unreachable") == 2  # once for each daemon
    daemon.call("pause_hub")
    assert daemon.call("get_hub")["state"] == "paused"
    say(daemon, session, "said in a pause")
    until(lambda: daemon.call("get_hub")["waiting"] == 1, "nobody says what waits for the end of a pause")
    daemon.call("resume_hub")
    until(lambda: len(at_hub(url)[session][1]) == 2, "it is not pushed after the pause")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO port42.migrations VALUES (9999, '9999_later')")
    daemon.kill()
    daemon.start()
    until(lambda: daemon.call("get_hub")["state"] == "refused", "newer tables are used")
    assert "newer Port42 (they have 9999_later)" in daemon.call("get_hub")["problem"]
    until(lambda: daemon.call("get_hub")["waiting"] == 0, "what is at the hub is to be pushed")
    assert daemon.call("leave_hub")["state"] == "off"
    assert texts(daemon, session) == ["said without a hub", "said in a pause"]


def test_a_hub_that_does_not_answer_holds_up_nothing(start_daemon, home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home.mkdir(mode=0o700)
        address = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/port42"
        (home / "config.toml").write_text(f'[hub]\nurl = "{address}"\n')
        daemon = start_daemon()
        until(lambda: daemon.call("get_hub")["state"] == "connecting", "it is not tried")
        possessed = daemon.call("possess", agent=AGENT, message="hello")
        assert texts(daemon, possessed["session_id"]) == ["hello"]
        assert daemon.call("get_hub")["state"] in {"connecting", "unreachable"}
        assert daemon.stop() == 0


def kill_and_say(machines: list[Any], postgres: Server, seed: int, rounds: int) -> set[str]:
    """Say things at random while daemons and the server are killed; gives what was acknowledged."""
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    for number in range(rounds):
        daemon = chance.choice(machines)
        what = chance.random()
        if what < 0.1:
            daemon.kill()
            daemon.start()
        elif what < 0.16:
            postgres.kill()
            postgres.start()
        else:
            text = f"message {number}"
            session = f"shared-{chance.randrange(3)}"
            with contextlib.suppress(pytest.RpcFailed):
                daemon.call("create_session", agent=AGENT, session_id=session)
            with contextlib.suppress(pytest.RpcFailed):
                say(daemon, session, text)
                acknowledged.add(text)
    return acknowledged


def whole(daemon: Any) -> dict[str, list[str]]:
    """The lines of each session's file."""
    return {
        path.stem: [line.rstrip(",") for line in path.read_text().splitlines()[1:-1]]
        for path in (daemon.home / "sessions").glob("*.json")
    }


@pytest.mark.parametrize(
    ("seed", "rounds"), [(1, 30), *(pytest.param(n, 300, marks=pytest.mark.torture) for n in range(2, 12))]
)
def test_nothing_is_lost_or_twice_when_daemons_and_the_server_are_killed(machine, postgres, seed, rounds):
    url = postgres.database()
    init(url)
    machines = [machine("laptop", url), machine("server", url)]
    acknowledged = kill_and_say(machines, postgres, seed, rounds)
    assert acknowledged

    def same() -> bool:
        if any(daemon.call("get_hub")["waiting"] for daemon in machines):
            return False
        hub = {name: [line for _, line in lines] for name, (_, lines) in at_hub(url).items()}
        return all(whole(daemon) == hub for daemon in machines)

    until(same, "the machines do not become the same")
    messages = [
        message["content"]
        for session in sessions(machines[0])
        for message in machines[0].call("get_session", session_id=session, limit=10_000)["messages"]
        if message["seq"] > (summary_of(machines[0], session)["forked_from"] or {"seq": 0})["seq"]
    ]
    assert sorted(messages) == sorted({*messages})
    assert acknowledged <= {*messages}


def summary_of(daemon: Any, session_id: str) -> Any:
    return daemon.call("find_session", ref=session_id)


def test_a_session_is_shared_with_another_owner(start_daemon, home, shared_postgres):
    url = shared_postgres.database()
    init(url)
    ben_role = f"ben_{home.parent.name.replace('-', '_')}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE ROLE "{ben_role}" LOGIN')
    daemons = []
    for name, role in (("ada", "postgres"), ("ben", ben_role)):
        daemon = start_daemon(home=home.parent / name, socket=home.parent / f"{name}.sock")
        daemon.call("join_hub", url=url.replace("postgres@", f"{role}@"))
        daemons.append(daemon)
    ada, ben = daemons
    session = ada.call("create_session", agent=AGENT)["session_id"]
    until(lambda: ada.call("get_hub")["state"] == "connected", "it does not get to the hub")
    with pytest.raises(pytest.RpcFailed, match="grantee: expected a role of the hub's PostgreSQL"):
        ada.call("share_session", session_id=session, grantee="carol")
    shared = ada.call("share_session", session_id=session, grantee=ben_role, may="write")
    assert shared == {"session_id": session, "shares": [{"grantee": ben_role, "may": "write"}]}
    until(lambda: session in sessions(ben), "it does not get to the other owner")
    say(ben, session, "of ben")
    until(lambda: texts(ada, session) == ["of ben"], "it does not come back")
    assert ada.call("unshare_session", session_id=session, grantee=ben_role)["shares"] == []
    with pytest.raises(pytest.RpcFailed, match="the hub does not have session"):
        ben.call("share_session", session_id=session, grantee=ben_role)

"""What leaves a machine, to which server, and who sees it there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import UNSET, structs
from peers.hub_homes import HubHome, at_hub, init, quiet
from peers.postgres import Server
from peers.session_files import header, said

from port42_daemon.config import HubConfig, parse
from port42_daemon.hub.address import described, parameters
from port42_daemon.hub.schema import HubRefused
from port42_protocol.errors import ConfigRefused
from port42_protocol.messages.records import Parent
from port42_protocol.messages.search import TagSession
from port42_protocol.messages.sessions import CreateSession

SECRET = "sk-ant-" + "a1B2" * 8


def pushed(folder: Path, url: str, work: Any, **config: Any) -> Any:
    """What is at the hub after `work` at a home with that configuration."""
    init(url)

    async def run() -> None:
        async with asyncio.timeout(60), HubHome(folder / "laptop", url, "laptop", **config) as home:
            await home.connect()
            await work(home)
            await quiet(home)

    asyncio.run(run())
    return at_hub(url)


def test_sessions_of_the_agents_that_are_named_are_pushed(tmp_path, hub_url):
    async def work(home: HubHome) -> None:
        await home.say("cli-1", "at work", agent="ai-engineer")
        await home.say("cli-2", "at home", agent="ai-muse")

    assert pushed(tmp_path, hub_url, work, agents=["ai-engineer"]).keys() == {"cli-1"}


@pytest.mark.parametrize("trashed", [False, True])
def test_sub_agents_of_a_private_session_stay_with_it(tmp_path, hub_url, trashed):
    async def work(home: HubHome) -> None:
        home.disconnect()
        for name, parent in (
            ("cli-1", None),
            ("a", "cli-1"),
            ("a-of-a", "a"),
            ("cli-2", None),
            ("b", "cli-2"),
        ):
            below = UNSET if parent is None else Parent(parent, 1)
            home.store.create(structs.replace(header(name), parent=below), [said(name)])
        await home.sessions.tag_session(TagSession("cli-1", add=("private",)))
        if trashed:
            with home.store.writing("cli-1") as session:
                session.trash()
        await home.connect()

    assert pushed(tmp_path, hub_url, work).keys() == {"cli-2", "b"}


@pytest.mark.parametrize("folder", ["/srv", "/srv/"])
def test_sessions_in_the_folders_that_are_named_are_pushed(tmp_path, hub_url, folder):
    async def work(home: HubHome) -> None:
        for number, cwd in enumerate(("/srv", "/srv/parser", "/srvs", "/", None)):
            await home.sessions.create_session(CreateSession("ai-muse", session_id=f"cli-{number}", cwd=cwd))

    assert pushed(tmp_path, hub_url, work, folders=[folder]).keys() == {"cli-0", "cli-1"}


def test_secrets_are_replaced_before_a_record_leaves_and_stay_here(tmp_path, hub_url):
    async def work(home: HubHome) -> None:
        await home.say("cli-1", f"my key is {SECRET}")
        await home.say("cli-1", "nothing else")
        await quiet(home)
        assert home.sync is not None
        home.disconnect()
        (home.folder / "hub.db").unlink()
        await home.connect()  # all is compared again
        await quiet(home)
        assert home.texts("cli-1") == [f"my key is {SECRET}", "nothing else"]
        assert home.all().keys() == {"cli-1"}

    hub = pushed(tmp_path, hub_url, work, redact=True)
    assert SECRET not in str(hub)
    assert "[redacted: anthropic key]" in str(hub["cli-1"])
    with psycopg.connect(hub_url) as connection:
        assert SECRET not in str(connection.execute("SELECT * FROM port42.sessions").fetchall())


def test_each_role_sees_its_own_sessions_only(tmp_path, shared_postgres: Server):
    url = shared_postgres.database()
    init(url)
    ada, ben = (f"{name}_{tmp_path.parent.name}_{tmp_path.name}"[:60] for name in ("ada", "ben"))
    with psycopg.connect(url, autocommit=True) as connection:
        for role in (ada, ben):
            connection.execute(f'CREATE ROLE "{role}" LOGIN')
    database = url.partition("?")[0].rpartition("/")[2]
    urls = {role: shared_postgres.url(database, role) for role in (ada, ben)}

    async def work() -> None:
        async with (
            asyncio.timeout(60),
            HubHome(tmp_path / "laptop", urls[ada], "laptop") as hers,
            HubHome(tmp_path / "desktop", urls[ben], "desktop") as his,
        ):
            await hers.connect()
            await his.connect()
            await hers.say("cli-1", "of ada")
            await his.say("cli-1", "of ben, in a session with the same id")
            await his.say("cli-2", "of ben")
            await quiet(hers, his)
            await quiet(his, hers)
            assert hers.all().keys() == {"cli-1"}
            assert hers.texts("cli-1") == ["of ada"]
            assert len(await hers.threads.hub(hers.database.machines)) == 1

    asyncio.run(work())
    assert {name: len(lines) for name, (_, lines) in at_hub(urls[ben]).items()} == {"cli-1": 1, "cli-2": 1}
    with psycopg.connect(urls[ben], autocommit=True) as connection:
        assert connection.execute("SELECT DISTINCT owner FROM port42.records").fetchall() == [(ben,)]
        for forbidden in (
            "INSERT INTO port42.owners (owner) VALUES (%s)",
            "INSERT INTO port42.shares VALUES (%s, 'cli-1', session_user, 'read')",
            "INSERT INTO port42.records (owner, session_id, seq, line, machine)"
            " VALUES (%s, 'cli-1', 9, '{}', gen_random_uuid())",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden, (ada,))
        changed = connection.execute("UPDATE port42.sessions SET trashed = true WHERE owner = %s", (ada,))
        assert changed.rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "INSERT INTO port42.records (owner, session_id, seq, line, machine, author)"
                " VALUES (session_user, 'cli-1', 9, '{}', gen_random_uuid(), %s)",
                (ada,),
            )


# --- the server -----------------------------------------------------------------------------------


def named(url: str, environ: dict[str, str] | None = None, **config: Any) -> dict[str, Any]:
    return asyncio.run(parameters(HubConfig(url=url, **config), environ or {}))


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "127.0.0.7", "[::1]", "%2Ftmp"])
def test_a_server_on_this_machine_needs_no_certificate(host):
    assert "sslmode" not in named(f"postgresql://ada@{host}/port42")


@pytest.mark.parametrize(
    "host", ["db.example.org", "192.168.1.5", "localhost,db.example.org", "127.example.org"]
)
def test_a_server_elsewhere_must_prove_who_it_is(host, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named(f"postgresql://ada@{host}/port42")["sslmode"] == "verify-full"
    assert named(f"postgresql://ada@{host}/port42")["sslrootcert"] == "system"
    assert named(f"postgresql://ada@{host}/port42?sslmode=require")["sslmode"] == "require"
    assert "sslmode" not in named(f"postgresql://ada@{host}/port42", {"PGSSLMODE": "require"})
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert "sslrootcert" not in named(f"postgresql://ada@{host}/port42")


def test_the_password_comes_from_where_config_toml_says(tmp_path):
    url = "postgresql://ada@127.0.0.1/port42"
    assert "password" not in named(url)
    assert named(url, {"HUB_PASSWORD": "pâss wörd"}, password_env="HUB_PASSWORD")["password"] == "pâss wörd"
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text("pâss\n")
    assert named(url, password_file=str(file))["password"] == "pâss"
    file.chmod(0o644)
    with pytest.raises(HubRefused, match="run chmod 600 on it"):
        named(url, password_file=str(file))
    with pytest.raises(HubRefused, match="HUB_PASSWORD is not in the daemon's environment"):
        named(url, password_env="HUB_PASSWORD")


def test_an_address_is_described_without_its_user():
    assert described(HubConfig(url="postgresql://ada@db.example.org:5433/port42")) == "db.example.org/port42"
    assert described(HubConfig(service="port42")) == "service port42"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on = true", "hub: expected either url or service"),
        ('url = "postgresql:///x"\nservice = "y"', "hub: expected either url or service"),
        ('url = "mysql://x"', "line 2: hub.url: "),
        ('url = "postgresql://ada:pw@x/y"', "line 2: hub.url: expected no password here"),
        ('url = "postgresql://x/y?user=a&password=b"', "line 2: hub.url: expected no password here"),
        ('service = "x"\npassword_env = "A"\npassword_file = "b"', "hub: expected one of password_env"),
        ('service = "x"\nfolders = ["work"]', "hub.folders"),
        ('service = "x"\ncolour = "blue"', "hub.colour"),
    ],
)
def test_a_hub_table_that_is_wrong_is_refused_with_its_line_and_why(text, expected):
    with pytest.raises(ConfigRefused) as caught:
        parse(f"[hub]\n{text}\n")
    assert expected in str(caught.value)
    assert "pw" not in str(caught.value)

"""What a person is told of a hub that cannot be used, and whether it is tried again soon."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import psycopg
import pytest
from peers.hub_homes import init

from port42_daemon.hub import connection, schema
from port42_daemon.hub.connection import explained
from port42_daemon.hub.schema import HubRefused
from port42_protocol.errors import StorageFailed


def told(url: str) -> tuple[str, str]:
    with pytest.raises(connection.FAILURES) as failed:
        connection.probe({"conninfo": url})
    return explained(failed.value)


def test_a_daemon_without_a_hub_loads_nothing_of_it():
    loaded = "import sys, port42_daemon.main; print([name for name in sys.modules if 'psycopg' in name])"
    printed = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert printed.stdout == "[]\n"


@pytest.mark.parametrize("url", ["postgresql://u@0\x80/d", "postgresql://u@[::1],a..b/d"])
def test_an_address_that_is_none_is_refused(daemon, url):
    with pytest.raises(pytest.RpcFailed, match="its address is none: expected postgresql://"):
        daemon.call("join_hub", url=url)


def test_a_server_that_is_not_there_is_tried_again(tmp_path):
    assert told("postgresql://ada@127.0.0.1:1/port42") == ("unreachable", "Connection refused")
    gone = told(f"postgresql://ada@/port42?host={tmp_path}")
    assert gone == ("unreachable", "no server's socket is there: No such file or directory")


def test_what_the_server_refuses_has_to_be_changed_first(hub_url, shared_postgres):
    assert told(shared_postgres.url("nothing")) == ("refused", 'database "nothing" does not exist')
    assert told(hub_url.replace("postgres@", "nobody_at_all@")) == (
        "refused",
        'role "nobody_at_all" does not exist',
    )
    assert told(hub_url)[0] == "refused"
    assert "`port42 hub init` makes them" in told(hub_url)[1]
    init(hub_url)
    connection.probe({"conninfo": hub_url})


def test_tables_of_another_version_are_refused_by_name(hub_url):
    init(hub_url)
    with psycopg.connect(hub_url, autocommit=True) as admin:
        admin.execute("INSERT INTO port42.migrations VALUES (9999, '9999_later')")
        newer = ("refused", "its tables are of a newer Port42 (they have 9999_later): update this one")
        assert told(hub_url) == newer
        with pytest.raises(HubRefused, match="9999_later"):
            connection.init({"conninfo": hub_url})
        admin.execute("DELETE FROM port42.migrations")
        state, problem = told(hub_url)
    assert state == "refused"
    assert "its tables lack 0001_begin" in problem


def test_a_migration_is_applied_once_and_by_one_at_a_time(hub_url):
    names = ["0001_begin", "0002_leases_of_shared_sessions"]
    assert connection.init({"conninfo": hub_url}) == names
    assert connection.init({"conninfo": hub_url}) == []


def test_tables_of_the_first_version_are_brought_up_to_date(hub_url, monkeypatch):
    first = dict(list(schema.migrations().items())[:1])
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "migrations", lambda: first)
        init(hub_url)
    with psycopg.connect(hub_url, autocommit=True) as admin:
        columns = "(owner, session_id, machine, agent) VALUES ('ada', 'cli-1', gen_random_uuid(), 'ai-muse')"
        admin.execute(f"INSERT INTO port42.leases {columns}")
        assert "its tables lack 0002_leases_of_shared_sessions" in told(hub_url)[1]
        assert connection.init({"conninfo": hub_url}) == ["0002_leases_of_shared_sessions"]
        connection.probe({"conninfo": hub_url})
        leases = admin.execute("SELECT owner, name FROM port42.leases").fetchall()
    assert leases == [("ada", "another machine")]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (psycopg.errors.DiskFull("could not extend file"), "unreachable"),
        (psycopg.errors.AdminShutdown("terminating connection"), "unreachable"),
        (psycopg.errors.CannotConnectNow("the database system is starting up"), "unreachable"),
        (psycopg.errors.TooManyConnections("sorry, too many clients already"), "unreachable"),
        (psycopg.errors.UndefinedColumn('column "x" does not exist'), "refused"),
        (psycopg.errors.InsufficientPrivilege("permission denied for schema port42"), "refused"),
        (ConnectionResetError(104, "Connection reset by peer"), "unreachable"),
        (sqlite3.OperationalError("disk I/O error"), "unreachable"),
        (StorageFailed("cannot write session cli-1: no space left on device"), "unreachable"),
    ],
)
def test_whether_the_same_may_work_a_while_later(error, state):
    assert explained(error)[0] == state
    assert explained(error)[1]

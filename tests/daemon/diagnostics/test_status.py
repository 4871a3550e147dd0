"""What the daemon says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sqlite3
import threading
import time

import pytest

from port42_daemon.diagnostics.status import Introspection
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import Settings
from port42_protocol import PROTOCOL_VERSION, openrpc
from port42_protocol.messages.daemon import Discover, Status
from port42_protocol.messages.sessions import CreateSession
from port42_protocol.version import __version__


@pytest.fixture
def settings(rules, tmp_path):
    return Settings(home=rules.home, socket=tmp_path / "s", connections=7)


@pytest.fixture
def traffic():
    return Traffic()


@pytest.fixture
def introspection(rules, settings, traffic):
    catalogue, maintenance = rules.store.catalogue, rules.store.maintenance
    return Introspection(
        settings, catalogue, maintenance, rules.threads, rules.config, rules.agents, traffic,
        rules.queues, rules.events,
    )  # fmt: skip


def test_it_says_what_is(rules, settings, traffic, introspection):
    for number in (0, 1, 1):
        rules.ask(rules.sessions.create_session, CreateSession(f"agent-{number}"))
    traffic.connections, traffic.requests = 5, 2
    while not rules.store.catalogue.status().complete:
        time.sleep(0.01)  # the index is opened in a thread of its own
    said = rules.ask(introspection.status, Status())
    assert (said.version, said.protocol_version, said.pid) == (__version__, PROTOCOL_VERSION, os.getpid())
    assert said.started_by == "hand"
    assert said.python == platform.python_version()
    assert (said.home, said.socket) == (str(rules.home), str(settings.socket))
    assert (said.sessions, said.connections, said.requests) == (3, 5, 2)
    assert (said.index, said.sessions_by_agent) == ("ready", {"agent-0": 1, "agent-1": 2})
    assert said.limits == settings.limits
    assert 0 <= said.uptime_seconds < 600
    assert said.config_error is None
    assert said.turns_by_agent == said.latencies == said.errors == said.internal_errors == ()
    assert asyncio.run(introspection.status(Status())).uptime_seconds >= said.uptime_seconds
    assert introspection.discover(Discover()) == openrpc.document()


def test_it_waits_for_no_index_and_counts_once_it_can(rules, introspection, monkeypatch):
    """As many ask as like to: they share the one count that waits."""
    may_go_on, counts = threading.Event(), []

    def count():
        counts.append(may_go_on.wait(30))
        return {"ai-muse": 4}

    monkeypatch.setattr(rules.store.catalogue, "counts", count)

    async def asked():
        before = [await introspection.status(Status()) for _ in range(3)]
        may_go_on.set()
        while (after := await introspection.status(Status())).sessions is None:
            pass
        return before, after

    before, after = asyncio.run(asked())
    assert [(one.sessions, one.sessions_by_agent) for one in before] == [(None, None)] * 3
    assert (after.sessions, after.sessions_by_agent) == (4, {"ai-muse": 4})
    assert counts[0] is True
    assert len(counts) <= 2


def test_an_index_that_cannot_be_used_is_said_and_nothing_fails(daemon):
    daemon.call("create_session", agent="ai-muse")
    daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.home / "index.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        daemon.start()
        assert len(daemon.call("list_sessions")["sessions"]) == 1
        status = daemon.call("status")
    assert (status["index"], status["sessions"]) == ("unusable", 1)


def test_a_daemon_counts_its_traffic(daemon):
    daemon.call("create_session", agent="ai-muse")
    for _ in range(3):
        daemon.call("get_last_session", agent="ai-muse")
    with pytest.raises(pytest.RpcFailed):
        daemon.call("get_last_session", agent="nobody")
    with daemon.connect() as listening, listening.makefile("rb") as lines:
        listening.sendall(b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"agent":"ai-muse"}}\n')
        lines.readline()
        said = daemon.call("status")
    by_method = {one["method"]: one for one in said["latencies"]}
    assert set(by_method) == {"create_session", "get_last_session", "subscribe"}
    last = by_method["get_last_session"]
    assert (last["count"], last["errors"]) == (4, 1)
    assert 0 < last["p50_us"] <= last["p90_us"] <= last["p99_us"] <= last["max_us"]
    assert said["errors"] == [{"code": 1001, "kind": "no_sessions", "count": 1}]
    assert (said["connections"], said["subscriptions"]) == (2, 1)
    assert said["bytes_in"] > 300
    assert said["bytes_out"] > 300
    vitals = said["vitals"]
    assert vitals["threads"] >= 2
    assert vitals["peak_bytes"] > 2**20
    assert vitals["disk_free_bytes"] >= 0

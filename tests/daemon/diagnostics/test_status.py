"""The daemon's status, and the figures of its process, compared with what the process does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest

from port42_daemon.diagnostics.status import Introspection, vitals
from port42_daemon.hub.service import Hub
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import Settings
from port42_protocol import PROTOCOL_VERSION, __version__, openrpc
from port42_protocol.messages.daemon import DaemonStatus, Discover, Status
from port42_protocol.messages.sessions import CreateSession


@pytest.fixture
def settings(rules, tmp_path):
    return Settings(home=rules.home, socket=tmp_path / "s", connections=7)


@pytest.fixture
def traffic():
    return Traffic()


@pytest.fixture
def introspection(rules, settings, traffic):
    catalogue, maintenance = rules.store.catalogue, rules.store.maintenance
    hub = Hub(settings.home, rules.agents, rules.sessions, rules.queues)
    return Introspection(
        settings, catalogue, maintenance, rules.threads, rules.config, rules.agents, traffic,
        rules.queues, rules.events, lambda: "/run/port42-read.sock", hub.summary,
    )  # fmt: skip


def test_status_of_a_new_daemon(rules, settings, traffic, introspection):
    for number in (0, 1, 1):
        rules.ask(rules.sessions.create_session, CreateSession(f"agent-{number}"))
    traffic.connections, traffic.requests = 5, 2
    while not rules.store.catalogue.status().complete:
        time.sleep(0.01)  # the index is opened in a thread of its own
    status = rules.ask(introspection.status, Status())
    assert (status.version, status.protocol_version, status.pid) == (
        __version__,
        PROTOCOL_VERSION,
        os.getpid(),
    )
    assert status.started_by == "hand"
    assert status.python == platform.python_version()
    assert (status.home, status.socket) == (str(rules.home), str(settings.socket))
    assert (status.read_socket, status.hub) == ("/run/port42-read.sock", None)
    assert (status.sessions, status.connections, status.requests) == (3, 5, 2)
    known = introspection.status(Status())
    assert isinstance(known, DaemonStatus), "what needs no count is answered without a task"
    assert (known.sessions, known.requests) == (3, 3), "it counts itself, as one that waits does"
    assert (status.index, status.sessions_by_agent) == ("ready", {"agent-0": 1, "agent-1": 2})
    assert status.limits == settings.limits
    assert 0 <= status.uptime_seconds < 600
    assert status.config_error is None
    assert status.turns_by_agent == status.latencies == status.errors == status.internal_errors == ()
    assert rules.ask(introspection.status, Status()).uptime_seconds >= status.uptime_seconds
    assert rules.ask(introspection.discover, Discover()) == openrpc.document()


def test_status_does_not_wait_for_the_index_and_has_counts_later(rules, introspection, monkeypatch):
    """Several requests share the one count that waits."""
    may_go_on, counts = threading.Event(), []

    def count():
        counts.append(may_go_on.wait(30))
        return {"ai-muse": 4}

    monkeypatch.setattr(rules.store.catalogue, "counts", count)

    async def ask_twice():
        before = [await introspection.status(Status()) for _ in range(3)]
        may_go_on.set()
        while (after := await introspection.status(Status())).sessions is None:
            pass
        return before, after

    before, after = asyncio.run(ask_twice())
    assert [(status.sessions, status.sessions_by_agent) for status in before] == [(None, None)] * 3
    assert (after.sessions, after.sessions_by_agent) == (4, {"ai-muse": 4})
    assert counts[0] is True
    assert len(counts) <= 2


def test_an_index_that_cannot_be_used_is_named_and_nothing_fails(daemon):
    daemon.call("create_session", agent="ai-muse")
    daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.home / "index.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        daemon.start()
        assert len(daemon.call("list_sessions")["sessions"]) == 1
        while (status := daemon.call("status"))["sessions"] is None:  # until they have been counted once
            pass
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
        status = daemon.call("status")
    by_method = {latency["method"]: latency for latency in status["latencies"]}
    assert set(by_method) == {"create_session", "get_last_session", "subscribe"}
    last = by_method["get_last_session"]
    assert (last["count"], last["errors"]) == (4, 1)
    assert 0 < last["p50_us"] <= last["p90_us"] <= last["p99_us"] <= last["max_us"]
    assert status["errors"] == [{"code": 1001, "kind": "no_sessions", "count": 1}]
    assert (status["connections"], status["subscriptions"]) == (2, 1)
    assert status["bytes_in"] > 300
    assert status["bytes_out"] > 300
    vitals = status["vitals"]
    assert vitals["threads"] >= 2
    assert vitals["peak_bytes"] > 2**20
    assert vitals["disk_free_bytes"] >= 0


# --- the process -----------------------------------------------------------------------------------


def test_open_files_and_threads_are_counted(tmp_path):
    before = vitals(tmp_path)
    reads, writes = os.pipe()
    done = threading.Event()
    waiting = [threading.Thread(target=done.wait) for _ in range(10)]
    for thread in waiting:
        thread.start()
    after = vitals(tmp_path)
    done.set()
    for thread in waiting:
        thread.join()
    os.close(reads)
    os.close(writes)
    assert after.open_files == before.open_files + 2
    assert after.threads > before.threads  # one that an earlier test began may have ended meanwhile
    assert after.disk_free_bytes >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="only proc(5) tells")
def test_memory_counts_allocated_blocks(tmp_path):
    before = vitals(tmp_path)
    block = bytearray(b"x" * 64 * 2**20)
    after = vitals(tmp_path)
    assert after.resident_bytes - before.resident_bytes > 48 * 2**20
    assert after.peak_bytes >= after.resident_bytes
    del block


def test_without_proc_the_peak_is_known(tmp_path, monkeypatch):
    def none(_):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", none)
    figures = vitals(tmp_path / "gone")
    assert (figures.resident_bytes, figures.disk_free_bytes) == (None, None)
    assert figures.peak_bytes > 2**20

"""kill -9 under clients that use every verb: what was acknowledged is there, what was not is there or not."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest
from peers.workload import Client


def kill_and_check(daemon: Any, clients: list[Client], round_: int) -> None:
    acknowledged, stop = threading.Semaphore(0), threading.Event()
    threads = [
        threading.Thread(target=client.work, args=(daemon, stop, acknowledged.release), daemon=True)
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for _ in range(random.Random(round_).randrange(1, 25 * len(clients))):
        assert acknowledged.acquire(timeout=30), [client.refused for client in clients]
    daemon.kill()
    for thread in threads:
        thread.join(30)
    daemon.start()
    for client in clients:
        assert not client.refused
        client.check(daemon.call)
        client.settle(daemon.call)
    for path in (daemon.home / "sessions").glob("*.json"):
        json.loads(path.read_bytes())
    assert not list(daemon.home.rglob(".*.new")), "what was half written is left"


def test_kill_under_every_verb(daemon):
    clients = [Client(f"agent-{number}") for number in range(3)]
    for round_ in range(4):
        kill_and_check(daemon, clients, round_)
    checked = daemon.call("check_home")
    assert [finding for finding in checked["findings"] if finding["level"] == "problem"] == []


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_kill_under_every_verb_200_times(start_daemon, tmp_path):
    for series in range(10):
        daemon = start_daemon(home=tmp_path / str(series))
        clients = [Client(f"agent-{number}", series) for number in range(4)]
        for round_ in range(20):
            kill_and_check(daemon, clients, 100 * series + round_)
        daemon.stop()

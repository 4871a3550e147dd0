"""Calls of the system fail in the real daemon: a refusal that says so, and nothing acknowledged is lost.

Every call on files that Python's `os` makes for the daemon is counted while a client uses every verb; each
run fails some of them, all that are so many apart. `make torture` fails every one.
"""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
from peers import syscalls
from peers.workload import Client, refusal

from port42_protocol.errors import InternalError

CALLS = [name for name in (*syscalls.CHANGES, *syscalls.READS) if name not in {"close", "write", "read"}]
"""Closing fails only for what was written before; what is written or read this way are pipes and the log."""
REQUESTS = 40
APART = 41
AGENTS = ("ai-muse", "ai-analyst")


def run_with_faults(start_daemon: Any, home: Any, seed: int, faults: dict[str, Any]) -> int:
    """How many requests were refused."""
    home.parent.mkdir(mode=0o700, exist_ok=True)
    address = home.with_name("s")
    plan = json.dumps({"calls": CALLS, **faults})
    daemon = start_daemon(home=home, socket=address, python=["-P", syscalls.__file__, plan])
    clients, refused = [Client(name, seed) for name in AGENTS], 0
    try:
        for number in range(REQUESTS):
            client = clients[number % len(clients)]
            if error := refusal(client, daemon):
                refused += 1
                assert error.code != InternalError.code, (error, client.unanswered, daemon.log())
                assert str(home) not in str(error)
                client.forget()
    finally:
        daemon.kill() if seed % 2 else daemon.stop()
    assert "Traceback" not in daemon.log()
    daemon = start_daemon(home=home, socket=address)
    try:
        for client in clients:
            client.check(daemon.call)
    finally:
        daemon.stop()
    return refused


def every(offset: int) -> list[int]:
    return list(range(offset, 5_000, APART))


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
def test_some_calls_fail(start_daemon, tmp_path, error):
    assert run_with_faults(start_daemon, tmp_path / "home", 1, {"fail": every(error), "error": error})


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
def test_from_one_on_all_changes_fail(start_daemon, tmp_path, error):
    """As on a disk that is full, or mounted read-only after an error of its own."""
    faults = {"fail": [40], "lasting": True, "error": error, "calls": syscalls.CHANGES[2:]}
    assert run_with_faults(start_daemon, tmp_path / "home", 1, faults)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EMFILE], ids=errno.errorcode.get)
def test_every_call_fails(start_daemon, tmp_path, error):
    for offset in range(1, APART + 1):
        faults = {"fail": every(offset), "error": error}
        run_with_faults(start_daemon, tmp_path / str(offset) / "home", offset, faults)

"""As PID 1 the daemon reaps orphans, and ends with the right exit status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
if os.geteuid() != 0:
    UNSHARE[1:1] = ["--user", "--map-root-user"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="needs a PID namespace")


def call(address: Path, method: str, **params) -> dict:
    with socket.socket(socket.AF_UNIX) as peer, peer.makefile("rb") as lines:
        peer.settimeout(30)
        peer.connect(str(address))
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        peer.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(lines.readline())["result"]


def children(pid: int) -> dict[int, str]:
    """The state of each child of `pid`."""
    states = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            states[int(stat.parent.name)] = fields[0]
    return states


@pytest.fixture
def container(process, home):
    """The process that made the namespace, and the daemon that is PID 1 in it, as they are called here."""
    home.mkdir(mode=0o700)
    orphan = "(sleep 0.3; true) & cat"
    (home / "config.toml").write_text(
        f'[backends.b]\ntype = "command"\ncommand = ["sh", "-c", "{orphan}"]\nhistory = "none"\n'
        '[agents.t1]\nbackend = "b"\n'
    )
    address = home.parent / "port42.sock"
    reads, writes = os.pipe()
    daemon = [sys.executable, "-m", "port42_daemon", "--home", home, "--socket", address]
    outer = process([*UNSHARE, *map(str, daemon), "--ready-fd", str(writes)], pass_fds=[writes])
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        assert pipe.readline() == b"ready\n"
    (first,) = children(outer.pid)
    return outer, first, address


def test_orphans_are_reaped_and_a_stop_is_clean(container):
    outer, first, address = container
    (daemon,) = children(first)
    assert call(address, "possess", agent="t1", message="x")["status"] == "answered"
    deadline = time.monotonic() + 30
    while set(children(first)) - {daemon}:  # the orphan, which becomes a zombie
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert call(address, "status")["pid"] == 2
    os.kill(first, signal.SIGTERM)
    assert outer.wait(30) == 0
    assert not address.exists()


def test_its_exit_status_is_the_daemons(container):
    outer, first, _ = container
    (daemon,) = children(first)
    os.kill(daemon, signal.SIGKILL)
    assert outer.wait(30) == 128 + signal.SIGKILL

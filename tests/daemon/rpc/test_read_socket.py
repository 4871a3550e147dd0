"""The socket for reading: what it serves, what it refuses, and what stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from port42_client.daemon import Daemon
from port42_protocol.errors import ReadOnly
from port42_protocol.methods import METHODS

READING = sorted(name for name, row in METHODS.items() if row.read_only)
WRITING = sorted(name for name, row in METHODS.items() if not row.read_only)
PARAMS = {
    "get_last_session": {"agent": "ai-muse"},
    "get_session": {"session_id": "cli-1", "events": True},
    "find_session": {"ref": "cli-1"},
    "list_sessions": {},
    "search_sessions": {"query": "lantern"},
    "get_index_status": {},
    "session_tree": {"session_id": "cli-1"},
    "export_session": {"session_id": "cli-1"},
    "subscribe": {"session_id": "cli-1", "since_seq": 0},
    "unsubscribe": {"session_id": "cli-1"},
    "status": {},
    "stats": {},
    "disk_usage": {},
    "rpc.discover": {},
    "hello": {},
    "$/cancel": {"id": 7},
}


@pytest.fixture
def kept(daemon):
    daemon.call("create_session", agent="ai-muse", session_id="cli-1", title="a lantern")
    daemon.call("append_message", agent="ai-muse", session_id="cli-1", role="user", content="lantern")
    return daemon


def read_path(daemon) -> Path:
    return daemon.socket.with_name("port42-read.sock")


def connected(daemon) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    peer.connect(str(read_path(daemon)))
    return peer


def answer_to(daemon, request):
    """The first message that is a response."""
    with connected(daemon) as peer, peer.makefile("rb") as lines:
        peer.sendall(json.dumps(request).encode() + b"\n")
        while "method" in (message := json.loads(lines.readline())):
            pass
        return message


def call(daemon, method, params=None):
    return answer_to(daemon, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}})


def contents(home: Path) -> dict[str, bytes]:
    """All files but the index's, which is derived, and which SQLite touches when it reads."""
    files = (path for path in home.rglob("*") if path.is_file() and not path.name.startswith("index.db"))
    return {str(path): path.read_bytes() for path in files}


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_every_method_that_only_reads_is_served_and_changes_nothing(kept):
    assert sorted(PARAMS) == READING
    before = contents(kept.home)
    for method, params in PARAMS.items():
        assert "result" in call(kept, method, params), method
    assert contents(kept.home) == before


def test_every_other_method_is_refused_and_changes_nothing(kept):
    before = contents(kept.home)
    for method in WRITING:
        error = call(kept, method, {"session_id": "cli-1", "agent": "ai-muse"})["error"]
        assert error["code"] == ReadOnly.code, method
        assert error["data"] == {"kind": "read_only", "retryable": False, "method": method}
        assert error["message"].startswith(f"{method} can change something")
    assert contents(kept.home) == before


def test_neither_a_batch_nor_a_notification_gets_round_it(kept):
    append = {
        "jsonrpc": "2.0",
        "method": "append_message",
        "params": {"agent": "ai-muse", "session_id": "cli-1", "role": "user", "content": "no"},
    }
    status = {"jsonrpc": "2.0", "id": 2, "method": "status"}
    refused, answered = answer_to(kept, [append | {"id": 1}, append, status])
    assert (refused["id"], refused["error"]["code"]) == (1, ReadOnly.code)
    assert answered["result"]["pid"] == kept.pid
    assert kept.call("get_session", session_id="cli-1")["session"]["message_count"] == 1


def test_a_method_that_does_not_exist_is_not_found(kept):
    assert call(kept, "appendmessage")["error"]["code"] == -32601


def test_what_is_written_is_seen_by_who_subscribed_there(kept):
    with connected(kept) as peer, peer.makefile("rb") as lines:
        peer.sendall(b'{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"agent":"ai-muse"}}\n')
        assert json.loads(lines.readline())["result"] == {"subscriptions": 1}
        kept.call("append_message", agent="ai-muse", session_id="cli-1", role="user", content="new")
        assert json.loads(lines.readline())["params"]["message"]["content"] == "new"


def test_it_is_the_users_alone_and_goes_with_the_daemon(kept):
    path = read_path(kept)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert kept.call("status")["read_socket"] == str(path)
    assert kept.stop() == 0
    assert not path.exists()


def test_one_that_a_killed_daemon_left_is_replaced(kept):
    kept.kill()
    assert read_path(kept).exists()
    kept.start()
    assert call(kept, "status")["result"]["pid"] == kept.pid


def test_a_path_that_was_removed_is_bound_again_on_sighup(kept):
    path = read_path(kept)
    path.unlink()
    kept.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while not listens(path):
        assert time.monotonic() < deadline
        time.sleep(0.01)  # no system call tells when
    assert call(kept, "status")["result"]["pid"] == kept.pid
    assert kept.call("status")["pid"] == kept.pid


def test_both_are_bound_again_where_their_folder_was_removed(start_daemon, home):
    folder = home.parent / "run"
    folder.mkdir(mode=0o700)
    daemon = start_daemon(socket=folder / "port42.sock")
    shutil.rmtree(folder)
    finds = Daemon(str(daemon.socket), {"PORT42_HOME": str(home), "PORT42_NO_AUTOSTART": "1"})
    with finds.connect_for_reading() as connection:
        assert connection.getpeername() == str(read_path(daemon))
    assert call(daemon, "status")["result"]["pid"] == daemon.pid


def test_a_file_in_its_place_is_left_alone_and_the_daemon_starts_without_it(start_daemon, home):
    path = home.parent / "port42-read.sock"
    path.write_text("precious")
    daemon = start_daemon()
    assert daemon.call("status")["read_socket"] is None
    assert daemon.logged(f"no socket for reading: {path} exists and is not a socket")
    assert daemon.stop() == 0
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_for_it(start_daemon, home):
    path = home.parent / ("x" * (103 - len(os.fsencode(home.parent)) - 1))
    daemon = start_daemon(socket=path)
    assert daemon.call("status")["read_socket"] is None
    assert daemon.logged("no socket for reading: the socket path has 108 bytes, 103 is the most")


def test_all_its_connections_leave_the_other_socket_free(kept):
    peers = [connected(kept) for _ in range(33)]
    try:
        with peers[-1].makefile("rb") as lines:
            assert json.loads(lines.readline())["error"]["data"]["kind"] == "overloaded"
        assert kept.call("status")["connections"] == 33  # 32 there, and the one that asks
    finally:
        for peer in peers:
            peer.close()


def test_a_request_under_way_is_answered_when_the_daemon_stops(kept):
    with connected(kept) as peer, peer.makefile("rb") as lines:
        peer.sendall(b'{"jsonrpc":"2.0","id":1,"method":"get_session","params":{"session_id":"cli-1"}}\n')
        assert kept.stop() == 0
        assert json.loads(lines.readline())["result"]["session"]["session_id"] == "cli-1"
        assert lines.readline() == b""

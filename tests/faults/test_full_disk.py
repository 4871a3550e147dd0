"""A disk that is really full: nothing acknowledged is lost, reading goes on, writing goes on afterwards."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import zipfile

import pytest
from peers import syscalls
from peers.chat_exports import CHATGPT
from peers.workload import Client, refusal


def fill(daemon, session_id: str) -> list[str]:
    """Add messages until the daemon says that it cannot; gives those it acknowledged."""
    kept: list[str] = []
    params = {"agent": "a", "session_id": session_id, "role": "user"}
    while True:
        content = f"{len(kept)} " + "x" * 3000
        asked = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "append_message",
            "params": {**params, "content": content},
        }
        answer = daemon.ask(asked)
        if "error" in answer:
            break
        kept.append(content)
    refused = answer["error"]
    assert (refused["code"], refused["data"]["kind"], refused["data"]["retryable"]) == (
        1008,
        "storage_failed",
        True,
    )
    assert str(daemon.home) not in refused["message"]
    return kept


def contents(daemon, session_id: str) -> list[str]:
    return [record["content"] for record in daemon.call("get_session", session_id=session_id)["messages"]]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit(2) is Linux's")
def test_a_file_that_may_not_grow(daemon):
    """RLIMIT_FSIZE: the kernel cuts a write short, then refuses (EFBIG). Needs no rights."""
    session_id = daemon.call("create_session", agent="a")["session_id"]
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (100_000, hard))
    kept = fill(daemon, session_id)
    assert len(kept) > 20
    assert contents(daemon, session_id) == kept
    whole = json.loads((daemon.home / "sessions" / f"{session_id}.json").read_bytes())
    assert [record["content"] for record in whole["messages"]] == kept
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
    daemon.call("append_message", agent="a", session_id=session_id, role="user", content="after")
    assert contents(daemon, session_id) == [*kept, "after"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit(2) is Linux's")
def test_an_import_that_has_no_room_for_temporary_files_says_so(daemon, tmp_path):
    entries = [
        {"type": "user", "sessionId": "s", "uuid": f"{number}", "timestamp": "2026-01-01T00:00:00.000Z"}
        | {"cwd": "/", "message": {"role": "user", "content": "x" * 60_000}}
        for number in range(100)
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, entries)))
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([CHATGPT] * 200))
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (100_000, hard))
    page = daemon.call("import_sessions", path=str(tmp_path / "s.jsonl"), agent="ada")
    [skipped] = page["skipped"]
    assert skipped["reason"] == "it needs a temporary file, which cannot be written: file too large"
    with pytest.raises(pytest.RpcFailed, match="file too large"):
        daemon.call("import_sessions", path=str(tmp_path / "export.zip"), agent="ada")
    assert not list((daemon.home / "temporary").iterdir())
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
    [session] = daemon.call("import_sessions", path=str(tmp_path / "s.jsonl"), agent="ada")["imported"]
    assert session["messages"] == 100
    assert daemon.call("import_sessions", path=str(tmp_path / "export.zip"), agent="ada")["imported"]


@pytest.fixture
def small_disk(tmp_path):
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes Linux and root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "port42-test", str(tmp_path)]
    if (done := subprocess.run(mount, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(small_disk, start_daemon):
    daemon = start_daemon(home=small_disk / "home")
    session_id = daemon.call("create_session", agent="a")["session_id"]
    kept = fill(daemon, session_id)
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("create_session", agent="b", metadata={"a": "x" * 10_000})
    assert refused.value.data["kind"] == "storage_failed"
    assert contents(daemon, session_id) == kept

    assert daemon.stop() == 0
    daemon.start()
    assert contents(daemon, session_id) == kept
    assert daemon.call("get_last_session", agent="a")["message_count"] == len(kept)

    daemon.stop()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    daemon.start()
    daemon.call("append_message", agent="a", session_id=session_id, role="user", content="after")
    assert contents(daemon, session_id) == [*kept, "after"]
    daemon.stop()


def test_every_verb_on_a_full_disk(small_disk, start_daemon):
    """What is refused says that the disk is full; what is acknowledged is there when there is room again."""
    daemon = start_daemon(home=small_disk / "home")
    client, refused = Client("ai-muse"), []
    while len(refused) < 20:
        answer = refusal(client, daemon)
        if answer is not None:
            refused.append((*client.unanswered, answer))
            client.forget()
    for method, params, error in refused:
        assert error.data["kind"] == "storage_failed", (method, params, error)
        assert error.data["retryable"], (method, error)
        assert "space" in str(error), (method, error)
    client.check(daemon.call)
    assert daemon.stop() == 0
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    daemon.start()
    client.check(daemon.call)
    for _ in range(30):
        client.one(daemon.call)
    client.check(daemon.call)
    daemon.stop()


def test_a_stop_ends_though_the_last_write_is_refused(start_daemon, home):
    """A mapping that could not be written is tried again at the stop; the sessions say it all, too."""
    faults = {"calls": ["replace"], "fail": [5], "lasting": True, "error": errno.ENOSPC}
    daemon = start_daemon(python=["-P", syscalls.__file__, json.dumps(faults)])
    for name in ("a", "b"):
        daemon.call("create_session", agent="ai-muse", session_id=name)
    with pytest.raises(pytest.RpcFailed, match="space"):
        daemon.call("update_last_session", agent="ai-muse", session_id="a")
    assert daemon.stop() == 1
    assert daemon.logged("cannot write agent_sessions.json: no space left on device")
    sound = start_daemon()
    assert {row["session_id"] for row in sound.call("list_sessions")["sessions"]} == {"a", "b"}


def test_a_deletion_whose_mapping_is_refused_is_a_deletion(start_daemon, home):
    """Whoever is told of an error would delete it again; after a crash the mapping is corrected."""
    faults = {"calls": ["replace"], "fail": [6], "lasting": True, "error": errno.ENOSPC}
    daemon = start_daemon(python=["-P", syscalls.__file__, json.dumps(faults)])
    for name in ("a", "b"):
        daemon.call("create_session", agent="ai-muse", session_id=name)
    deleted = daemon.call("delete_session", session_id="b")
    assert (deleted["session"]["session_id"], deleted["last_session"]) == ("b", "a")
    assert json.loads((home / "agent_sessions.json").read_text()) == {"ai-muse": "b"}
    daemon.stop(signal.SIGKILL)
    sound = start_daemon()
    assert sound.call("get_last_session", agent="ai-muse")["session_id"] == "a"

"""What another user of the machine may try: none of it reads, changes, stops or blocks anything."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root can be somebody else"
    ),
]
OTHER = 65534

CONNECTS = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
try:
    peer.connect(sys.argv[1])
    peer.sendall(b'{"jsonrpc":"2.0","id":1,"method":"list_sessions"}\\n')
    print(peer.recv(65536).decode() or "closed")
except OSError as error:
    print(type(error).__name__)
"""

LISTENS = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen()
print(flush=True)
print(listener.accept()[0].recv(9999))
"""


def as_other(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, who has no group of ours."""
    return subprocess.run(
        command,
        user=OTHER,
        group=OTHER,
        extra_groups=[],
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def other_python(code: str, *arguments: str) -> str:
    done = as_other("/usr/bin/env", "python3", "-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def kept(daemon):
    """A daemon with something to read, in a folder that others may look into."""
    daemon.call("create_session", agent="ai-muse", session_id="cli-1", title="secret")
    daemon.call("append_message", agent="ai-muse", session_id="cli-1", role="user", content="secret")
    daemon.home.parent.chmod(0o755)
    return daemon


@pytest.mark.parametrize("name", ["port42.sock", "port42-read.sock"])
def test_the_socket_is_closed_to_others(kept, name):
    assert other_python(CONNECTS, str(kept.socket.with_name(name))) == "PermissionError"


@pytest.mark.parametrize("name", ["port42.sock", "port42-read.sock"])
def test_where_the_socket_is_open_the_daemon_looks_who_it_is(kept, name):
    """A mode that somebody loosened, or a file system without modes: the kernel says who connects."""
    path = kept.socket.with_name(name)
    path.chmod(0o777)
    answer = other_python(CONNECTS, str(path))
    assert "secret" not in answer
    assert "cli-1" not in answer
    assert kept.call("list_sessions")["sessions"][0]["session_id"] == "cli-1"


def test_nothing_that_is_kept_can_be_read_or_listed(kept):
    kept.call("rename_session", session_id="cli-1", title="another secret")
    kept.call("delete_session", session_id="cli-1")
    kept.call("check_home")
    # Each file on its own, too: as if somebody had opened the folders above it.
    folders = [kept.home, *(path for path in kept.home.rglob("*") if path.is_dir())]
    for folder in folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
        folder.chmod(0o755)
    for path in kept.home.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert as_other("cat", str(path)).returncode != 0, path
    for folder in folders:
        folder.chmod(0o700)


def test_the_process_cannot_be_signalled_or_looked_into(kept):
    assert as_other("kill", str(kept.pid)).returncode != 0
    for name in ("environ", "mem", "maps"):
        assert as_other("head", "-c1", f"/proc/{kept.pid}/{name}").returncode != 0
    assert kept.call("status")["pid"] == kept.pid


def test_a_folder_that_another_made_is_not_used_as_home(start_daemon, home):
    home.mkdir()
    os.chown(home, OTHER, OTHER)
    with pytest.raises(pytest.CannotStart, match="another user"):
        start_daemon()
    assert list(home.iterdir()) == []


def test_a_folder_that_another_made_is_not_used_for_the_socket(start_daemon, home, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o777)
    os.chown(folder, OTHER, OTHER)
    with pytest.raises(pytest.CannotStart):
        start_daemon(socket=folder / "s")


def test_a_socket_that_another_made_is_not_talked_to(kept, home, process):
    """The command looks whose socket it is before it sends anything."""
    kept.stop()
    fake = home.parent / "fake.sock"
    home.parent.chmod(0o777)
    command = ["/usr/bin/env", "python3", "-c", LISTENS, str(fake)]
    options: dict[str, Any] = {"user": OTHER, "group": OTHER, "extra_groups": [], "cwd": "/"}
    listener = process(
        command, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True, **options
    )
    listener.stdout.readline()
    command = [sys.executable, "-m", "port42_cli", "--socket", str(fake), "possess", "@ai-muse", "a secret"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr
    listener.kill()
    assert "secret" not in listener.stdout.read()


def test_a_link_in_the_place_of_a_file_is_not_followed(start_daemon, home, tmp_path):
    """Somebody who could write into the home once cannot have the daemon write elsewhere."""
    target = tmp_path / "target"
    target.write_text("as it was")
    home.mkdir(mode=0o700)
    (home / "sessions").mkdir(mode=0o700)
    for name in (".agent_sessions.json.new", "sessions/.cli-1.json.new"):
        (home / name).symlink_to(target)
    daemon = start_daemon()
    answer = daemon.ask(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "create_session",
            "params": {"agent": "a", "session_id": "cli-1"},
        }
    )
    assert "result" in answer, json.dumps(answer)
    assert target.read_text() == "as it was"
    assert not Path(home / "sessions" / "cli-1.json").is_symlink()

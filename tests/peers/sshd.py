"""Another machine: OpenSSH's own server on loopback, with keys, a home and a runtime folder of its own.

def test_x(machine):
    machine.host                           # what `--host` is given; `devbox` to ssh
    machine.home                           # PORT42_HOME there; nothing is there yet
    machine.hang_up()                      # ends the connections, as a network does that goes away
    machine.logins()                       # how many connections were authenticated so far

It is skipped where there is no sshd, and as root without the right to make the folder that sshd wants then.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from peers.daemons import stop_daemon_of
from peers.processes import Processes

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_PATIENCE = 30.0


class Machine:
    """`folder` is private and has a short path: sockets are in it."""

    host = "devbox"

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.home = folder, folder / "there"
        self._processes = processes
        self._log = folder / "sshd.log"
        self.port = _free_port()
        for key in ("host", "user", "other"):
            generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(generate, check=True, stdin=subprocess.DEVNULL)
        self.set_host_key("host")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"SetEnv PATH={Path(sys.executable).parent}:/usr/bin:/bin PORT42_HOME={self.home}"
            f" XDG_RUNTIME_DIR={folder}\n"
        )
        (folder / "ssh_config").write_text(
            f"Host devbox other\n  HostName 127.0.0.1\n  Port {self.port}\n"
            f"Host devbox\n  IdentityFile {folder}/user\nHost other\n  IdentityFile {folder}/other\n"
            f"Host *\n  UserKnownHostsFile {folder}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n"  # nobody is asked at the test's terminal
        )
        # ssh looks for its files in the account's folder, whatever HOME says.
        program = folder / "bin" / "ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{shutil.which("ssh")}" -F "{folder}/ssh_config" "$@"\n')
        program.chmod(0o700)
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._sshd = self._processes(
                [SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log, stdout=log
            )
        _until(self._listens, self._log.read_text)

    def hang_up(self) -> None:
        """End the processes that serve connections. What these had started goes on."""
        for pid in _children(self._sshd.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def logins(self) -> int:
        return self._log.read_text().count("Accepted publickey")

    def set_host_key(self, name: str | None) -> None:
        """Have ssh know this host key as the machine's, or none."""
        key = "" if name is None else (self.folder / f"{name}.pub").read_text().rsplit(" ", 1)[0]
        (self.folder / "known_hosts").write_text(key and f"[127.0.0.1]:{self.port} {key}\n")

    def sockets(self) -> list[Path]:
        """Those of ssh's connections that are shared."""
        return [path for path in (self.folder / "port42").glob("ssh-*") if path.is_socket()]

    def end(self) -> None:
        for path in self.sockets():
            leave = ["ssh", "-F", "none", "-S", str(path), "-O", "exit", "x"]
            subprocess.run(leave, check=False, capture_output=True)
        self.hang_up()
        stop_daemon_of(self.home)

    def _listens(self) -> bool:
        with closing(socket.socket()) as peer:
            return peer.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def machine(home: Path, process: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Another machine. What this one starts has its ssh in front of PATH, and a runtime folder of its own."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server here (Debian: openssh-server): nothing was tried over ssh")
    if os.geteuid() == 0:
        try:  # it stays, for sshds of other tests at the same time
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            pytest.skip(f"as root sshd wants {_PRIVILEGE_SEPARATION}, which cannot be made: {error.strerror}")
    folder = home.parent
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    there = Machine(folder, process)
    yield there
    there.end()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True)
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _until(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)

"""Where the daemon is, and how one comes to be there: found, or started once however many ask.

`NoDaemon` is the only exception that leaves, with the reason a person can act on.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from port42_client.dial import dial
from port42_client.errors import NoDaemon
from port42_protocol import paths
from port42_protocol.version import __version__

if TYPE_CHECKING:
    import socket
    import subprocess

    from port42_protocol.messages.types import StartedBy

START_TIMEOUT = 30.0
"""Seconds for a daemon to become ready; it waits up to 20 of them for a predecessor to stop."""


class Daemon:
    """The daemon of one home. `address` is ``--socket``, None where it was not given."""

    def __init__(self, address: str | None, environ: Mapping[str, str]) -> None:
        self.home = paths.home(environ)
        self._environ = environ
        self._option = address
        self._named = str(Path(address).absolute()) if address else environ.get("PORT42_SOCKET")

    def connect(self) -> socket.socket:
        """A connection to the daemon, which is started first when there is none, or an older one."""
        may_start = not self._environ.get("PORT42_NO_AUTOSTART")
        if connection := self.find():
            noted = self.noted()
            same = noted.get("version", __version__) == __version__
            # The note speaks of the home's daemon; what was dialled may be another one.
            if same or noted.get("socket") != connection.getpeername():
                return connection
            from port42_client import upgrade

            return upgrade.meet(self, connection, noted, may_start=may_start)
        if not may_start:
            raise NoDaemon(
                f"no daemon answers at {self.address()}, and PORT42_NO_AUTOSTART forbids starting"
                " one; `port42 daemon start` does"
            )
        return self.start()

    def find(self) -> socket.socket | None:
        """A connection to the daemon if there is one."""
        for candidate in self._candidates():
            if connection := _dial(candidate):
                return connection
        return None

    def existing(self) -> socket.socket:
        """A connection to the daemon that is there already."""
        if connection := self.find():
            return connection
        raise NoDaemon(f"no daemon answers at {self.address()}")

    def start(self, started_by: StartedBy = "autostart") -> socket.socket:
        """A connection to the daemon that was started, by us or by whoever asked first."""
        with self.start_lock():
            if connection := self.find():
                return connection
            self.spawn(started_by)
            if connection := self.find():
                return connection
        raise NoDaemon(f"port42d said that it is ready, but nothing listens at {self.address()}")

    def noted(self) -> dict[str, Any]:
        """What ``daemon.json`` says. A daemon that was killed leaves it behind; dialling tells."""
        try:
            said = json.loads(paths.address_file(self.home).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}

    def address(self) -> str:
        """The socket path that a daemon of ours listens at, or would."""
        if self._named:
            return _short_enough(str(Path(self._named).absolute()))
        try:
            with warnings.catch_warnings():
                # platformdirs warns when it falls back to the temporary folder, which it checks.
                warnings.simplefilter("ignore")
                return _short_enough(str(paths.socket(self._environ)))
        except OSError as error:
            raise NoDaemon(
                f"no safe folder for the socket: {error.strerror or error};"
                " --socket PATH or PORT42_SOCKET can name one"
            ) from None

    def typed(self) -> str:
        """How ``port42`` is typed so that it reaches this daemon."""
        if self._option is None:
            return "port42"
        from shlex import quote

        return f"port42 --socket {quote(self._option)}"

    def command(self, *, named: bool = False) -> list[str]:
        """The argv of a daemon in the foreground; with `named`, told its socket in any case."""
        # -P: a module of that name in the current folder must not be taken for the daemon.
        argv = [sys.executable, "-P", "-m", "port42_daemon", "--home", str(self.home)]
        return [*argv, "--socket", self.address()] if named or self._named else argv

    def _candidates(self) -> Iterator[str]:
        """Where to look, in order.

        A named address goes first. Without one the home's own note does: it names the daemon of
        this home whatever the runtime folder is in this terminal, and costs no platformdirs.
        """
        if self._named:
            yield self.address()
        noted = self.noted().get("socket")
        if isinstance(noted, str) and "\0" not in noted:
            yield noted
        if not self._named and (usual := self.address()) != noted:
            yield usual

    @contextmanager
    def start_lock(self) -> Iterator[None]:
        """Held from the last look to the new daemon's readiness: parallel commands start one.

        Who holds it may be sure that no command starts a daemon meanwhile.
        """
        import fcntl

        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise NoDaemon(f"Port42's home must be a folder, and {self.home} is not") from None
        except OSError as error:
            raise NoDaemon(f"cannot use {self.home} as Port42's home: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def spawn(self, started_by: StartedBy, address: str | None = None) -> None:
        """Start port42d in a session of its own and wait until it says ``ready``.

        `address`, where it is to listen, is the usual one unless told otherwise. The start lock is held.
        """
        import subprocess

        log = paths.log_file(self.home)
        argv = [*self.command(named=True), "--started-by", started_by, "--log-file", str(log)]
        if address is not None:
            argv += ["--socket", address]  # of two the last one counts
        said, says = os.pipe()
        try:
            # Its stderr is the log too: a daemon that cannot even be imported says why there.
            trouble = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                process = subprocess.Popen(
                    [*argv, "--ready-fd", str(says)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=trouble,
                    pass_fds=[says],
                    cwd=self.home,  # the caller's folder may be unmounted; the home stays
                    start_new_session=True,
                )
            finally:
                os.close(trouble)
            os.close(says)
            says = -1
            _await_ready(process, said, log)
        except OSError as error:
            raise NoDaemon(f"cannot start port42d: {error.strerror or error}") from None
        finally:
            os.close(said)
            if says >= 0:
                os.close(says)


def _dial(address: str) -> socket.socket | None:
    """A connection, or None when nobody listens there."""
    try:
        return dial(_short_enough(address))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise NoDaemon(f"cannot connect to {address}: {error.strerror or error}") from None


def _short_enough(address: str) -> str:
    length = len(os.fsencode(address))
    if length > paths.SOCKET_PATH_LIMIT:
        raise NoDaemon(
            f"the socket path has {length} bytes and may have at most {paths.SOCKET_PATH_LIMIT}:"
            f" {address}; --socket PATH or PORT42_SOCKET can name a shorter one"
        )
    return address


def _await_ready(process: subprocess.Popen[bytes], said: int, log: Path) -> None:
    """Read the new daemon's one line, ``ready`` or ``error: …``. Raises `NoDaemon` with its reason."""
    import select
    import time

    words = b""
    deadline = time.monotonic() + START_TIMEOUT
    while not words.endswith(b"\n"):
        readable, _, _ = select.select([said], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            process.terminate()
            process.wait()
            raise NoDaemon(f"port42d was not ready within {START_TIMEOUT:.0f} s; {log} says more")
        if not (data := os.read(said, 4096)):
            code = process.wait()
            raise NoDaemon(f"port42d ended (code {code}) before it was ready; {log} says more")
        words += data
    reason = words.decode(errors="replace").strip()
    if reason != "ready":
        process.wait()
        raise NoDaemon(f"port42d could not start: {reason.removeprefix('error: ')}")
    # It outlives this command on purpose: without a return code, Popen warns when it is collected.
    process.returncode = 0

"""The daemon of another machine, through a child process that runs ``port42 dial-stdio`` there.

docs/hosts.md has what a person sees of it; docs/decisions has why it is built so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from shlex import quote

from port42_client import ssh, version
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import ConnectionLost, NoDaemon
from port42_client.hosts import Host, host
from port42_client.ssh import Unreachable
from port42_client.wire import JsonObject
from port42_protocol import PROTOCOL_VERSION

_PATIENCE = 5.0
"""Seconds for a child process to exit once its stdout was closed, or it was told to."""

_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to connect again; the last one is repeated."""

_LINE_LIMIT = 65536
_LINES_KEPT = 20


class RemoteDaemon(Daemon):
    """The daemon of the machine `name`. Its process can only be looked after there: `app.LOCAL` has the
    commands that do so, and for which this class is not made."""

    def __init__(
        self, name: str, environ: Mapping[str, str], notice: Callable[[str], None] = lambda _: None
    ) -> None:
        """Raises `BadInput`."""
        super().__init__(None, environ, notice)
        self.host = name
        self._there = host(name, self._home)
        self._may_start = not environ.get("PORT42_NO_AUTOSTART")

    def client(self, connect: Callable[[], socket.socket] | None = None) -> Client:
        return Client(connect or self.connect, self.notice, host=self.host)

    def connect(self) -> socket.socket:
        return self._reach(*(() if self._may_start else ("--no-start",)))

    def existing(self) -> socket.socket:
        return self._reach("--no-start")

    def find(self) -> socket.socket:
        return self.existing()

    def connect_for_reading(self) -> socket.socket:
        return self._reach("--read")

    def await_next(self) -> None:
        """Wait until the machine can be reached and a daemon answers there, without starting one."""
        self.notice(f"The connection to {self.host} ended. Trying again.")
        pauses = iter(_PAUSES)
        pause = 0.0
        while True:
            try:
                with self.client(self.existing) as client:
                    client.ask("status")
            except (Unreachable, ConnectionLost, NoDaemonThere):
                pause = next(pauses, pause)
                time.sleep(pause)
            else:
                return

    def typed(self) -> str:
        return f"port42 --host {quote(str(self.host))}"

    def is_near(self) -> bool:
        """Whether a connection would be made at once, and without asking a person for anything."""
        return self._there.address is None or ssh.is_shared(self._there.address)

    def _reach(self, *options: str) -> RemoteConnection:
        config, address = self._there.config, self._there.address
        words = ["dial-stdio", "--json", "--protocol", str(PROTOCOL_VERSION), *options]
        words += ["--home", config.home] if config.home else []
        if address is None:
            assert config.command is not None  # noqa: S101 - tells mypy what `host` saw to
            return RemoteConnection([*config.command, config.program, *words], self._there, self.notice)
        # The shell there is to expand the tilde, and nothing else.
        tilde = "~/" * config.program.startswith("~/")
        typed = " ".join([tilde + quote(config.program.removeprefix(tilde)), *map(quote, words)])
        argv = ssh.command(self._there.name, address, self.notice)
        return RemoteConnection([*argv, typed], self._there, self.notice)


class NoDaemonThere(NoDaemon):
    """The machine was reached, and ``port42 dial-stdio`` there found no daemon, or could start none."""


class RemoteConnection(socket.socket):
    """A socket whose other end is the stdin and stdout of a program that leads to a daemon elsewhere.

    `recv` raises `NoDaemon` with the reason when the program failed. `close` ends the program.
    """

    def __init__(self, argv: list[str], there: Host, notice: Callable[[str], None]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # In a session of its own: a Ctrl-C is for this command, which then asks for the turn's end.
                self._program = subprocess.Popen(
                    argv,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    # A command of [hosts.NAME] may pass it on, and would be run again there, without an end.
                    env={name: value for name, value in os.environ.items() if name != "PORT42_HOST"},
                )
            except OSError as error:
                ours.close()
                raise NoDaemon(f"cannot start {argv[0]} to reach {there.name}: {error.strerror}") from None
        super().__init__(fileno=ours.detach())
        self._there = there
        self._received = False
        self._notice = notice
        self._closing = False
        self._report = _Report(self._program, there.name, notice)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        try:
            data = super().recv(size, flags)
        except ConnectionResetError:
            data = b""
        if data:
            self._received = True
        elif size:
            self._check_end()
        return data

    def close(self) -> None:
        super().close()
        if self._closing:
            return
        self._closing = True
        with suppress(ProcessLookupError):  # its own children, too, which may be what leads there
            if self._program.poll() is None:
                os.killpg(self._program.pid, signal.SIGTERM)
        self._wait()
        self._report.close()

    def _wait(self) -> int:
        try:
            return self._program.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._program.kill()
            return self._program.wait()

    def _check_end(self) -> None:
        """Raises the reason why the program failed, if it did: otherwise the daemon there hung up."""
        code = self._wait()
        self._report.wait()
        name, report = self._there.name, self._report
        if report.refusal is not None:
            raise report.refusal
        if code == 0:
            return
        if self._received or report.reached:
            raise ConnectionLost(name)
        text = report.text()
        if self._there.address is not None and code == 255:
            if reason := ssh.failure(name, text):
                raise reason
            # The shared connection was dead; with the next one a request that does no harm is sent again.
            self._notice(f"The connection to {name} was lost.")
            return
        raise self._failed(code, text)

    def _failed(self, code: int, text: str) -> NoDaemon:
        name, program = self._there.name, self._there.config.program
        if code in {126, 127} or "not found" in text:
            advice = (
                f"  ssh may not look where your shell does: [hosts.{name}] can name its path, as program."
            )
            return NoDaemon(f"{program} was not found on {name}", advice)
        if "No such command" in text:
            return NoDaemon(f"port42 on {name} is too old for --host: update port42 there")
        return NoDaemon(f"{program} on {name} ended (code {code}): {ssh.last_line(text)}")


class _Report:
    """What a program writes to stderr: JSON objects of ``dial-stdio``, and words of ssh and of shells.

    Read by a thread of its own, which passes notices on when they come. `refusal` is why the daemon there
    is not to be used, `reached` whether there is one; both are final once `wait` returned.
    """

    def __init__(self, program: subprocess.Popen[bytes], name: str, notice: Callable[[str], None]) -> None:
        assert program.stderr is not None  # noqa: S101 - tells mypy how it was started
        self.refusal: NoDaemon | None = None
        self.reached = False
        self._stderr = program.stderr
        self._name = name
        self._notice = notice
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(_PATIENCE)

    def text(self) -> str:
        return "\n".join(self._lines)

    def close(self) -> None:
        self.wait()
        if not self._thread.is_alive():
            self._stderr.close()

    def _read(self) -> None:
        while line := self._stderr.readline(_LINE_LIMIT):
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict) and "port42" in message:
                self._take(message)
            else:
                self._lines.append(line.decode(errors="replace").strip())

    def _take(self, message: JsonObject) -> None:
        kind, text = message["port42"], str(message.get("text"))
        if kind == "notice":
            self._notice(f"{self._name}: {text}")
        elif kind == "error":
            advice = message.get("advice")
            self.refusal = NoDaemonThere(
                f"on {self._name}: {text}", *map(str, advice if isinstance(advice, list) else ())
            )
        elif kind == "reached":
            self._compare(message.get("version"), message.get("protocol_version"))

    def _compare(self, theirs: object, protocol: object) -> None:
        self.reached = True
        if not isinstance(theirs, str):
            return
        told = f"{version.told_apart(theirs)}: {version.remedy(theirs, None, self._name)}"
        if protocol != PROTOCOL_VERSION:
            self.refusal = NoDaemon(
                f"{told}, which speaks version {PROTOCOL_VERSION} of the protocol and not {protocol}"
            )
        elif version.compared(theirs) == "older":
            self._notice(told)

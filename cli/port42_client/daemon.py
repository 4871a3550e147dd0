"""Finds the daemon, starts it (once, however many commands ask), and replaces an older one.

Raises `NoDaemon` only, with advice for the user, except in `holder`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from port42_client.client import Client
from port42_client.dial import dial, short_enough
from port42_client.errors import NoDaemon, Refused
from port42_client.silence import PATIENCE, SLOW
from port42_protocol import PROTOCOL_VERSION, __version__, paths

# pathlib is imported where a daemon is started: one that runs is found without it (3 ms of start-up).
if TYPE_CHECKING:
    from pathlib import Path

    from port42_client.process import Running
    from port42_protocol.messages.types import StartedBy

START_PATIENCE = 40.0
"""Seconds that another command may take to start the daemon, which itself may take 30."""

STARTS = 3
"""How often a command starts a daemon that others stop before or once it is ready, as a restart may."""

_OPEN = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW

REBIND_TIMEOUT = 3.0
"""Seconds for a daemon to bind its socket's path anew."""

LOOK_EVERY = 0.25
"""Seconds between two looks for a daemon that others are to start."""


class Note(NamedTuple):
    """The valid fields of ``daemon.json``, None for others. A killed daemon leaves it behind."""

    pid: int | None = None
    socket: str | None = None
    version: str | None = None
    protocol_version: int = 1
    started_by: str | None = None


class Daemon:
    """The daemon of one home. `address` is ``--socket``, None where it was not given.

    `notice` is told what a person should know meanwhile.
    """

    host: str | None = None
    """The machine it is on, None for this one: see `remote.RemoteDaemon`."""

    def __init__(
        self,
        address: str | None,
        environ: Mapping[str, str],
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.notice = notice
        self._environ = environ
        self._option = address
        self._rebound = False
        named = address or environ.get("PORT42_SOCKET")
        self._named = paths.absolute(named) if named else None
        self._home = paths.home_folder(environ)

    @property
    def home(self) -> Path:
        return paths.home(self._environ)

    @property
    def named(self) -> str | None:
        """The socket's path where ``--socket`` or ``PORT42_SOCKET`` named one."""
        return self._named

    def client(self, connect: Callable[[], socket.socket] | None = None) -> Client:
        """A client that calls `connect` where it needs a connection, else `Daemon.connect`."""
        return Client(connect or self.connect, self.notice)

    def connect(self) -> socket.socket:
        """A connection to the daemon, which is started first when there is none, or an older one."""
        may_start = not self._environ.get("PORT42_NO_AUTOSTART")
        if connection := self.find():
            note = self.note()
            # The note speaks of the home's daemon; what was dialled may be another one.
            if note.version in {None, __version__} or note.socket != connection.getpeername():
                return connection
            return self._suitable(connection, note, may_start=may_start)
        if not may_start:
            forbidden = "PORT42_NO_AUTOSTART forbids starting one; `port42 daemon start` does"
            raise NoDaemon(f"no daemon answers at {self.address()}, and {forbidden}")
        return self.start()

    def find(self) -> socket.socket | None:
        for candidate in self._candidates():
            try:
                return dial(short_enough(candidate), self.notice)
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            except OSError as error:
                raise NoDaemon(f"cannot connect to {candidate}: {error.strerror or error}") from None
        return self._find_rebound()

    def connect_for_reading(self) -> socket.socket:
        """A connection to the daemon's socket for reading; the daemon is started first when there is none.

        Where that socket is there, the other one is not touched: a sandbox may have this one alone.
        """
        for candidate in self._candidates():
            try:
                return dial(short_enough(paths.read_socket(candidate)), self.notice)
            except (FileNotFoundError, ConnectionRefusedError):
                continue
            except OSError as error:
                path = paths.read_socket(candidate)
                raise NoDaemon(f"cannot connect to {path}: {error.strerror or error}") from None
        # Its answer also tells that a daemon has started for which clients wait in systemd's queue.
        with self.client() as client:
            path = client.ask("status").get("read_socket")
        if path is None:
            raise NoDaemon(
                "the daemon does not listen for reading",
                "  `port42 daemon restart` starts one that does; `port42 daemon logs` says why one does not",
            )
        try:
            return dial(path, self.notice)
        except OSError as error:
            raise NoDaemon(f"cannot connect to {path}: {error.strerror or error}") from None

    def _find_rebound(self) -> socket.socket | None:
        """A connection to a daemon whose socket was removed: on SIGHUP it binds the path again."""
        path = self.note().socket
        if path is None or self._rebound or os.path.lexists(path):
            return None
        import signal
        import time

        from port42_client import process

        lock = paths.lock_file(self.home)
        pid = process.lock_holder(lock) or self.note().pid
        if pid is None or not process.is_locked(lock) or not process.is_daemon(pid):
            return None
        self._rebound = True
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + REBIND_TIMEOUT
        while time.monotonic() < deadline:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                return dial(path, self.notice)
            time.sleep(0.02)  # no system call tells when a path is bound
        return None

    def listens(self) -> bool:
        if connection := self.find():
            connection.close()
        return connection is not None

    def existing(self) -> socket.socket:
        if connection := self.find():
            return connection
        raise NoDaemon(f"no daemon answers at {self.address()}")

    def await_next(self) -> None:
        """Wait until a daemon listens, without starting one, because the last one was stopped. Polls."""
        import time

        self.notice("The daemon went away. Waiting for the next one.")
        while not self.listens():
            time.sleep(LOOK_EVERY)

    def start(self, started_by: StartedBy = "autostart") -> socket.socket:
        """A connection to the daemon that was started, by us or by whoever asked first."""
        from port42_client.process import StoppedEarly

        stopped = None
        with self.start_lock():
            if connection := self.find():
                return connection
            for _ in range(STARTS):
                try:
                    self._spawn(started_by)
                except StoppedEarly as error:
                    stopped = error
                if connection := self.find():
                    return connection
        raise stopped or NoDaemon(f"port42d said that it is ready, but nothing listens at {self.address()}")

    def running(self, patience: float = PATIENCE) -> Running | None:
        """The daemon's status; None when there is none, or it has just stopped."""
        from port42_client import process

        if not self.listens():
            return None
        try:
            return process.ask(self.existing, self.notice, patience)
        except NoDaemon:
            if not self.listens():
                return None
            raise

    def holder(self) -> tuple[int, Path] | None:
        """The pid and home of the daemon that answers, else of the one that holds this home's lock.

        Raises `Refused` where the lock is held by a process that cannot be seen from here.
        """
        from port42_client import process

        with suppress(NoDaemon):  # one that hangs, or went meanwhile: the lock tells
            if running := self.running(SLOW):
                return running.pid, paths.home({"PORT42_HOME": running.home})
        lock = paths.lock_file(self.home)
        if self.owner() is not None or not process.is_locked(lock):
            return None
        if pid := process.lock_holder(lock):
            return pid, self.home
        if (pid := self.note().pid) and process.is_daemon(pid):
            return pid, self.home
        raise Refused(f"the process that holds {lock} is not in this machine's view (a container's?)")

    def note(self) -> Note:
        """The contents of ``daemon.json``, which may be outdated."""
        if self.owner() is not None:
            return Note()
        try:
            # A pipe in its place must not block this command, nor a link lead it elsewhere.
            file = os.open(os.path.join(self._home, paths.ADDRESS_FILE), _OPEN)
            try:
                content = json.loads(os.read(file, 65536))
            finally:
                os.close(file)
        except (OSError, ValueError, RecursionError):
            return Note()
        return _note(content) if isinstance(content, dict) else Note()

    def owner(self) -> str | None:
        """The name of the other user whose home this is, or would become; None when it is ours."""
        folder = self._home
        if os.geteuid() == 0 and not self._environ.get("PORT42_HOME") and not os.path.lexists(folder):
            # sudo can keep HOME: root would make a home there that its person cannot use.
            folder = os.path.dirname(folder)  # noqa: PTH120 - see the imports
        try:
            uid = os.stat(folder).st_uid  # noqa: PTH116 - see the imports
        except OSError:
            return None
        if uid == os.geteuid():
            return None
        import pwd

        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"uid {uid}"

    def address(self) -> str:
        """The socket path that a daemon of ours listens at, or would."""
        if self._named:
            return short_enough(self._named)
        try:
            with warnings.catch_warnings():
                # platformdirs warns when it falls back to the temporary folder, which it checks.
                warnings.simplefilter("ignore")
                return short_enough(str(paths.socket(self._environ)))
        except OSError as error:
            why = f"no safe folder for the socket: {error.strerror or error}"
            raise NoDaemon(f"{why}; --socket PATH or PORT42_SOCKET can name one") from None

    def typed(self) -> str:
        """The ``port42`` command line that reaches this daemon."""
        if self._option is None:
            return "port42"
        from shlex import quote

        return f"port42 --socket {quote(self._option)}"

    def command(self, *, named: bool = False) -> list[str]:
        """The argv of a daemon in the foreground; with `named`, it has --socket in any case."""
        # -P: a module of that name in the current folder must not be taken for the daemon. -E: nor must one
        # terminal's PYTHONPATH, PYTHONWARNINGS and the like change it, unless this command was found by
        # PYTHONPATH itself.
        ours = os.path.abspath(__file__).rpartition("/port42_client/")[0]  # noqa: PTH100 - see the imports
        found_by_path = ours in self._environ.get("PYTHONPATH", "").split(os.pathsep)
        flags = ["-P"] if found_by_path else ["-E", "-P"]
        argv = [sys.executable, *flags, "-m", "port42_daemon", "--home", str(self.home)]
        return [*argv, "--socket", self.address()] if named or self._named else argv

    @contextmanager
    def start_lock(self) -> Iterator[None]:
        """Held until a new daemon is ready; no command starts one meanwhile."""
        import fcntl

        if owner := self.owner():
            whose = f"{self.home} belongs to {owner} and not to who runs this command"
            advice = f"  To use it: run port42 as {owner}, without sudo. PORT42_HOME names another home."
            raise NoDaemon(f"{whose}; nothing in it was opened", advice)
        try:
            if paths.is_shared(self.home):
                why = "which is closed to others: others need that folder"
                advice = "  PORT42_HOME names one of its own."
                raise NoDaemon(f"{self.home} cannot be Port42's home, {why}", advice)
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
        except FileExistsError:
            raise NoDaemon(f"Port42's home must be a folder, and {self.home} is not") from None
        except OSError as error:
            what = "start.lock: " if str(error.filename).endswith("start.lock") else ""
            raise NoDaemon(f"cannot use {self.home} as Port42's home: {what}{error.strerror}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._await_starter(lock)
            yield
        finally:
            os.close(lock)

    def _await_starter(self, lock: int) -> None:
        """Take the start lock after the command that holds it; that one may have been suspended."""
        import fcntl

        from port42_client import process

        path = self.home / "start.lock"
        holder = process.lock_holder(path)
        who = f"pid {holder}" if holder else f"`fuser {path}` names it"
        waiting = f"Waiting for another command ({who}) that is starting port42d."
        if not process.wait_for_lock(lock, fcntl.LOCK_EX, START_PATIENCE, lambda: self.notice(waiting)):
            raise NoDaemon(f"another command ({who}) has been starting port42d for {START_PATIENCE:.0f} s")

    def _candidates(self) -> Iterator[str]:
        """Addresses to try, in order: a named one, the note's, the usual one.

        The note names the daemon of this home whatever this terminal's runtime folder is, and costs no
        platformdirs.
        """
        if self._named:
            yield self.address()
        if noted := self.note().socket:
            yield noted
        if not self._named and (usual := self.address()) != noted:
            yield usual

    def _spawn(self, started_by: StartedBy, address: str | None = None) -> None:
        """Start port42d at `address`, the usual one unless told otherwise. The start lock is held."""
        from port42_client import process

        log = paths.log_file(self.home)
        argv = [*self.command(named=True), "--started-by", started_by, "--log-file", str(log)]
        if address is not None:
            argv += ["--socket", address]  # of two the last one counts
        process.spawn(argv, log, self.notice)

    def _suitable(self, connection: socket.socket, note: Note, *, may_start: bool) -> socket.socket:
        """The connection to use, where the daemon behind `connection` is of another version."""
        from port42_client import version

        theirs = str(note.version)
        older = version.compared(theirs) == "older"
        if older and may_start and note.started_by == "autostart":
            return self._replaced(connection, note)
        told = f"{version.told_apart(theirs)}: {version.remedy(theirs, note.started_by)}"
        if older:
            self.notice(told)
        elif note.protocol_version != PROTOCOL_VERSION:
            connection.close()
            spoken = f"version {PROTOCOL_VERSION} of the protocol and not {note.protocol_version}"
            raise NoDaemon(f"{told}, which speaks {spoken}")
        return connection

    def _replaced(self, connection: socket.socket, note: Note) -> socket.socket:
        """A connection to this version's daemon, which replaces an idle older one; else `connection`.

        Other commands meanwhile wait for the start lock, or are told that the old daemon is stopping and ask
        again. docs/decisions/0018 has the rules.
        """
        from port42_client import process, version

        with self.start_lock():
            if self.note() == note and (running := self.running()):
                if (running.pid, running.version) != (note.pid, note.version):
                    return connection
                if running.turns:
                    if note.protocol_version != PROTOCOL_VERSION:
                        told = version.told_apart(running.version)
                        self.notice(f"{told} and has a turn under way: it is replaced when it has none")
                    return connection
                connection.close()
                process.stop(running.pid, self.home, self.notice)
                self._spawn("autostart", note.socket)
                self.notice(f"port42d {running.version} → {__version__}")
                return self.existing()
        # Another command was faster, or it ended by itself: this connects to another daemon.
        connection.close()
        return self.connect()


def _note(content: Mapping[str, Any]) -> Note:
    pid, address, version = content.get("pid"), content.get("socket"), content.get("version")
    protocol, started_by = content.get("protocol_version"), content.get("started_by")
    return Note(
        pid=pid if isinstance(pid, int) and 0 < pid < 2**31 else None,
        socket=address if isinstance(address, str) and "\0" not in address else None,
        version=version if isinstance(version, str) else None,
        protocol_version=protocol if isinstance(protocol, int) else 1,
        started_by=started_by if isinstance(started_by, str) else None,
    )

"""A real systemd user manager for a test: an ordinary user's, isolated from this machine.

manager.write("port42.service", text)              # a unit of the user's
manager.systemctl("start", "port42.socket")        # `systemctl --user …`; it must succeed
manager.run("port42", "status", "--json").stdout   # anything else, as that user; the same
manager.run("false", check=False).returncode
manager.spawn(sys.executable, "-c", …)             # a Popen, likewise
manager.home, manager.runtime                      # the user's folders; `runtime` is seen inside only
manager.log()                                      # what services wrote to stdout and stderr
manager.said()                                     # why it could not start, if so; it keeps no journal

Whatever runs inside is the user's: its own pid, mount and cgroup namespaces, a private /run, the Python
that runs the tests and what is installed in it (also where that is below root's home).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from peers.processes import Child, Processes

UID = 4242
_SCRIPT = Path(__file__).with_name("user-manager.sh")
_NEEDED = ("systemctl", "unshare", "nsenter", "setpriv")
_WITHIN = 30.0


class CannotRun(Exception):
    """Why there can be no user manager on this machine."""


class UserManager:
    """The manager that runs, and what can be done as its user."""

    def __init__(self, work: Path, first: int, process: Processes) -> None:
        self.home = work / "home"
        self.runtime = Path(f"/run/user/{UID}")
        self._work, self._first, self._process = work, first, process
        # There is no journal here, and what a service says would be lost.
        log = f"[Service]\nStandardOutput=append:{self.home}/log\nStandardError=append:{self.home}/log\n"
        self.write("service.d/log.conf", log)

    def write(self, name: str, text: str) -> Path:
        """A file in the user's folder of units, theirs; `name` may be ``x.service.d/y.conf``."""
        path = self.home / ".config/systemd/user" / name
        self.own_folder(path.parent)
        path.write_text(text)
        os.chown(path, UID, UID)
        return path

    def own_folder(self, path: Path) -> Path:
        """A folder of the user's, 0700, with those above it."""
        if not path.exists():
            self.own_folder(path.parent)
            path.mkdir(mode=0o700)
            os.chown(path, UID, UID)
        return path

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What `systemctl --user` says on stdout."""
        return self.run("systemctl", "--user", *arguments, check=check).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def run(self, *command: str, check: bool = True, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end; where it fails and must not, the AssertionError has its stderr."""
        how = {"capture_output": True, "text": True, "timeout": _WITHIN, "env": {}} | how
        done = subprocess.run(self._inside(command, how.pop("env")), check=False, **how)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}{self.said()}"
        return done

    def spawn(self, *command: str, **how: Any) -> Child:
        """Start `command`. It ends with the manager at the latest."""
        how = {"text": True, "stdout": subprocess.PIPE, "env": {}} | how
        return self._process(self._inside(command, how.pop("env")), **how)

    def log(self) -> str:
        """What the services wrote so far."""
        path = self.home / "log"
        return path.read_text() if path.exists() else ""

    def said(self) -> str:
        """What the manager wrote to stderr: little, once it runs."""
        return (self._work / "said").read_text(errors="replace")

    def until(self, met: Callable[[], Any], within: float = _WITHIN) -> Any:
        """The first thing `met` returns that is true; fails when there is none in time."""
        deadline = time.monotonic() + within
        while not (result := met()):
            assert time.monotonic() < deadline, f"not in time; the manager said:\n{self.said()}{self.log()}"
            time.sleep(0.02)  # polling: these are another process's doings
        return result

    def _inside(self, command: tuple[str, ...], env: dict[str, str]) -> list[str]:
        user = f"--reuid={UID} --regid={UID} --clear-groups --inh-caps=-all --reset-env".split()
        given = {
            "HOME": str(self.home),
            "USER": "tester",
            "LOGNAME": "tester",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "SYSTEMD_COLORS": "0",
            "SYSTEMD_PAGER": "",
        } | env
        enter = ["nsenter", f"--target={self._first}", "--mount", "--pid", "--cgroup", "--ipc", "--uts"]
        settings = [f"{name}={value}" for name, value in given.items()]
        return [*enter, "setpriv", *user, "env", f"--chdir={self.home}", *settings, *command]


@contextlib.contextmanager
def running() -> Iterator[UserManager]:
    """A manager for as long as the block runs. Raises `CannotRun`."""
    group = _own_cgroup()
    try:
        group.mkdir()
    except OSError as error:
        raise CannotRun(f"no cgroup can be made here: {error.strerror}") from None
    work = Path(tempfile.mkdtemp(prefix="p42-", dir="/tmp"))
    work.chmod(0o755)
    try:
        with _process(work, group) as first, Processes() as process:
            manager = UserManager(work, first, process)
            manager.systemctl("is-system-running", "--wait", check=False)
            _see_to_python(manager)
            yield manager
    finally:
        _remove(group)
        shutil.rmtree(work)


@contextlib.contextmanager
def _process(work: Path, group: Path) -> Iterator[int]:
    """The script, and the pid of the first process inside."""
    command = [_SCRIPT, str(UID), work, group, *_folders_of_python()]
    pipe = subprocess.PIPE
    with Processes() as process:
        script = process(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        if script.stdout.readline() != "ready\n":
            raise CannotRun(f"a user manager cannot be started here: {script.communicate()[1].strip()}")
        yield int(Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text())
        script.communicate(timeout=_WITHIN)  # closes its stdin, which ends it


def _own_cgroup() -> Path:
    """A name for a cgroup of our own, below the one this process is in."""
    if os.geteuid() != 0:
        raise CannotRun("only root can give a user manager namespaces of its own")
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        raise CannotRun(f"there is no {', '.join(missing)} here")
    if not Path("/usr/lib/systemd/systemd").exists():
        raise CannotRun("there is no systemd here")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    if not roots:
        raise CannotRun("no cgroup2 is mounted here")
    # cgroups(7): the line of version 2 begins with "0::".
    (own,) = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"]
    return roots[0] / own.lstrip("/") / f"user-manager-{os.getpid()}-{time.monotonic_ns()}"


def _folders_of_python() -> list[str]:
    """What the user must be able to read to run the Python that runs the tests, and the project in it."""
    import port42_daemon

    sources = Path(port42_daemon.__file__).resolve().parents[2]  # where it is installed editable
    folders = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), sources}
    outermost = [
        folder for folder in folders if not any(folder.is_relative_to(other) for other in folders - {folder})
    ]
    return sorted(map(str, outermost))


def _see_to_python(manager: UserManager) -> None:
    done = manager.run(sys.executable, "-c", "import port42_daemon.main", check=False)
    if done.returncode:
        raise CannotRun(f"an ordinary user cannot use {sys.executable}: {done.stderr.strip()}")


def _remove(group: Path) -> None:
    """The processes in it were killed; the kernel may take a moment to see them out."""
    deadline = time.monotonic() + 5
    while group.exists():
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{group} still has processes in it")
        time.sleep(0.01)  # polling: nothing tells of a cgroup's end

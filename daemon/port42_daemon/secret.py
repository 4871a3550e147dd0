"""Secrets that `config.toml` names and never holds: in the environment, a file of ours alone, the keyring."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from port42_daemon import durable

_OUTLIVES = (
    ": a variable exported after the daemon's start never reaches it,"
    " so stop the daemon and start it where the variable is set"
)
"""Why a variable that the person's shell has is not there."""

_BYTES = 16 * 1024
KEYRING_WITHIN = 20.0
"""Seconds: a locked keyring asks the person for its password first."""
_asking: dict[tuple[str, ...], asyncio.Task[subprocess.CompletedProcess[bytes] | None]] = {}
"""What the keyring is asked for now, by the command: several that want the same wait for one answer."""


class Unusable(Exception):
    """The secret cannot be read; the text says what to do, and has none of it."""


class Source(NamedTuple):
    """Where a secret is: at most one of three. `kind` begins the names of the settings (``api_key``_env)."""

    kind: str
    env: str | None
    file: str | None
    keyring: str | None


async def read(source: Source, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """What to call its place, and the secret without white space around it; None where no source is named.

    Raises `Unusable`.
    """
    if source.env is not None:
        where, text = source.env, environ.get(source.env, "")
        if not text.strip():
            raise Unusable(f"{where} is not in the daemon's environment{_OUTLIVES}")
    elif source.file is not None:
        where = source.file
        text = await asyncio.to_thread(_from_file, where, source.kind)
    elif source.keyring is not None:
        where = f"the keyring's {source.keyring}"
        text = await _from_keyring(source.keyring, source.kind, environ)
    else:
        return None, ""
    if not (text := text.strip()):
        raise Unusable(f"{where} is empty")
    return where, text


def _from_file(name: str, kind: str) -> str:
    """The text of a file that is ours alone. Raises `Unusable`."""
    try:
        path = Path(name).expanduser()
        if not path.is_absolute():
            raise Unusable(f"{kind}_file is {name}: expected an absolute path, or one that begins with ~")
        with durable.open_file(path, _BYTES) as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid():
                raise Unusable(f"{name} belongs to another user: expected a file of your own")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise Unusable(f"{name} is open to others (mode {mode:04o}): run chmod 600 on it")
            # What is not UTF-8 becomes what no server takes.
            return file.read(_BYTES).decode(errors="replace")
    except OSError as error:
        raise Unusable(f"{name} cannot be read: {error.strerror or error}") from None
    except RuntimeError:
        raise Unusable(
            f"{kind}_file is {name}: expected ~, or ~ and the name of a user that there is"
        ) from None
    except ValueError:  # a NUL
        raise Unusable(f"{kind}_file: expected a path that a file can have, got {name!r}") from None


async def _from_keyring(name: str, kind: str, environ: Mapping[str, str]) -> str:
    """The keyring's entry ``SERVICE/USER``, or ``USER`` of the service ``port42``.

    Asked in a process of its own: a keyring may wait for the person, and brings D-Bus with it.
    Raises `Unusable`.
    """
    if importlib.util.find_spec("keyring") is None:
        raise Unusable(f"{kind}_keyring needs the Python package keyring, which is not installed")
    service, _, user = name.rpartition("/")
    service = service or "port42"
    # -P: nothing in the working folder may pass for the package.
    command = (sys.executable, "-P", "-m", "keyring", "get", service, user)
    asking = _asking.get(command)
    if asking is None:
        asking = _asking[command] = asyncio.create_task(asyncio.to_thread(_answer, command, dict(environ)))
        asking.add_done_callback(lambda _: _asking.pop(command, None))
    # Who asked first may not wait as long as it takes.
    done = await asyncio.shield(asking)
    if done is None:
        raise Unusable(f"the keyring did not give {name} within {KEYRING_WITHIN:.0f} s")
    if done.returncode != 0:
        raise Unusable(f"the keyring has no {name}: keyring set {service} {user}")
    return done.stdout.decode(errors="replace")


def _answer(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[bytes] | None:
    """None after `KEYRING_WITHIN`."""
    try:
        return subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=KEYRING_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None

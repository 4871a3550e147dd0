"""A model server's API key: read for each turn, checked, never printed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from port42_daemon.backends.http.errors import Failed
from port42_daemon.config import AnthropicBackend, OpenAIBackend

OUTLIVES = (
    ": a variable exported after the daemon's start never reaches it,"
    " so stop the daemon and start it where the variable is set"
)
"""Why a variable that the person's shell has is not there."""

_KEY_BYTES = 16 * 1024
_KEYRING_WITHIN = 20.0
"""Seconds: a locked keyring asks the person for its password first."""

_SECRET_CHARS = 16
"""Shorter keys may be stand-ins for servers that want any (`ollama`, `none`, `x`). They are hidden in errors,
as whole words, and not in replies: that would take words out of them, and names out of their JSON."""


class Key:
    """A key, or none, which is false. Only `reveal` gives it: written, formatted or logged it is dots."""

    __slots__ = ("_pattern", "_secret", "_text")

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._secret = text.encode() if len(text) >= _SECRET_CHARS else None
        self._pattern = re.escape(text) if self._secret else rf"(?<!\w){re.escape(text)}(?!\w)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def reveal(self) -> str:
        return self._text

    def without_key(self, error: str) -> str:
        """The words of an error without the key, which servers may repeat."""
        return re.sub(self._pattern, "…", error) if self._text else error

    def without_key_in_reply(self, data: bytes) -> bytes:
        return data.replace(self._secret, "…".encode()) if self._secret and self._secret in data else data

    def __repr__(self) -> str:
        return "Key(…)"


async def read_key(config: OpenAIBackend | AnthropicBackend, environ: Mapping[str, str]) -> Key:
    """The key that `config` names. Raises `Failed`."""
    if config.api_key_env is not None:
        where, text = config.api_key_env, environ.get(config.api_key_env, "")
        if not text.strip():
            raise _unusable(f"{where} is not in the daemon's environment{OUTLIVES}")
    elif config.api_key_file is not None:
        where = config.api_key_file
        text = await asyncio.to_thread(_from_file, where)
    elif config.api_key_keyring is not None:
        where = f"the keyring's {config.api_key_keyring}"
        text = await _from_keyring(config.api_key_keyring, environ)
    else:
        return Key()
    # What cannot be a header's value would come back in an error that quotes it.
    if not (text := text.strip()):
        raise _unusable(f"{where} is empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise _unusable(f"{where} does not hold a key: expected one word of printable ASCII")
    return Key(text)


def _unusable(message: str) -> Failed:
    return Failed("needs_auth", message)


def described(config: OpenAIBackend | AnthropicBackend) -> str:
    if config.api_key_env is not None:
        return f"the key is what {config.api_key_env} was when the daemon started"
    if config.api_key_file is not None:
        return f"the key is in {config.api_key_file}"
    if config.api_key_keyring is not None:
        return f"the key is in the keyring, {config.api_key_keyring}"
    return "no key is configured: name one with api_key_env, api_key_file or api_key_keyring"


def _from_file(name: str) -> str:
    """The text of a file that is ours alone. Raises `Failed`."""
    path = Path(name).expanduser()
    if not path.is_absolute():
        raise _unusable(f"api_key_file is {name}: expected an absolute path, or one that begins with ~")
    try:
        # Non-blocking, so that opening a FIFO without a writer does not block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(f"{name} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(f"{name} is not a file")
        if status.st_uid != os.geteuid():
            raise _unusable(f"{name} belongs to another user: expected a file of your own")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise _unusable(f"{name} is open to others (mode {mode:04o}): run chmod 600 on it")
        # Bytes that are not ASCII become what `read_key` refuses.
        return os.read(descriptor, _KEY_BYTES).decode("ascii", errors="replace")
    finally:
        os.close(descriptor)


async def _from_keyring(name: str, environ: Mapping[str, str]) -> str:
    """The keyring's entry ``SERVICE/USER``, or ``USER`` of the service ``port42``.

    Asked in a process of its own: a keyring may wait for the person, and brings D-Bus with it.
    Raises `Failed`.
    """
    if importlib.util.find_spec("keyring") is None:
        raise _unusable("api_key_keyring needs the Python package keyring, which is not installed")
    service, _, user = name.rpartition("/")
    service = service or "port42"
    # -P: nothing in the working folder may pass for the package.
    command = (sys.executable, "-P", "-m", "keyring", "get", service, user)
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=_KEYRING_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unusable(f"the keyring did not give {name} within {_KEYRING_WITHIN:.0f} s") from None
    if done.returncode != 0:
        raise _unusable(f"the keyring has no {name}: keyring set {service} {user}")
    return done.stdout.decode(errors="replace")

"""A model server's API key: read for each turn, checked, never printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from port42_daemon import secret
from port42_daemon.backends.http.errors import Failed
from port42_daemon.config import AnthropicBackend, OpenAIBackend

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
    source = secret.Source("api_key", config.api_key_env, config.api_key_file, config.api_key_keyring)
    try:
        where, text = await secret.read(source, environ)
    except secret.Unusable as error:
        raise _unusable(str(error)) from None
    if where is None:
        return Key()
    # What cannot be a header's value would come back in an error that quotes it.
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

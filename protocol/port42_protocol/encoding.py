"""Makes JSON, also where memory is short."""

from __future__ import annotations

from typing import Any

import msgspec

_encode_into = msgspec.json.Encoder().encode_into


def encode(value: Any) -> bytes:
    """Compact JSON without a newline. Raises TypeError or ValueError for what JSON cannot hold.

    msgspec's own `encode` (0.22) ends the process by SIGSEGV where its buffer cannot grow; `encode_into`
    raises MemoryError. It costs half a microsecond, and a copy of what is long.
    """
    buffer = bytearray()
    _encode_into(value, buffer)
    return bytes(buffer)

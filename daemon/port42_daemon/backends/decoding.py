"""JSON of other programs, read as it was meant."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

T = TypeVar("T")
ANY = msgspec.json.Decoder()


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """`data` decoded, also with split surrogate pairs. Raises `msgspec.DecodeError`.

    Node writes each half of a surrogate pair as an escape of its own, which is no Unicode text and so is
    refused by strict parsers: it becomes the half it names, for `SurrogateJoiner` to join. A letter whose
    bytes were cut becomes �.
    """
    try:
        return decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError):
            raise
        text = data.decode("utf-8", "replace")
        try:
            return msgspec.convert(json.loads(text), decoder.type)
        except (ValueError, RecursionError):
            raise msgspec.DecodeError("not JSON") from None


class SurrogateJoiner:
    """Text that comes in pieces, where one piece may end and the next begin with half a surrogate pair."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """`text` without half a pair at its end, which is held back."""
        if text.isascii() and not self._held:
            return text
        text = self._held + text
        self._held = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole(text[:-1] if self._held else text)

    def end(self) -> str:
        """The rest: � for a half without its other half."""
        held, self._held = self._held, ""
        return "�" if held else ""


def whole(text: str) -> str:
    """`text` in characters that UTF-8 has: halves of surrogate pairs joined, or � in their place."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text

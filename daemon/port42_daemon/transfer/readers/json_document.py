"""Reads a large JSON object incrementally: the items of its long array one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from port42_daemon.transfer.readers.base import Skipped
from port42_daemon.transfer.readers.files import BOM

_REST_BYTES = 1024 * 1024
_STRING = rb'"(?:[^"\\]++|\\.)*+(?P<end>"?)'
_OUTSIDE = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)
_IN_ITEM = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_IN_STRING = re.compile(rb'["\\]')
_ARRAY = re.compile(rb'"messages"\s*:\s*\[\Z')


class JsonDocument:
    """The items of a top-level array, or of a top-level object's array ``messages``, as bytes.

    One of more than `limit` bytes is None. `span` is where the latest item is: the offsets of its first byte
    and behind its last one. Afterwards, `rest` is the document with that array emptied. Only brackets and
    strings are distinguished; the decoder finds invalid JSON.
    """

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self.rest = bytearray()
        self._chunks = chunks
        self._limit = limit
        self.span = (0, 0)
        self._level = 2
        """The depth in the array."""
        self._depth = 0
        self._offset = 0
        """Of the chunk."""
        self._in_string = False
        self._in_array = False
        self._item: list[bytes] = []
        self._item_size = 0

    def items(self) -> Iterator[bytes | None]:
        """Raises `Skipped` where the rest of the object is longer than 1 MiB."""
        position = 0  # one more than the chunk's length after a backslash at its end
        for chunk in self._chunks:
            kept = 0  # the chunk before this offset is in the rest or in an item
            while match := self._next_token().search(chunk, position):
                position, token = match.end(), match[0]
                if self._in_string:
                    self._in_string = token != b'"'
                    position += self._in_string  # skips the character after a backslash
                elif token.startswith(b'"'):
                    self._in_string = not match["end"]  # it ends in a later chunk
                elif self._in_array and self._depth == self._level and token in {b",", b"]"}:
                    self._keep(chunk[kept : position - 1])
                    end = self._offset + position - 1
                    self.span = (end - self._item_size, end)
                    yield from self._end_item()
                    self._in_array = token == b","
                    kept = position if self._in_array else position - 1
                    self._depth -= not self._in_array
                elif token in {b"[", b"{"}:
                    self._depth += 1
                    if token == b"[" and self._depth <= 2 and not self._in_array:
                        self._keep(chunk[kept:position])
                        kept = position
                        self._in_array = self._depth == 1 or _ARRAY.search(self.rest[-64:]) is not None
                        self._level = self._depth
                elif token in {b"]", b"}"}:
                    self._depth -= 1
            self._keep(chunk[kept:])
            self._offset += len(chunk)
            position = max(0, position - len(chunk))
        self.rest = self.rest.removeprefix(BOM)

    def _next_token(self) -> re.Pattern[bytes]:
        if self._in_string:
            return _IN_STRING
        return _IN_ITEM if self._depth > self._level else _OUTSIDE

    def _keep(self, data: bytes) -> None:
        if not self._in_array:
            self.rest += data
            if len(self.rest) > _REST_BYTES:
                raise Skipped("it has more than 1 MiB besides its messages")
            return
        self._item_size += len(data)
        if self._item_size <= self._limit:
            self._item.append(data)

    def _end_item(self) -> Iterator[bytes | None]:
        item = b"".join(self._item).strip()
        if self._item_size > self._limit:
            yield None
        elif item:
            yield item
        self._item, self._item_size = [], 0

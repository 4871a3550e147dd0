"""Lines on a byte stream: a pure buffer with a limit, in the manner of h11.

A frame ends before a ``\\n``; a ``\\r`` before it and blank lines are dropped, so that lines typed into
``socat`` work. Raises `FrameTooLarge` only.
"""

from __future__ import annotations

from port42_protocol.errors import FrameTooLarge

REQUEST_LIMIT = 4 * 1024 * 1024
"""Maximum bytes of a request line, without its newline (design, section 4)."""


class LineFramer:
    """Cuts bytes into lines.

    After `FrameTooLarge` it returns nothing more: the rest of an overlong line could look like a request.
    """

    def __init__(self, limit: int = REQUEST_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._spent = False

    def feed(self, data: bytes) -> None:
        """Add received bytes. Those after an overlong line are discarded."""
        if not self._spent:
            self._buffer += data

    def next_line(self) -> bytes | None:
        """The next complete line, or None until more is fed. Raises `FrameTooLarge` once."""
        while not self._spent:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                # Only the new bytes are searched next time: one byte a second must not cost a
                # scan of the whole line each second.
                self._scanned = len(self._buffer)
                if self._scanned > self._limit + 1:
                    self._overflow()
                return None
            if end > self._limit + 1 or (end > self._limit and self._buffer[end - 1] != 0x0D):
                self._overflow()
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            if line.strip():
                return line.removesuffix(b"\r")
        return None

    def end(self) -> None:
        """Mark the end of the stream: the rest counts as a line, with or without a newline.

        A request cut short is never valid JSON (an object needs its closing brace), so answering
        a last line without a newline is safe, and ``printf '{…}' | nc -U`` gets its answer.
        """
        if self._buffer:
            self.feed(b"\n")

    def _overflow(self) -> None:
        self._spent = True
        self._buffer.clear()
        raise FrameTooLarge(self._limit)

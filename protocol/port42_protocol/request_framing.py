"""Cuts a client's bytes into requests and frames the responses: a pure buffer, in the manner of h11.

Separate from `framing` so that the CLI, which sends lines, need not import it.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from port42_protocol.errors import FrameTooLarge, ParseError, RpcError
from port42_protocol.framing import REQUEST_LIMIT


class Framing(Enum):
    """How a client delimits its requests, decided by the first; responses are delimited the same way."""

    UNDECIDED = auto()
    LINES = auto()
    """Each request is a line."""
    UNSURE = auto()
    """The first request was complete without a newline, which may follow."""
    VALUES = auto()
    """Each request is a JSON value without a delimiter. Responses end in an empty line: JSON parsers skip it,
    and Core Lightning's pyln reads up to it."""
    HEADERS = auto()
    """A ``Content-Length`` header is before each request and answer (the Language Server Protocol's base)."""


_HEADER_LIMIT = 4096
_DEEPEST = 512
"""Nested brackets that are tracked; requests may have far fewer."""
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_WHITE = b" \t\r\n"
_BLANK = re.compile(rb"[ \t\r\n]+")
# A complete string, a bracket, or the quote of an incomplete string. Strings contain no newline.
_TOKEN = re.compile(rb'"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|["{}\[\]]')
_STRING_END = re.compile(rb'["\n]')
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


class RequestFramer:
    """Cuts a client's bytes into requests, and frames the responses (`frame`).

    A request is a line, a complete JSON object or array with or without a newline, or the body after a
    ``Content-Length`` header. Every byte is scanned once, in however many pieces it arrives. After an error
    nothing more is returned: the rest of an overlong request could look like another request.
    """

    def __init__(self, limit: int = REQUEST_LIMIT) -> None:
        self.framing = Framing.UNDECIDED
        self._limit = limit
        self._buffer = bytearray()
        self._ended = self._spent = False
        self._owed = b""
        """The rest of the last response's delimiter, in case the framing turns out to be VALUES."""
        self._begin()

    def _begin(self) -> None:
        self._searched = 0
        """Offset before which there is no newline."""
        self._scanned = 0
        self._open = bytearray()
        """Closing brackets of the values that are open at `_scanned`, the innermost last."""
        self._in_string = self._malformed = False

    def feed(self, data: bytes) -> None:
        if not self._spent:
            self._buffer += data

    def end(self) -> None:
        """Mark the end of the stream: the rest counts as a request, which is answered as not JSON."""
        self._ended = True
        if self.framing is Framing.UNSURE:
            self.framing = Framing.LINES

    @property
    def begun(self) -> bool:
        """Whether bytes of a further request have arrived."""
        return bool(self._buffer)

    def settle(self) -> bytes:
        """Decide that no newline follows the first request. Returns the rest of its response's delimiter."""
        if self.framing is not Framing.UNSURE:
            return b""
        self.framing = Framing.VALUES
        owed, self._owed = self._owed, b""
        return owed

    def frame(self, answer: bytes) -> bytes:
        match self.framing:
            case Framing.HEADERS:
                return b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
            case Framing.VALUES:
                owed, self._owed = self._owed, b""
                return owed + answer + b"\n\n"
            case Framing.UNSURE:
                self._owed = b"\n"
        return answer + b"\n"

    def next_frame(self) -> bytes | None:
        """The next complete request, or None until more is fed. Raises `RpcError`, once."""
        buffer = self._buffer
        if self.framing is Framing.UNSURE and buffer:
            blank = _BLANK.match(buffer)
            if blank is not None and b"\n" in blank[0]:
                self.framing = Framing.LINES
            elif blank is None or blank.end() < len(buffer):
                self.framing = Framing.VALUES
        if buffer and buffer[0] in _WHITE and (blank := _BLANK.match(buffer)):
            end = blank.end()
            del buffer[:end]
            self._searched = 0
        if not buffer:
            return None
        if self.framing is Framing.UNDECIDED and _begins_header(buffer):
            if len(buffer) < len(_CONTENT) and not self._ended:
                return None
            self.framing = Framing.HEADERS
        frame = self._next_body() if self.framing is Framing.HEADERS else self._next_text()
        if frame is None and self._ended:
            frame = self._take(len(buffer))
        return frame

    def _next_body(self) -> bytes | None:
        head = _HEADERS_END.search(self._buffer, 0, _HEADER_LIMIT)
        if head is None:
            if len(self._buffer) >= _HEADER_LIMIT:
                raise self._error(ParseError(f"a header of more than {_HEADER_LIMIT:,} bytes"))
            return None
        length = _CONTENT_LENGTH.search(self._buffer, 0, head.start())
        if length is None:
            raise self._error(ParseError("Content-Length: expected a whole number of bytes"))
        if int(length[1]) > self._limit:
            raise self._error(FrameTooLarge(self._limit))
        end = head.end() + int(length[1])
        if len(self._buffer) < end:
            return None
        body = self._take(end)[head.end() :]
        return body or b" "  # a body of no bytes is not JSON, and is answered so

    def _next_text(self) -> bytes | None:
        buffer = self._buffer
        newline = buffer.find(b"\n", self._searched)
        self._searched = len(buffer) if newline < 0 else newline
        if newline >= 0 and (
            self.framing is Framing.LINES
            or (self.framing is Framing.UNDECIDED and not self._goes_on(newline))
            or buffer[0] not in _CLOSING
        ):
            if self.framing is Framing.UNDECIDED:
                self.framing = Framing.LINES
            return self._take(newline, newline + 1)
        end = self._value_end() if buffer[0] in _CLOSING else 0
        if end:
            if self.framing is Framing.UNDECIDED:
                self.framing = Framing.UNSURE if newline < 0 else Framing.VALUES
            return self._take(end)
        if self._malformed and self.framing is not Framing.LINES:
            if self.framing is Framing.UNDECIDED and newline >= 0:
                self.framing = Framing.LINES
            if newline >= 0 or self.framing is Framing.VALUES:
                return self._take(newline if newline >= 0 else len(buffer))
        if len(buffer) > self._limit + 1:
            raise self._error(FrameTooLarge(self._limit))
        return None

    def _goes_on(self, newline: int) -> bool:
        """Whether the first line is the beginning of JSON that is printed over several lines."""
        line = self._buffer[:newline].rstrip()
        return line[0] in _CLOSING and line.endswith((b"{", b"[", b",", b":"))

    def _value_end(self) -> int:
        """The end offset of the object or array at the start of the buffer; 0 while it is incomplete."""
        buffer, position = self._buffer, self._scanned
        if self.framing is not Framing.VALUES and buffer[-1] not in b"]} \t\r\n":
            return 0  # incomplete; so most long lines are never scanned
        while not self._malformed:
            if self._in_string:
                quote = _STRING_END.search(buffer, position)
                if quote is None:
                    position = len(buffer)
                    break
                position = quote.end()
                self._malformed = quote[0] == b"\n"
                self._in_string = _is_escaped(buffer, quote.start())
                continue
            token = _TOKEN.search(buffer, position)
            if token is None:
                position = len(buffer)
                break
            position = token.end()
            byte = buffer[token.start()]
            if byte in _CLOSING:
                self._malformed = len(self._open) == _DEEPEST or not self._may_open(token.start())
                self._open.append(_CLOSING[byte])
            elif byte != ord('"'):
                self._malformed = self._open.pop() != byte
                if not self._open and not self._malformed:
                    return position
            elif token.end() == token.start() + 1:
                self._in_string = True
        self._scanned = position
        return 0

    def _may_open(self, position: int) -> bool:
        """Whether an object or array can begin here: in an object after a colon, in an array after ``[,``.

        Otherwise the request on the line after a truncated one would be taken for a part of it.
        """
        if not self._open:
            return True
        before = position - 1
        while self._buffer[before] in _WHITE:
            before -= 1
        return self._buffer[before] in (b":" if self._open[-1] == ord("}") else b"[,")

    def _take(self, end: int, behind: int = 0) -> bytes:
        frame = bytes(self._buffer[:end])
        if self.framing is not Framing.HEADERS and len(frame.rstrip(b"\r")) > self._limit:
            raise self._error(FrameTooLarge(self._limit))
        del self._buffer[: behind or end]
        self._begin()
        return frame

    def _error(self, error: RpcError) -> RpcError:
        self._spent = True
        self._buffer.clear()
        return error


_CONTENT = b"content-"


def _begins_header(buffer: bytearray) -> bool:
    return buffer[0] in b"cC" and _CONTENT.startswith(bytes(buffer[: len(_CONTENT)]).lower())


def _is_escaped(buffer: bytearray, quote: int) -> bool:
    """Whether an odd number of backslashes stands before the quote."""
    before = quote
    while buffer[before - 1] == ord("\\"):
        before -= 1
    return (quote - before) % 2 == 1

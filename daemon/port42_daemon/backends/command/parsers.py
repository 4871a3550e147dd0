"""Parsers of what programs print: plain text, and JSON lines, each tool's in a module of its own."""

from __future__ import annotations

import codecs

from port42_daemon.backends.base import Text
from port42_daemon.backends.command.claude import ClaudeParser
from port42_daemon.backends.command.codex import CodexParser
from port42_daemon.backends.command.gemini import GeminiParser
from port42_daemon.backends.command.stream import StreamParser


class TextParser:
    """Chunks in, text out. A letter cut in two waits for its other half; bytes that are no UTF-8 show as �.

    Newlines at the end are not part of the reply; they are held back until more text follows.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> list[Text]:
        text = self._held + self._decoder.decode(chunk, last)
        shown = text.rstrip("\r\n")
        self._held = text[len(shown) :]
        return [Text(shown)] if shown else []


STREAMS: dict[str, type[StreamParser]] = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "gemini": GeminiParser,
}

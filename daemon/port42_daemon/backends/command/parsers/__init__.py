"""How a program's output becomes events: a pure parser for each stream that is known. No I/O here."""

from __future__ import annotations

from port42_daemon.backends.command.parsers.claude import ClaudeParser
from port42_daemon.backends.command.parsers.codex import CodexParser
from port42_daemon.backends.command.parsers.gemini import GeminiParser
from port42_daemon.backends.command.parsers.stream import StreamParser

STREAMS: dict[str, type[StreamParser]] = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "gemini": GeminiParser,
}
"""The parsers of lines of JSON, by the name `config.toml` gives them. `text` is the one that is none."""

"""What `possess` is given to say: the words, what is piped in, and what to read beside them."""

from __future__ import annotations

import os
import stat
import sys

import click

from port42_cli.conversation.send import Reference
from port42_client.errors import BadInput
from port42_protocol.framing import REQUEST_LIMIT

REFERENCE_LIMIT = 256 * 1024
"""Bytes of one reference that the daemon takes (`messages.Text`)."""


def message(words: tuple[str, ...]) -> tuple[str | None, list[Reference]]:
    """The message, and what is piped in: it is the message where there are no words, else beside it.

    None when there is neither.
    """
    if not words:
        return _piped(REQUEST_LIMIT) or None, []
    piped = _piped(REFERENCE_LIMIT)
    beside: list[Reference] = [{"type": "text", "target": "stdin", "content": piped}] if piped else []
    return " ".join(words), beside


def reference(typed: str) -> Reference:
    """What ``TYPE:TARGET`` stands for; a file's path is made absolute. Raises `click.UsageError`."""
    kind, colon, target = typed.partition(":")
    if not colon or not target or kind not in {"file", "session", "url"}:
        raise click.UsageError(f"--ref: expected file:PATH, session:REF or url:URL, got {typed!r}")
    if kind == "file":
        target = os.path.abspath(os.path.expanduser(target))  # noqa: PTH100, PTH111 - no pathlib on this path
    return {"type": kind, "target": target}


def _piped(limit: int) -> str:
    """What a pipe or a file brings on stdin. A terminal and /dev/null bring nothing."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return ""  # stdin is closed, or there is none
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    data = sys.stdin.buffer.read(limit + 1)
    if len(data) > limit:
        beside = " beside a message" if limit == REFERENCE_LIMIT else ""
        raise BadInput(f"stdin: expected at most {limit:,} bytes{beside}")
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin: expected UTF-8 text, and byte {error.start} is not") from None

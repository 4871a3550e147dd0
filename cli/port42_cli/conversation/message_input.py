"""The input of `possess`: the message, stdin, and references."""

from __future__ import annotations

import os
import stat
import sys
from select import select

import click

from port42_cli import streams
from port42_cli.conversation.send import Reference
from port42_client.errors import BadInput
from port42_protocol.framing import REQUEST_LIMIT

FIRST_BYTE = 3.0  # seconds that a pipe beside a message may take to bring something
REFERENCE_LIMIT = 256 * 1024  # bytes of one reference that the daemon takes (`messages.Text`)


def message(words: tuple[str, ...], *, wait: bool = False) -> tuple[str | None, list[Reference]]:
    """The message, and what is piped in: it is the message where there are no words, else beside it.

    None when there is neither. Beside words, a pipe that brings nothing for `FIRST_BYTE` seconds is not
    waited for unless `wait` (``--ref -``) says so: under CI, an editor or ssh it may never be closed.
    """
    if not words:
        return _decoded(_piped(REQUEST_LIMIT, "the message")) or None, []
    data = _piped(REFERENCE_LIMIT, "what goes beside the message", give_up=not wait)
    if not (content := _decoded(data)):
        return " ".join(words), []
    streams.notice(f"Read {len(data):,} bytes of stdin beside the message; </dev/null leaves it unread.")
    return " ".join(words), [{"type": "text", "target": "stdin", "content": content}]


def reference(typed: str, host: str | None = None) -> Reference:
    """The reference ``TYPE:TARGET``; a file's path is made absolute.

    Where the daemon is on another machine, `host`, a file is read here, and goes as text. Raises
    `click.UsageError` and `BadInput`.
    """
    kind, colon, target = typed.partition(":")
    if not colon or not target or kind not in {"file", "session", "url"}:
        raise click.UsageError(f"--ref: expected file:PATH, session:REF, url:URL or - (stdin), got {typed!r}")
    if kind == "file":
        target = os.path.abspath(os.path.expanduser(target))  # noqa: PTH100, PTH111 - no pathlib on this path
        if host is not None:
            return {"type": "text", "target": target, "content": _file(target)}
    return {"type": kind, "target": target}


def _file(path: str) -> str:
    """The text of a file, as the daemon would read it. Raises `BadInput`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BadInput(f"--ref: expected an ordinary file, got {path}")
            data = file.read(REFERENCE_LIMIT + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have that name"
        raise BadInput(f"--ref: expected a file that can be read, got {path}: {why}") from None
    if len(data) > REFERENCE_LIMIT:
        raise BadInput(f"--ref: expected at most {REFERENCE_LIMIT:,} bytes, got {path} with more")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadInput(f"--ref: expected text in UTF-8, got {path}, which is not") from None


def _piped(limit: int, what: str, *, give_up: bool = False) -> bytes:
    """The contents of a pipe or file on stdin; none for a terminal and /dev/null."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):
        return b""  # stdin is closed, or there is none
    if stat.S_ISREG(mode):
        # A file with another offset is read by another program, line by line (`while read …; done < file`).
        if give_up and os.lseek(descriptor, 0, os.SEEK_CUR) > 0:
            return b""
    elif not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return b""
    data = _read(descriptor, limit, what, give_up=give_up)
    if len(data) > limit:
        beside = " beside a message" if limit == REFERENCE_LIMIT else ""
        raise BadInput(f"stdin: expected at most {limit:,} bytes{beside}")
    return data


def _read(descriptor: int, limit: int, what: str, *, give_up: bool) -> bytes:
    """At most one byte more than `limit`. Says what it waits for; with `give_up`, not for the first byte."""
    data, told = bytearray(), False
    while len(data) <= limit:
        if not told and not select([descriptor], [], [], FIRST_BYTE)[0]:
            if give_up and not data:
                streams.notice(
                    f"stdin brought nothing for {FIRST_BYTE:.0f} s and is not read;"
                    " --ref - waits for it, </dev/null skips the wait."
                )
                break
            streams.notice(f"Reading {what} from stdin until it is closed; </dev/null skips it.")
            told = True
        try:
            piece = os.read(descriptor, min(65536, limit + 1 - len(data)))
        except BlockingIOError:  # whoever shares the pipe made it non-blocking
            select([descriptor], [], [])
            continue
        if not piece:
            break
        data += piece
    return bytes(data)


def _decoded(data: bytes) -> str:
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin: expected UTF-8 text, and byte {error.start} is not") from None

"""Reads one session's file whole, and compares its footer with its lines. Changes nothing."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from port42_daemon.store.interface import FORMAT
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.cache import reader
from port42_daemon.store.session_file.document import Damaged, Document, Read
from port42_daemon.store.session_file.salvage import header_of
from port42_protocol.times import valid_time

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FORMAT = re.compile(rb'\{"format":(\d{1,9}),')


class NotASession(Exception):
    """Not a session that this daemon could read or recover, whatever its name says; the text says why."""


class NewerFormat(NotASession):
    """A session that a newer version wrote."""


def inspect(path: Path, session_id: str) -> str | None:
    """Read all of the session at `path`; returns what is odd about it though it can be read.

    Raises `Damaged`, `NotASession`, OSError. Without the session's lock an append may look like damage.
    """
    if path.is_symlink():
        raise NotASession("it is a link")
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotASession("it is not a file")
        read = reader(descriptor)
        _check_owner(read, session_id)
        return _check_records(read, document.load(read, status.st_size))
    finally:
        os.close(descriptor)


def owner(path: Path, session_id: str) -> str | None:
    """The agent whose session is at `path`, None where there is none that can be read."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        header, _ = document.load_header(reader(descriptor))
    except (Damaged, OSError):
        try:
            header = header_of(path, session_id)
        except (Damaged, OSError):
            return None
    finally:
        os.close(descriptor)
    return header.agent if header.id == session_id else None


def _check_owner(read: Read, session_id: str) -> None:
    try:
        header, _ = document.load_header(read)
    except Damaged as damage:
        match = _FORMAT.match(read(0, 32))
        if match and int(match[1]) > FORMAT:
            raise NewerFormat(f"its format is {int(match[1])}, this version reads {FORMAT}") from None
        raise NotASession(str(damage)) from None
    if header.id != session_id:
        raise NotASession(f"its first line says that it is {header.id[:64]}")


def _check_records(read: Read, whole: Document) -> str | None:
    """What is odd about the session. A gap between seqs is what a recovery left; a step back is damage."""
    footer = document.empty_fold(whole.header)
    odd = _odd_time(whole.header.created_at, "it was created")
    number, before = 1, b","
    for number, line in enumerate(document.lines(read, whole, 0), 2):
        if not before.endswith(b","):
            raise Damaged(f"no comma stands before line {number}")
        try:
            record = document.parse_record(line)
        except Damaged:
            raise Damaged(f"line {number} is not a record") from None
        if record.seq <= footer.last_seq:
            raise Damaged(f"line {number} has the seq {record.seq} behind {footer.last_seq}")
        footer, before = document.fold(footer, record), line
        odd = odd or _odd_time(record.timestamp, f"record {record.seq} was written")
    if number > 1 and read(whole.footer_at - 2, 2) == b",\n":
        raise Damaged("a comma stands before its footer")
    if document.used_at(footer, whole.footer.use) != document.used_at(whole.footer, whole.footer.use):
        raise Damaged("its footer does not say what its lines do")
    return odd


def _odd_time(timestamp: str, what: str) -> str | None:
    if timestamp == valid_time(timestamp):
        return None
    return f"the time when {what} is not one: {timestamp[:40]!r}"

"""A session as JSON that loses nothing: the very document that its file is."""

from __future__ import annotations

import msgspec

from port42_daemon.store.session_file.document import footer_line, header_line
from port42_daemon.transfer.writers.base import Ends, Writer
from port42_protocol.messages.records import Message


def _opening(ends: Ends) -> str:
    return header_line(ends.header).decode()


def _record(record: Message) -> str:
    return msgspec.json.encode(record).decode()


def _closing(ends: Ends) -> str:
    return ("\n" if ends.footer.last_seq else "") + footer_line(ends.footer).decode()


WRITER = Writer(_opening, _record, _closing, between=",\n")

"""The end of a session: what was said last, and the questions that the last turns began with."""

from __future__ import annotations

from collections.abc import Iterable

from port42_client.client import Client
from port42_client.errors import DaemonError
from port42_protocol.activity import join_texts
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import AssistantMessage, EventRecord, Record, UserMessage
from port42_protocol.messages.sessions import GetSession

_EXCHANGE = 500
"""Records in which the last question is looked for; a turn with many tool calls has about as many."""


def last_records(client: Client, session_id: str, number: int, *, events: bool = True) -> list[Record]:
    """At most the last `number` records, without what merely happened to the session (`EventRecord`).

    With `events` also tool calls, thoughts, plans and permissions. Raises `DaemonError`.
    """
    try:
        records = client.call(GetSession(session_id, events=events, last=number)).messages
    except DaemonError as error:
        if error.code != InvalidParams.code:
            raise
        return []  # a daemon of an earlier version
    return [record for record in records if not isinstance(record, EventRecord)]


def last_exchange(client: Client, session_id: str) -> list[Record]:
    """The last question and all that followed it; of a very long turn, its last record."""
    records = last_records(client, session_id, _EXCHANGE)
    for position in reversed(range(len(records))):
        if isinstance(records[position], UserMessage):
            return records[position:]
    return records[-1:]


def last_reply(client: Client, session_id: str) -> str:
    """The texts of the last turn, as Markdown; empty where nothing was answered."""
    exchange = last_exchange(client, session_id)
    return join_texts([record.content for record in exchange if isinstance(record, AssistantMessage)])


def last_questions(client: Client, session_id: str, number: int) -> list[UserMessage]:
    """The last `number` questions, or all where there are fewer. Raises `DaemonError`."""
    questions = _questions(last_records(client, session_id, _EXCHANGE, events=False))
    if len(questions) < number:
        pages = client.pages(GetSession(session_id))
        questions = _questions(record for page in pages for record in page.messages)
    return questions[-number:]


def _questions(records: Iterable[Record]) -> list[UserMessage]:
    return [record for record in records if isinstance(record, UserMessage)]

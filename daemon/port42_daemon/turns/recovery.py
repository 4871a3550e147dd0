"""Outcomes of earlier turns: returned for repeated requests, and recorded after a kill of the daemon."""

from __future__ import annotations

import logging

from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import UnfinishedTurn
from port42_daemon.turns.turn import failure_record, reply_record
from port42_protocol.activity import join_texts
from port42_protocol.codec import encode
from port42_protocol.counting import count
from port42_protocol.errors import BackendFailed, InvalidParams, RpcError, SessionNotFound
from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import (
    AssistantMessage,
    ErrorMessage,
    Message,
    Record,
    ToolRecord,
    UserMessage,
    replace,
)
from port42_protocol.messages.sessions import Appended
from port42_protocol.messages.types import TurnStatus

log = logging.getLogger(__name__)

_PAGE, _PAGE_BYTES = 1000, 4 * 1024 * 1024
_LAST_BYTES, _MOST_BYTES = 1024 * 1024, 64 * 1024 * 1024
"""Bytes of a session's end in which its last turn is looked for at first, and at most."""


async def earlier_result(sessions: Sessions, question: Appended) -> Possessed:
    """The first result of a question that was asked before. Raises `BackendFailed` as it did then."""
    session_id, seq = question.session_id, question.seq
    records = await _of_turn(sessions, session_id, seq)
    texts = [record for record in records if isinstance(record, AssistantMessage)]
    for failure in records:
        if isinstance(failure, ErrorMessage):
            raise BackendFailed(str(failure.kind), failure.content, session_id, seq)
    if not texts:
        return Possessed(session_id, seq, "recorded")
    last = texts[-1]
    status: TurnStatus = "answered" if last.status == "complete" else "interrupted"
    reply = join_texts([text.content for text in texts])
    return Possessed(session_id, seq, status, reply, last.seq, last.turn or None)


async def failed_question(sessions: Sessions, session_id: str) -> UserMessage:
    """The message of the session's last turn, which failed. Raises `InvalidParams` when it did not fail."""
    recent = await sessions.threads.files(sessions.store.recent, session_id, _LAST_BYTES)
    match [record for record in recent.records if isinstance(record, Message)]:
        case [*_, ErrorMessage(question=int(seq))]:
            page = await sessions.threads.files(
                sessions.store.read, session_id, after_seq=seq - 1, limit=1, max_bytes=1, events=False
            )
            if page.records and isinstance(page.records[0], UserMessage):
                return page.records[0]
    raise InvalidParams.expecting("session_id", "a session whose last turn failed")


async def unanswered(sessions: Sessions, session_id: str) -> int | None:
    """The seq of the session's last question, where its turn is not over; None where it is."""
    at_least, questions = _LAST_BYTES, list[int]()
    while not questions:  # the tool calls behind it may take many MiB
        recent = await sessions.threads.files(sessions.store.recent, session_id, at_least)
        messages = [record for record in recent.records if isinstance(record, Message)]
        questions = [index for index, message in enumerate(messages) if isinstance(message, UserMessage)]
        if not questions and (recent.all or at_least > _MOST_BYTES):
            return None
        at_least *= 4
    # What another program appended is a whole answer; a text of a turn says which question it belongs to.
    replies = messages[questions[-1] + 1 :]
    if any(_ends(reply) or not isinstance(getattr(reply, "question", None), int) for reply in replies):
        return None
    return messages[questions[-1]].seq


async def recover_interrupted_turns(sessions: Sessions) -> None:
    """Record what is left of all turns whose end is not in their session.

    One that cannot be recorded is logged, and tried again at the next start.
    """
    for unfinished, text, records in await sessions.threads.files(sessions.store.unfinished, None):
        try:
            await _record_interrupted(sessions, unfinished, text, records)
        except RpcError as error:
            log.warning("⚠ an unfinished turn of %s was not recorded: %s", unfinished.session_id, error)


async def recover_interrupted_turn(sessions: Sessions, session_id: str) -> None:
    """The same of one session. Raises what storing raises."""
    for unfinished, text, records in await sessions.threads.files(sessions.store.unfinished, session_id):
        await _record_interrupted(sessions, unfinished, text, records)


async def _record_interrupted(
    sessions: Sessions, unfinished: UnfinishedTurn, text: str, kept: list[Record]
) -> None:
    session_id, question = unfinished.session_id, unfinished.question
    try:
        recorded = await _of_turn(sessions, session_id, question)
        if not any(map(_ends, recorded)):
            texts = [record.content for record in recorded if isinstance(record, AssistantMessage)]
            rest = text[sum(map(len, texts)) :]
            known = {_identity(record) for record in recorded}
            latest = {_identity(record): record for record in kept}  # a call is kept again when it changes
            records = [record for identity, record in latest.items() if identity not in known]
            if rest or records or recorded:
                records.append(reply_record(rest, unfinished.turn, question, complete=False))
            else:
                records.append(failure_record("crashed", "the daemon was stopped during this turn", question))
            async with sessions.order(session_id):
                await sessions.add_later(session_id, records)
            kept_text = count(len(text), "character")
            log.warning("⚠ %s: a turn was cut off, and %s of it kept", session_id, kept_text)
    except SessionNotFound:
        if await sessions.threads.files(sessions.store.where, session_id):
            return  # it is in the trash, and can come back
        log.warning("⚠ %s is gone, and with it the turn that was cut off there", session_id)
    await sessions.threads.files(sessions.store.forget_unfinished, session_id)


async def _of_turn(sessions: Sessions, session_id: str, question: int) -> list[Record]:
    """The records of a turn, up to those that ended it: a reply with a status, a failure, or both."""
    following: int | None = question
    records: list[Record] = []
    while following is not None:
        page = await sessions.threads.files(
            sessions.store.read,
            session_id,
            after_seq=following,
            limit=_PAGE,
            max_bytes=_PAGE_BYTES,
            events=True,
        )
        records += [record for record in page.records if getattr(record, "question", None) == question]
        if any(map(_ends, records)) and records[-1] is not page.records[-1]:
            break  # else a failure may follow its reply on the next page
        following = page.onward
    return records


def _ends(record: Record) -> bool:
    return isinstance(record, ErrorMessage) or (isinstance(record, AssistantMessage) and bool(record.status))


def _identity(record: Record) -> tuple[object, ...]:
    """What tells that two records are the same, wherever they stand."""
    if isinstance(record, ToolRecord):
        return (record.role, record.id)
    return (record.role, encode(replace(record, seq=0, timestamp="")))

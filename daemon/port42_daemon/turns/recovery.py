"""What became of a question: its reply or its failure, told again to whoever asks again, and made up
for where a daemon was killed before it could record one."""

from __future__ import annotations

import logging

from msgspec import UNSET

from port42_daemon.store.session_file.checkpoint import Unfinished
from port42_daemon.turns.turn import House, answered, failed
from port42_protocol.errors import BackendFailed, InvalidParams, RpcError, SessionNotFound
from port42_protocol.messages.records import Message, TurnRecord
from port42_protocol.messages.sessions import Appended
from port42_protocol.messages.turns import Possessed
from port42_protocol.messages.types import TurnStatus

log = logging.getLogger(__name__)

_PAGE, _PAGE_BYTES = 1000, 4 * 1024 * 1024
_LAST = 1024 * 1024
"""Bytes of a session's end in which its last turn is looked for."""


async def as_it_went(house: House, question: Appended) -> Possessed:
    """The first result of a question that was asked before. Raises `BackendFailed` as it did then."""
    session_id, seq = question.session_id, question.seq
    found = await _of(house, session_id, seq)
    for record in found:
        if record.role == "error":
            raise BackendFailed(str(record.kind), str(record.content), session_id, seq)
    for record in found:
        status: TurnStatus = "answered" if record.status == "complete" else "interrupted"
        turn = record.turn if isinstance(record.turn, TurnRecord) else None
        return Possessed(session_id, seq, status, str(record.content), record.seq, turn)
    return Possessed(session_id, seq, "recorded")


async def failed_question(house: House, session_id: str) -> Message:
    """What the session's last turn failed on. Raises `InvalidParams` when it did not fail."""
    recent = await house.threads.files(house.store.recent, session_id, _LAST)
    said = [record for record in recent.records if record.role != "event"]
    question = said[-1].question if said and said[-1].role == "error" else UNSET
    if not isinstance(question, int):
        expected = "a session whose last turn failed"
        raise InvalidParams(f"session_id: expected {expected}", field="session_id", expected=expected)
    page, _ = await house.threads.files(
        house.store.read, session_id, after_seq=question - 1, limit=1, max_bytes=1, events=False
    )
    return page[0]


async def make_up(house: House, only: str | None = None) -> None:
    """Record what was left of turns whose end is not in their session: of all, or of one session.

    Of all, one that cannot be recorded is logged, and tried again at the next start; of one, what
    storing raises leaves.
    """
    for unfinished, text in await house.threads.files(house.store.unfinished, only):
        try:
            await _make_up(house, unfinished, text)
        except RpcError as error:
            if only is not None:
                raise
            log.warning("⚠ an unfinished turn of %s was not recorded: %s", unfinished.session_id, error)


async def _make_up(house: House, unfinished: Unfinished, text: str) -> None:
    session_id, question = unfinished.session_id, unfinished.question
    try:
        if not await _of(house, session_id, question):
            ended = failed("crashed", "the daemon was stopped during this turn", question)
            if text:
                ended = answered(text, unfinished.turn, question, whole=False)
            await house.sessions.make_up(session_id, ended)
            log.warning("⚠ %s: a turn was cut off; %d characters of it are kept", session_id, len(text))
    except SessionNotFound:
        if await house.threads.files(house.store.taken, session_id):
            return  # it is in the trash, and can come back
        log.warning("⚠ %s is gone, and with it the turn that was cut off there", session_id)
    await house.threads.files(house.store.forget_unfinished, session_id)


async def _of(house: House, session_id: str, question: int) -> list[Message]:
    """The records that a turn left: its reply, its failure, or both. They stand together."""
    following: int | None = question
    while following is not None:
        page, following = await house.threads.files(
            house.store.read,
            session_id,
            after_seq=following,
            limit=_PAGE,
            max_bytes=_PAGE_BYTES,
            events=False,
        )
        if found := [record for record in page if record.question == question]:
            return found
    return []

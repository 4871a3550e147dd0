"""What a back end is given for a turn: as much of the session as it needs, and where to work."""

from __future__ import annotations

import os
from dataclasses import dataclass

from msgspec import UNSET

from port42_daemon.agents import ResolvedBackend
from port42_daemon.backends import base as b
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import FORKED, Recent
from port42_daemon.turns import history
from port42_protocol.counting import count
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    Message,
    Record,
    TurnRecord,
    UserMessage,
)

_MOST_READ = 16 * 1024 * 1024  # bytes of a session, after which its earlier messages are not looked for


@dataclass(eq=False)
class BackendInput:
    """Prepares the input of one turn, whose `record` says what answers. `cwd` and `depth` are the client's.

    `notices` are for the user. `left_out` counts earlier messages that do not fit the budget.
    """

    sessions: Sessions
    session_id: str
    message: UserMessage
    resolved: ResolvedBackend
    record: TurnRecord
    cwd: str | None
    depth: int = 0

    def __post_init__(self) -> None:
        self.notices: list[str] = []
        self.left_out = 0

    async def turn(self, question_seq: int) -> b.Turn:
        resolved = self.resolved
        recent = await self._recent()
        before = [record for record in recent.records if record.seq < question_seq]
        message = history.with_references(self.message)
        messages, left_out = history.select(before, resolved.context_chars - len(message))
        source = recent.header.imported_from
        of_tools, last = self._turns(recent, before)
        native_id = self._native_id(recent, before, of_tools, last)
        left_out += _not_read(recent)
        if left_out and native_id is None:
            self.left_out = left_out
            self.notices.append(
                f"{count(left_out, 'earlier message')} left out, the oldest: {resolved.name}'s budget is full"
            )
        if resolved.notice is not None:
            self.notices.append(resolved.notice)
        if resolved.mode is not None and resolved.backend is not None and not resolved.backend.has_modes:
            self.notices.append(f"{resolved.name} does not take the mode {resolved.mode}: it has none")
        if resolved.mcp_servers and resolved.backend is not None and not resolved.backend.takes_mcp_servers:
            self.notices.append(f"{resolved.name} takes no MCP servers")
        for change in _changes(last, self.record):
            self.notices.append(f"since the last turn {change}")
        if source is not None and native_id == source.id:
            cwd = await self._folder(recent.summary.cwd) or resolved.cwd  # where the tool looks for it
        else:
            cwd = resolved.cwd or await self._folder(recent.summary.cwd)
        return b.Turn(
            session_id=self.session_id,
            message=message,
            history=messages,
            system=resolved.system,
            model=resolved.model,
            cwd=cwd,
            native_id=native_id,
            depth=self.depth,
            mode=resolved.mode,
            mcp_servers=resolved.mcp_servers,
        )

    async def _recent(self) -> Recent:
        """The end of the session: as much as fits the budget, whatever its tool calls take in the file."""
        at_least = self.resolved.context_chars * history.BYTES_PER_CHAR
        while True:
            recent = await self.sessions.threads.files(self.sessions.store.recent, self.session_id, at_least)
            chars = sum(len(record.content) for record in recent.records if isinstance(record, Message))
            if recent.all or chars >= self.resolved.context_chars or at_least > _MOST_READ:
                return recent
            at_least *= 4

    async def _folder(self, begun_in: str | None) -> str | None:
        """The session's folder, or the client's current one when that was moved or renamed."""
        cwd = self.cwd
        if begun_in in {None, cwd} or cwd is None:
            return begun_in
        if await self.sessions.threads.files(os.path.isdir, begun_in):
            return begun_in
        self.notices.append(
            f"{begun_in}, where this session began, is not there any more; this turn works in {cwd}"
        )
        return cwd

    def _turns(self, recent: Recent, before: list[Record]) -> tuple[list[TurnRecord], TurnRecord | None]:
        """The turns that were read from a tool's own files since the last one here, and that one.

        A fork has none from before it.
        """
        of_tools: list[TurnRecord] = []
        tools = {self._tool, recent.header.imported_from and recent.header.imported_from.format} - {None}
        for record in reversed(before if recent.turn is not None else []):
            if isinstance(record, EventRecord) and record.event == FORKED:
                return of_tools, None
            if isinstance(record, AssistantMessage) and record.turn:
                if record.question is not UNSET or record.turn.backend not in tools:
                    return of_tools, record.turn
                of_tools.append(record.turn)
        return of_tools, None if of_tools else recent.turn

    def _native_id(
        self, recent: Recent, before: list[Record], of_tools: list[TurnRecord], last: TurnRecord | None
    ) -> str | None:
        """The id of the back end's own conversation, if it has one with all messages.

        What was read from the tool's own files since is in that conversation, too.
        """
        name, source = self.resolved.name, recent.header.imported_from
        if last is not None:
            if last.backend != name or last.native_id is None:
                return None
            elsewhere = any(turn.backend != self._tool for turn in of_tools)
            if not elsewhere and not history.has_more_since_reply(before):
                return last.native_id
            lacks = f"{name} lacks messages that were added since"
            self.notices.append(f"{lacks}; it begins a new session with the transcript")
            return None
        if source is None or recent.header.parent:
            return None
        if source.format == self._tool:
            self.notices.append(f"{name} continues its own session {source.id}")
            return source.id
        self.notices.append(f"{name} begins with the transcript of this session of {source.format}")
        return None

    @property
    def _tool(self) -> str | None:
        return None if self.resolved.backend is None else self.resolved.backend.tool


def _not_read(recent: Recent) -> int:
    """The number of messages before the records that were read."""
    if recent.all:
        return 0
    read = sum(record.role in {"user", "assistant"} for record in recent.records)
    return recent.summary.message_count - read


def _changes(before: TurnRecord | None, after: TurnRecord) -> list[str]:
    """How back end or model changed since the last turn, for a notice."""
    if before is None:
        return []
    changes = []
    if before.backend != after.backend:
        changes.append(f"the back end changed from {before.backend} to {after.backend}")
    elif before.asked_model != after.asked_model:
        models = [turn.asked_model or "the back end's own" for turn in (before, after)]
        changes.append(f"the model changed from {models[0]} to {models[1]}")
    if before.persona != after.persona:
        changes.append("the persona changed")
    return changes

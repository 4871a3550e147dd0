"""Turns: one user message and what answers it. The message is durable before anything else happens."""

from __future__ import annotations

from port42_daemon.agents import Agents
from port42_daemon.sessions import Sessions, now, unplaced
from port42_daemon.store.document import Header
from port42_protocol import messages as m


class Turns:
    """`possess`, over sessions and agents."""

    def __init__(self, sessions: Sessions, agents: Agents) -> None:
        self._sessions = sessions
        self._agents = agents

    async def possess(self, asked: m.Possess) -> m.Possessed:
        """Record the message; no back end answers yet, and the status says so."""
        await self._agents.require(asked.agent)
        if asked.session_id is not None:
            appended = await self._sessions.append_message(
                m.AppendMessage(asked.agent, asked.session_id, "user", asked.message, asked.idempotency_key)
            )
        elif asked.idempotency_key is not None:
            appended = await self._begin_once(asked, asked.idempotency_key)
        else:
            appended = await self._begin(asked)
        return m.Possessed(appended.session_id, appended.seq, "recorded")

    async def _begin_once(self, asked: m.Possess, key: str) -> m.Appended:
        async with self._sessions.order("begin", asked.agent, key):
            earlier = await self._sessions.recorded(asked.agent, key, None)
            return earlier or await self._begin(asked)

    async def _begin(self, asked: m.Possess) -> m.Appended:
        header = Header(id="", agent=asked.agent, created_at=now(), client=asked.client, cwd=asked.cwd)
        message = unplaced("user", asked.message, asked.idempotency_key)
        begun = await self._sessions.begin(header, message)
        return m.Appended(begun.session_id, 1)

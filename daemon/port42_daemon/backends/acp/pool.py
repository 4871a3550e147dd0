"""The back end `acp`: agents of the Agent Client Protocol, version 1, one process for each session in use.

An agent that answered a turn is kept for the session's next one, for `idle_ttl` seconds. When it crashes, or
the turn comes with another persona, model or folder, or with other MCP servers, it is ended; the next turn
starts one that resumes the session, or is given the conversation so far.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path

from msgspec import Struct

from port42_daemon.backends.acp.agent import Agent, CannotResume, tool_of
from port42_daemon.backends.acp.turn_events import Broken, NotAsked
from port42_daemon.backends.base import Ask, Done, Event, Failure, Health, ModelOffer, Notice, Started, Turn
from port42_daemon.backends.process import find_program, missing
from port42_daemon.backends.programs import Programs
from port42_daemon.config import AcpBackend
from port42_protocol.messages.agents import Mode
from port42_protocol.messages.turns import McpServer

_MOST_IDLE = 8
"""Maximum number of idle agents, some of which take 300 MB; the one idle for longest is ended first."""

_Terms = tuple[str | None, str | None, str, int, tuple[McpServer, ...]]


class _IdleAgent(Struct, frozen=True):
    """An agent between turns: what it was opened with, and the timer that will end it."""

    agent: Agent
    terms: _Terms
    timer: asyncio.TimerHandle


class Acp:
    """The back end. An agent is owned by its turn while that runs, and by `_idle` afterwards."""

    has_modes = True
    takes_mcp_servers = True

    def __init__(
        self, config: AcpBackend, environ: Mapping[str, str] | None = None, programs: Programs | None = None
    ) -> None:
        self._config = config
        self._programs = programs or Programs()
        self._environ = os.environ if environ is None else environ
        self._idle: dict[str, _IdleAgent] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        self.tool = tool_of(config)
        self._signed_out: Failure | None = None
        # What an agent named when its session was opened.
        self._models: tuple[str, ...] = ()
        self._modes: tuple[Mode, ...] = ()
        self._mode: str | None = None

    async def probe(self) -> Health:
        if (why := missing(self._config.command[0], self._environ)) is not None:
            return Health("missing", why)
        if self._signed_out is not None:
            return Health("needs_auth", self._signed_out.message)
        program = str(find_program(self._config.command[0], self._environ))
        return Health("ready", program, self._models, self._modes, self._mode)

    async def models(self) -> ModelOffer:
        """Those that it named when it last opened a session: only a turn starts the program."""
        name = Path(self._config.command[0]).name
        unknown = f"{name} says which models it has when it opens a session, with its first turn"
        return ModelOffer(self._models, None if self._models else unknown)

    def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event]:
        return self._programs.limited(self._run(turn, ask))

    async def _run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event]:
        folder = turn.cwd or self._environ.get("HOME") or str(Path.home())
        terms = (turn.system, turn.model, folder, turn.depth, turn.mcp_servers)
        agent, done = None, Done()
        notices: list[str] = []
        try:
            agent = await self._take_idle(turn, terms)
            while True:
                warm = agent is not None
                if agent is None:
                    agent, notices = await self._open_new(turn, terms)
                    self._learn_choices(agent)
                yield Started(agent.native_id, agent.model)
                for notice in notices:
                    yield Notice(notice)
                try:
                    async with aclosing(agent.answer(turn, ask)) as events:
                        async for event in events:
                            if isinstance(event, Done):
                                done = event
                            else:
                                yield event
                    break
                except NotAsked:
                    if not warm:
                        raise
                    agent = None  # it died while it was idle
        except Broken as broken:
            done = Done(broken.failure)
        finally:
            if agent is not None:
                await self._keep(turn.session_id, agent, terms)
        auth = done.failure is not None and done.failure.kind == "needs_auth"
        self._signed_out = done.failure if auth else None
        yield done

    async def aclose(self) -> None:
        """End the agents that are idle; one with a turn under way is ended with its turn."""
        self._closed = True
        for session_id in list(self._idle):
            self._retire(session_id)
        if self._ending:
            await asyncio.wait(self._ending.values())

    async def _take_idle(self, turn: Turn, terms: _Terms) -> Agent | None:
        warm = self._idle.get(turn.session_id)
        if warm is not None:
            wanted = warm.terms == terms and warm.agent.native_id == turn.native_id
            if wanted and warm.agent.fit:
                del self._idle[turn.session_id]
                warm.timer.cancel()
                return warm.agent
            self._retire(turn.session_id)
        # Waited for: two processes in one native session would each lose what the other says.
        if (ending := self._ending.get(turn.session_id)) is not None:
            await asyncio.wait([ending])
        return None

    async def _open_new(self, turn: Turn, terms: _Terms) -> tuple[Agent, list[str]]:
        def crashed(_: asyncio.Task[None]) -> None:
            warm = self._idle.get(turn.session_id)
            if warm is not None and warm.agent is agent:
                self._retire(turn.session_id)

        resume = turn.native_id is not None
        while True:
            agent = await Agent.start(self._config, terms[2], self._environ, self._programs, turn.depth)
            agent.ended.add_done_callback(crashed)
            try:
                return agent, await agent.open(turn, resume=resume)
            except CannotResume:
                await agent.end()
                resume = False
            except BaseException:
                await agent.end()
                raise

    def _learn_choices(self, agent: Agent) -> None:
        self._models = agent.models or self._models
        if agent.modes:
            self._modes, self._mode = agent.modes, agent.mode

    async def _keep(self, session_id: str, agent: Agent, terms: _Terms) -> None:
        if not agent.fit or self._closed:
            await agent.end()
            return
        self._retire(session_id)
        timer = asyncio.get_running_loop().call_later(self._config.idle_ttl, self._retire, session_id)
        self._idle[session_id] = _IdleAgent(agent, terms, timer)
        if len(self._idle) > _MOST_IDLE:
            self._retire(next(iter(self._idle)))

    def _retire(self, session_id: str) -> None:
        warm = self._idle.pop(session_id, None)
        if warm is not None:
            warm.timer.cancel()
            self._ending[session_id] = task = asyncio.create_task(warm.agent.end())
            task.add_done_callback(lambda _: self._ended(session_id, task))

    def _ended(self, session_id: str, task: asyncio.Task[None]) -> None:
        if self._ending.get(session_id) is task:
            del self._ending[session_id]

"""Who there is: the built-in agents, those in `config.toml`, and those that have a session."""

from __future__ import annotations

import asyncio
import difflib
import logging
from pathlib import Path

from port42_daemon.config import ConfigFile
from port42_daemon.store import disk
from port42_daemon.store.contract import Store
from port42_daemon.threads import Threads
from port42_protocol.errors import InvalidParams, StorageFailed, UnknownAgent
from port42_protocol.messages import AddAgent, Agent, AgentList, ListAgents

log = logging.getLogger(__name__)

BUILT_IN = {
    "ai-engineer": "You are a software engineer. You write plain, correct code and say what you checked.",
    "ai-analyst": "You are an analyst. You take questions apart, show figures and name what is uncertain.",
    "ai-muse": "You are a muse. You offer several unlike ideas before you judge any of them.",
    "ai-founder": "You are a founder. You weigh customers, cost and time, and end with a next step.",
}
"""Each with its persona; an entry of the same name in ``config.toml`` replaces it."""


class Agents:
    """The known agents. A tool that names an agent makes it known by giving it a session."""

    def __init__(self, store: Store, threads: Threads, config: ConfigFile, home: Path) -> None:
        self._store = store
        self._threads = threads
        self._config = config
        self._path = home / "config.toml"
        self._writing = asyncio.Lock()

    async def require(self, name: str) -> None:
        """Raise `UnknownAgent`, with the nearest names, unless somebody knows `name`."""
        if self._config.stale():
            await self._threads.files(self._config.refresh)
        if name in BUILT_IN or name in self._config.current.agents or self._store.last(name):
            return
        known = [*BUILT_IN, *self._config.current.agents, *self._store.agents()]
        near = difflib.get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.5)
        raise UnknownAgent(name, near)

    async def list_agents(self, _: ListAgents) -> AgentList:
        """Built-in ones first, then configured ones, then those met in sessions."""
        await self._threads.files(self._config.refresh)
        counts = await self._threads.index(self._store.counts)
        configured = self._config.current.agents
        names = dict.fromkeys([*BUILT_IN, *configured, *sorted(self._store.agents())])
        return AgentList(
            agents=tuple(self._agent(name, counts.get(name, 0)) for name in names),
            config_error=self._config.error,
        )

    async def add_agent(self, asked: AddAgent) -> Agent:
        """Write a new ``[agents.NAME]``, everything else in the file kept as it is."""
        async with self._writing:
            await self._threads.files(self._config.refresh)
            if asked.agent in self._config.current.agents:
                expected = "a name that config.toml does not have yet"
                raise InvalidParams(
                    f"agent: expected {expected}, got {asked.agent}",
                    field="agent",
                    expected=expected,
                )
            await self._threads.files(self._write, asked)
        log.info("➕ %s is in config.toml", asked.agent)
        counts = await self._threads.index(self._store.counts)
        return self._agent(asked.agent, counts.get(asked.agent, 0))

    def _write(self, asked: AddAgent) -> None:
        data = self._config.with_agent(asked.agent, asked.system)
        try:
            # Where the file is a link, into somebody's dotfiles say, it stays one.
            disk.replace(self._path.resolve(), data)
        except OSError as error:
            log.error("cannot write config.toml: %s", error)
            raise StorageFailed(f"cannot write config.toml: {error.strerror}") from error
        self._config.refresh()

    def _agent(self, name: str, session_count: int) -> Agent:
        configured = self._config.current.agents.get(name)
        return Agent(
            agent=name,
            source="config" if configured else "built-in" if name in BUILT_IN else "sessions",
            system=configured.system if configured else BUILT_IN.get(name),
            backend="none",
            session_count=session_count,
            last_session=self._store.last(name),
        )

"""Agents and their back ends: built-in agents, those in `config.toml`, and those with sessions."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from port42_daemon import durable
from port42_daemon.backends import presets
from port42_daemon.backends.base import Backend, Health, ModelOffer
from port42_daemon.backends.programs import Programs
from port42_daemon.config import (
    AgentConfig,
    BackendConfig,
    Config,
    ConfigFile,
    SessionsConfig,
    table,
    take_out,
)
from port42_daemon.executors import Threads
from port42_daemon.store.interface import Catalogue, SessionStore
from port42_protocol.errors import ConfigRefused, InvalidParams, StorageFailed, UnknownAgent
from port42_protocol.messages.agents import (
    AddAgent,
    Agent,
    AgentList,
    ConnectAgent,
    GetAgent,
    ListAgents,
    ListModels,
    ModelList,
    RemoveAgent,
    Removed,
)
from port42_protocol.messages.daemon import ReloadConfig, Reloaded
from port42_protocol.messages.turns import McpServer
from port42_protocol.presets import ECHO

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

log = logging.getLogger(__name__)

BUILT_IN = {
    "ai-engineer": "You are a software engineer. You write plain, correct code and say what you checked.",
    "ai-analyst": "You are an analyst. You take questions apart, show figures and name what is uncertain.",
    "ai-muse": "You are a muse. You offer several unlike ideas before you judge any of them.",
    "ai-founder": "You are a founder. You weigh customers, cost and time, and end with a next step.",
}
"""Each with its persona; an entry of the same name in ``config.toml`` replaces it, and `ECHO`."""

_PROBE_SECONDS = 3.0


class ResolvedBackend(Struct, frozen=True):
    """An agent's back end (None: messages are only recorded), its name, and its settings."""

    name: str
    backend: Backend | None
    system: str | None
    model: str | None
    cwd: str | None
    context_chars: int
    limits: SessionsConfig
    notice: str | None = None  # of the configuration, for the person
    mode: str | None = None
    mcp_servers: tuple[McpServer, ...] = ()


class _Built(Struct):
    """A back end and what config.toml said of it; `retired` ones stop after their last use."""

    settings: BackendConfig
    backend: Backend | None
    uses: int = 0
    retired: bool = False


@dataclass(eq=False)
class Agents:
    """The known agents. A tool that names an agent makes it known by giving it a session.

    `programs` are those that their back ends run, with the `umask` of whoever started the daemon.
    `config_read` is called with each version of config.toml that was read, for what else it is about.
    """

    store: SessionStore
    catalogue: Catalogue
    threads: Threads
    config: ConfigFile
    home: Path
    umask: int = 0o022

    def __post_init__(self) -> None:
        self.programs = Programs(self.umask, self.home / "programs")
        self._path = self.home / "config.toml"
        self._writing = asyncio.Lock()
        self._built: dict[str, _Built] = {}
        self.config_read: Callable[[Config], None] = _ignored

    # --- for turns ----------------------------------------------------------------------------------

    async def require(self, name: str) -> None:
        """Raise `UnknownAgent`, with similar names, unless the agent exists.

        Raises `ConfigRefused` instead while config.toml, which may name it, is wrong since the start.
        """
        config = await self.refresh()
        if name in (*BUILT_IN, *config.agents, ECHO) or self.store.last_sessions.get(name):
            return
        # A daemon killed between a session's file and agent_sessions.json left the agent out of the latter.
        with contextlib.suppress(StorageFailed):
            if name in await self.threads.index(self.catalogue.counts):
                return
        self._check_config()
        names = [*BUILT_IN, ECHO, *config.agents, *self.store.last_sessions]
        near = difflib.get_close_matches(name, dict.fromkeys(names), n=3, cutoff=0.5)
        raise UnknownAgent(name, near)

    async def require_for_turn(self, name: str) -> None:
        """As above, but refused while config.toml, which may name the back end, is invalid."""
        await self.refresh()
        self._check_config()
        await self.require(name)

    @asynccontextmanager
    async def resolve(self, name: str) -> AsyncIterator[ResolvedBackend]:
        """The agent's current back end, kept open for the whole turn, even if config.toml changes."""
        config = await self.refresh()
        agent, backend, settings = _configured(name, config)
        error = self.config.error
        async with self._in_use(backend, settings) as built:
            yield ResolvedBackend(
                name=backend,
                backend=built,
                system=agent.system,
                model=agent.model or getattr(settings, "model", None),
                cwd=agent.cwd,
                context_chars=getattr(settings, "context_chars", 0),
                limits=config.sessions,
                notice=error and f"{error}; its last valid version is still used",
            )

    async def described(self, counts: dict[str, int]) -> tuple[Agent, ...]:
        """Built-in ones first, then configured ones, then those met in sessions; `counts` are of sessions."""
        config = await self.refresh()
        names = dict.fromkeys([*BUILT_IN, ECHO, *config.agents, *sorted(self.store.last_sessions)])
        return tuple(await asyncio.gather(*(self._describe(name, config, counts) for name in names)))

    async def aclose(self) -> None:
        await asyncio.gather(*(self._retire(name) for name in list(self._built)))

    # --- methods ------------------------------------------------------------------------------------

    async def list_agents(self, _: ListAgents) -> AgentList:
        counts = await self.threads.index(self.catalogue.counts)
        return AgentList(
            agents=await self.described(counts),
            available=await self.threads.files(presets.available),
            config_error=self.config.error,
        )

    async def get_agent(self, request: GetAgent) -> Agent:
        await self.require(request.agent)
        counts = await self.threads.index(self.catalogue.counts)
        return await self._describe(request.agent, self.config.current, counts)

    async def list_models(self, request: ListModels) -> ModelList:
        """Those that config.toml names for the back end, the agent's own first, then those that it offers."""
        await self.require(request.agent)
        config = self.config.current
        _, backend, settings = _configured(request.agent, config)
        if request.backend is not None:
            backend = request.backend
            _check_backend(backend, config)
            settings = presets.settings(backend, config)
        async with self._in_use(backend, settings) as built:
            offer = ModelOffer(detail="no back end answers") if built is None else await self._offer(built)
        default = getattr(settings, "model", None)
        everyone = [_configured(agent, config) for agent in dict.fromkeys((request.agent, *config.agents))]
        users = [agent for agent, answered_by, _ in everyone if answered_by == backend]
        own = everyone[0][0].model if everyone[0][1] == backend else None
        named = (own, default, *(agent.model for agent in users))
        return ModelList(
            agent=request.agent,
            backend=backend,
            model=own or default,
            models=tuple(dict.fromkeys(filter(None, (*named, *offer.models)))),
            detail=offer.detail,
        )

    async def add_agent(self, request: AddAgent) -> Agent:
        """Write a new ``[agents.NAME]``, everything else in the file kept as it is."""

        def add(document: TOMLDocument) -> None:
            if request.agent in document.get("agents", {}):
                expected = "a name that config.toml does not have yet"
                raise InvalidParams.expecting("agent", expected, got=request.agent)
            entry = table(document, "agents", request.agent)
            if request.system is not None:
                entry["system"] = request.system

        await self.change(add)
        log.info("➕ %s is in config.toml", request.agent)
        return await self.get_agent(GetAgent(request.agent))

    async def connect_agent(self, request: ConnectAgent) -> Agent:
        """Name the back end in ``[agents.NAME]``; a known one that is not in the file is written, too."""
        await self.require(request.agent)
        config = await self.refresh()
        configured = config.backends
        _check_backend(request.backend, config)

        def connect(document: TOMLDocument) -> None:
            agent = table(document, "agents", request.agent)
            if agent.get("backend", request.backend) != request.backend:
                agent.pop("model", None)  # of the other back end
            if request.backend == "none":
                agent.pop("backend", None)
            else:
                agent["backend"] = request.backend
                if request.backend not in configured:
                    table(document, "backends", request.backend).update(presets.KNOWN[request.backend])
            if request.model is not None:
                agent["model"] = request.model

        await self.change(connect)
        log.info("🔌 %s is answered by %s", request.agent, request.backend)
        return await self.get_agent(GetAgent(request.agent))

    async def remove_agent(self, request: RemoveAgent) -> Removed:
        def remove(document: TOMLDocument) -> None:
            agents: Any = document.get("agents", {})
            if request.agent not in agents:
                raise UnknownAgent(request.agent, difflib.get_close_matches(request.agent, agents))
            take_out(document, agents, request.agent)

        await self.change(remove)
        log.info("➖ %s is no longer in config.toml", request.agent)
        return Removed(request.agent)

    async def reload_config(self, _: ReloadConfig) -> Reloaded:
        """Reload the file. Raises `ConfigRefused`; the last valid version then stays in use."""
        config = await self.threads.files(self.config.refresh, anew=True)
        await self._use(config)
        if self.config.error is not None:
            raise self._refused()
        return Reloaded(len(config.agents), len(config.backends))

    # --- inside -------------------------------------------------------------------------------------

    def _check_config(self) -> None:
        if self.config.error is not None and not self.config.ever_good:
            raise self._refused()

    def _refused(self) -> ConfigRefused:
        return ConfigRefused(str(self.config.error).removeprefix("config.toml: "))

    async def refresh(self) -> Config:
        """The configuration as the file says it now, or as it last was valid."""
        if self.config.stale():
            config = await self.threads.files(self.config.refresh)
            await self._use(config)
        return self.config.current

    async def change(self, change: Callable[[TOMLDocument], Any]) -> None:
        """Change the file, one change at a time, and use it."""
        async with self._writing:
            await self.threads.files(self._write, change)
        await self._use(self.config.current)

    def _write(self, change: Callable[[TOMLDocument], Any]) -> None:
        data = self.config.changed(change)
        try:
            # A symbolic link, to a dotfiles repository for example, stays a link.
            durable.replace(self._path.resolve(), data)
        except OSError as error:
            log.error("cannot write config.toml: %s", error)
            raise StorageFailed(f"cannot write config.toml: {error.strerror}") from error
        self.config.refresh()

    @asynccontextmanager
    async def _in_use(self, name: str, settings: BackendConfig) -> AsyncIterator[Backend | None]:
        """The back end, which is not stopped meanwhile, even if config.toml changes."""
        built = self._backend(name, settings)
        built.uses += 1
        try:
            yield built.backend
        finally:
            built.uses -= 1
            await self._stop_if_unused(built)

    def _backend(self, name: str, settings: BackendConfig) -> _Built:
        if name not in self._built:
            self._built[name] = _Built(settings, presets.build(settings, self.programs))
        return self._built[name]

    async def _use(self, config: Config) -> None:
        for name, built in list(self._built.items()):
            if presets.settings(name, config) != built.settings:
                await self._retire(name)
        self.config_read(config)

    async def _retire(self, name: str) -> None:
        if built := self._built.pop(name, None):
            built.retired = True
            await self._stop_if_unused(built)

    @staticmethod
    async def _stop_if_unused(built: _Built) -> None:
        if built.retired and not built.uses and built.backend is not None:
            await built.backend.aclose()

    async def _describe(self, name: str, config: Config, counts: dict[str, int]) -> Agent:
        agent, backend, settings = _configured(name, config)
        built = self._backend(backend, settings).backend
        health = await self._probe(built)
        return Agent(
            agent=name,
            source=_source(name, config),
            system=agent.system,
            backend=backend,
            model=agent.model or getattr(settings, "model", None),
            health="none" if health is None else health.state,
            detail="records only" if health is None else health.detail,
            session_count=counts.get(name, 0),
            last_session=self.store.last_sessions.get(name),
            models=(health.models if health else ()) or msgspec.UNSET,
            modes=(health.modes if health else ()) or msgspec.UNSET,
            mode=(health.mode if health else None) or msgspec.UNSET,
            takes_mcp_servers=(built is not None and built.takes_mcp_servers) or msgspec.UNSET,
        )

    @staticmethod
    async def _offer(backend: Backend) -> ModelOffer:
        try:
            return await backend.models()
        except Exception as error:  # as below
            log.error("a back end's list of models broke its contract", exc_info=error)
            return ModelOffer(detail="the list cannot be read; the daemon's log says more")

    @staticmethod
    async def _probe(backend: Backend | None) -> Health | None:
        if backend is None:
            return None
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await backend.probe()
        except TimeoutError:
            return Health("unreachable", f"no answer within {_PROBE_SECONDS:.0f} s")
        except Exception as error:  # a back end that breaks its contract must not hide the others
            log.error("a back end's probe broke its contract", exc_info=error)
            return Health("unreachable", "the check failed; the daemon's log says more")


def _check_backend(name: str, config: Config) -> None:
    """Raise `InvalidParams`, with similar names, unless config.toml or a preset has the back end."""
    names = list(dict.fromkeys([*config.backends, *presets.KNOWN, "none"]))
    if name not in names:
        near = difflib.get_close_matches(name, names)
        why = f"did you mean {' or '.join(near)}?" if near else ""
        raise InvalidParams.expecting("backend", f"one of {', '.join(names)}", got=name, why=why)


def _ignored(_: Config) -> None:
    pass


def _source(name: str, config: Config) -> Literal["built-in", "config", "sessions"]:
    if name in config.agents:
        return "config"
    return "built-in" if name in BUILT_IN or name == ECHO else "sessions"


def _configured(name: str, config: Config) -> tuple[AgentConfig, str, BackendConfig]:
    """An agent as it is configured, with its persona, and its back end's name and settings.

    A built-in agent without configuration uses the API key in the daemon's environment, if any; `ECHO` never.
    """
    agent = config.agents.get(name, AgentConfig())
    if agent.system is None and name in BUILT_IN:
        agent = msgspec.structs.replace(agent, system=BUILT_IN[name])
    backend = agent.backend
    if backend is None and _source(name, config) == "built-in":
        backend = ECHO if name == ECHO else presets.from_environment()
    backend = backend or "none"
    return agent, backend, presets.settings(backend, config)

"""The methods of an ACP agent, answered by the daemon."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from port42_acp import messages as m
from port42_acp.editor import Editor, Handler
from port42_acp.session import CLIENT, Session
from port42_client.async_connection import Connection, Lost
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, DaemonError, NoDaemon
from port42_client.wire import Event, JsonObject
from port42_protocol import __version__
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.types import NAME_PATTERN

PROTOCOL_VERSION = 1

_DEFAULT = "default"
"""The value of the option `model` for what the back end takes by itself."""

_MODELS_WITHIN = 1.0
"""Seconds that the opening of a session waits for a model server's list."""

_CAPABILITIES: JsonObject = {
    "loadSession": True,
    "promptCapabilities": {"image": True, "audio": False, "embeddedContext": True},
    "mcpCapabilities": {"http": True, "sse": True},
    "sessionCapabilities": {"list": {}, "resume": {}, "close": {}},
}


class _Choices(NamedTuple):
    """The agent's own model, and the models and modes that are known for its back end.

    `modes` has the name of each id; `mode` is the id of the one that the back end has by itself.
    """

    configured: str | None
    offered: tuple[str, ...]
    modes: dict[str, str]
    mode: str | None
    takes_mcp_servers: bool

    @property
    def default_model(self) -> str:
        return self.configured or _DEFAULT

    @property
    def models(self) -> list[str]:
        """The default first; nothing where there is no choice and no name."""
        if not self.offered and self.configured is None:
            return []
        return list(dict.fromkeys((self.default_model, *self.offered)))


class Agent:
    """Sessions of `agent`, or, with None, of the one that is chosen in the editor for each."""

    def __init__(self, editor: Editor, daemon: Daemon, agent: str | None) -> None:
        self._editor = editor
        self._daemon = daemon
        self._agent = agent
        self._sessions: dict[str, Session] = {}
        self._control: Connection | None = None
        self._connecting = asyncio.Lock()
        self._choices: dict[str, _Choices] = {}
        self._listing: dict[str, asyncio.Task[None]] = {}

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "initialize": self._initialize,
            "session/new": self._new,
            "session/load": self._load,
            "session/resume": self._resume,
            "session/list": self._list,
            "session/prompt": self._prompt,
            "session/cancel": self._cancel,
            "session/close": self._close,
            "session/set_config_option": self._set_config_option,
            "session/set_mode": self._set_mode,
        }

    async def end(self) -> None:
        """Stop the turns that run."""
        for session in self._sessions.values():
            await session.close()

    async def close(self) -> None:
        """Close the connection that is left; nothing is asked any more."""
        for listing in self._listing.values():
            listing.cancel()
        if self._control is not None:
            await self._control.close()

    # --- methods --------------------------------------------------------------------------------------

    async def _initialize(self, params: JsonObject) -> JsonObject:
        m.read(m.Initialize, params)
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": _CAPABILITIES,
            "agentInfo": {"name": "port42", "title": "Port42", "version": __version__},
            "authMethods": [],
        }

    async def _new(self, params: JsonObject) -> JsonObject:
        request = m.read(m.NewSession, params)
        agent = await self._choose_agent()
        # The daemon has it from its first message on: editors open more sessions than are used.
        session_id = f"{CLIENT}-{time.time_ns() // 1_000_000}-{secrets.token_hex(2)}"
        session = Session(self._editor, self._daemon, session_id, agent, request.cwd)
        session.exists = False
        session.mcp_servers = request.mcp_servers
        self._sessions[session_id] = session
        return {"sessionId": session_id, **self._options(session)}

    async def _load(self, params: JsonObject) -> JsonObject:
        return await self._open(m.read(m.LoadSession, params), replay=True)

    async def _resume(self, params: JsonObject) -> JsonObject:
        return await self._open(m.read(m.LoadSession, params), replay=False)

    async def _list(self, params: JsonObject) -> JsonObject:
        request = m.read(m.ListSessions, params)
        cwd = request.cwd if self._daemon.host is None else None  # the folder is this machine's
        wanted = {"agent": self._agent, "cwd": cwd, "cursor": request.cursor}
        given = {name: value for name, value in wanted.items() if value is not None}
        page = await self._ask("list_sessions", given)
        sessions = [
            {
                "sessionId": session["session_id"],
                # Imported sessions may have none, and ACP wants one.
                "cwd": session["cwd"] or str(Path.home()),
                "title": session["title"] or f"@{session['agent']}",
                "updatedAt": session["last_activity"],
                "_meta": {"port42": {"agent": session["agent"], "messages": session["message_count"]}},
            }
            for session in page["sessions"]
        ]
        more = {"nextCursor": page["next_cursor"]} if page["next_cursor"] else {}
        return {"sessions": sessions, **more}

    async def _prompt(self, params: JsonObject) -> JsonObject:
        request = m.read(m.Prompt, params)
        session = self._session(request.session_id)
        was_new = not session.exists
        self._check_mcp_servers(session)
        try:
            return await session.prompt(request.prompt)
        finally:
            if was_new and session.exists:
                await self._tell_of_beginning(session)

    async def _cancel(self, params: JsonObject) -> JsonObject:
        await self._session(m.read(m.OpenSession, params).session_id).cancel()
        return {}

    async def _close(self, params: JsonObject) -> JsonObject:
        session = self._session(m.read(m.OpenSession, params).session_id)
        del self._sessions[session.id]
        await session.close()
        return {}

    async def _set_config_option(self, params: JsonObject) -> JsonObject:
        request = m.read(m.SetConfigOption, params)
        session = self._session(request.session_id)
        options = self._options(session).get("configOptions", [])
        option = next((option for option in options if option["id"] == request.config_id), None)
        if option is None:
            names = ", ".join(option["id"] for option in options) or "none"
            raise InvalidParams.expecting("configId", f"an option of this session ({names})")
        values = [choice["value"] for choice in option["options"]]
        if request.value not in values:
            raise InvalidParams.expecting("value", "one of " + ", ".join(values))
        if option["id"] == "agent":
            session.agent, session.model, session.mode = request.value, None, None
            await self._learn_models(session.agent)
        elif option["id"] == "mode":
            session.mode = request.value
            self._editor.update(session.id, _mode_update(request.value))
        else:
            is_default = request.value == self._choices[session.agent].default_model
            session.model = None if is_default else request.value
        return {"configOptions": self._options(session)["configOptions"]}

    async def _set_mode(self, params: JsonObject) -> JsonObject:
        """What editors call that do not know of options."""
        request = m.read(m.SetMode, params)
        session = self._session(request.session_id)
        modes = self._modes(session)
        if request.mode_id not in modes:
            raise InvalidParams.expecting("modeId", "one of " + ", ".join(modes) if modes else "none")
        session.mode = request.mode_id
        self._editor.update(session.id, _mode_update(session.mode))
        self._tell_of_options(session)
        return {}

    # --- sessions -------------------------------------------------------------------------------------

    def _session(self, session_id: str) -> Session:
        if session := self._sessions.get(session_id):
            return session
        raise InvalidParams.expecting("sessionId", "a session that is open: session/load opens it")

    def _check_mcp_servers(self, session: Session) -> None:
        choices = self._choices.get(session.agent)
        if session.mcp_servers and self._daemon.host is not None:
            session.leave_out_mcp_servers(f"the agent works on {self._daemon.host}")
        elif session.mcp_servers and not (choices and choices.takes_mcp_servers):
            session.leave_out_mcp_servers(f"the back end of @{session.agent} is no ACP agent")

    async def _open(self, request: m.LoadSession, *, replay: bool) -> JsonObject:
        opened = self._sessions.get(request.session_id)
        if opened is not None:
            opened.mcp_servers = request.mcp_servers
        if opened is not None and not opened.exists:
            return self._options(opened)
        wanted: JsonObject = {"session_id": request.session_id, "last": 1, "events": True}
        page = await self._ask("get_session", wanted | ({"agent": self._agent} if self._agent else {}))
        summary = page["session"]
        if opened is not None and opened.is_busy:
            if replay:
                await opened.show_again()
            self._editor.update(opened.id, _info(summary))
            return self._options(opened)
        if opened is not None:
            await opened.close()
        session = Session(self._editor, self._daemon, summary["session_id"], summary["agent"], request.cwd)
        session.mcp_servers = request.mcp_servers
        if not replay and page["messages"]:
            session.seen = page["messages"][-1]["seq"]
        self._sessions[session.id] = session
        await self._learn_choices(session.agent)
        await session.follow()
        self._editor.update(session.id, _info(summary))
        return self._options(session)

    async def _tell_of_beginning(self, session: Session) -> None:
        """A session that began has a title, and keeps its agent."""
        with suppress(DaemonError, NoDaemon):
            page = await self._ask("get_session", {"session_id": session.id, "last": 1})
            self._editor.update(session.id, _info(page["session"]))
            await self._learn_choices(session.agent)
        self._tell_of_options(session)

    def _tell_of_options(self, session: Session) -> None:
        if options := self._options(session).get("configOptions"):
            update = {"sessionUpdate": "config_option_update", "configOptions": options}
            self._editor.update(session.id, update)

    # --- agents ---------------------------------------------------------------------------------------

    async def _choose_agent(self) -> str:
        """The agent of a new session. Raises `DaemonError` for one that is unknown."""
        if self._agent is not None:
            await self._learn_choices(self._agent)
            return self._agent
        agents = (await self._ask("list_agents", {}))["agents"]
        self._choices = {agent["agent"]: _choices(agent) for agent in agents}
        ready = [agent["agent"] for agent in agents if agent["health"] == "ready"]
        chosen: str = (ready or list(self._choices))[0]
        await self._learn_models(chosen)
        return chosen

    async def _learn_choices(self, agent: str) -> None:
        self._choices[agent] = _choices(await self._ask("get_agent", {"agent": agent}))
        await self._learn_models(agent)

    async def _learn_models(self, agent: str) -> None:
        """Wait a moment for the list; the sessions that are open are told of one that comes later."""
        if (listing := self._listing.get(agent)) is None:
            listing = self._listing[agent] = asyncio.create_task(self._list_models(agent))
            listing.add_done_callback(lambda _: self._listing.pop(agent))
        if not (await asyncio.wait([listing], timeout=_MODELS_WITHIN))[0]:
            listing.add_done_callback(lambda _: self._tell_of_models(agent))

    async def _list_models(self, agent: str) -> None:
        with suppress(DaemonError, NoDaemon):  # a daemon of an earlier version has no lists
            answer = await self._ask("list_models", {"agent": agent})
            self._choices[agent] = self._choices[agent]._replace(offered=tuple(answer["models"]))

    def _tell_of_models(self, agent: str) -> None:
        for session in self._sessions.values():
            if session.agent == agent:
                self._tell_of_options(session)

    def _modes(self, session: Session) -> dict[str, str]:
        """The name of each mode that can be chosen, by its id."""
        choices = self._choices.get(session.agent)
        return choices.modes if choices and choices.mode in choices.modes else {}

    def _options(self, session: Session) -> JsonObject:
        """The session's agent, model and mode: what can be chosen, or, where nothing can, what they are.

        The modes twice: an editor that knows no options reads `modes`.
        """
        options: list[JsonObject] = []
        if self._agent is None:
            agents = [session.agent] if session.exists else list(self._choices)
            options.append(_option("agent", "_agent", session.agent, {name: f"@{name}" for name in agents}))
        choices = self._choices.get(session.agent)
        if choices and (models := choices.models):
            current = session.model or choices.default_model
            options.append(_option("model", "model", current, {name: name for name in models}))
        old: JsonObject = {}
        if choices and (modes := self._modes(session)):
            mode = session.mode if session.mode in modes else str(choices.mode)
            options.append(_option("mode", "mode", mode, modes))
            available = [{"id": mode_id, "name": name} for mode_id, name in modes.items()]
            old = {"modes": {"currentModeId": mode, "availableModes": available}}
        return {"configOptions": options, **old} if options else {}

    # --- the daemon -----------------------------------------------------------------------------------

    async def _ask(self, method: str, params: JsonObject) -> Any:
        """The result of a method that only reads. Raises `DaemonError`, `NoDaemon`."""
        for _ in range(2):
            async with self._connecting:
                if self._control is None or self._control.ended.done():
                    self._control = await Connection.open(self._daemon, _ignore)
                control = self._control
            with suppress(Lost):
                return await control.call(method, params)
        raise NoDaemon("the daemon went away before it answered")


async def serve(daemon: Daemon, agent: str | None) -> None:
    """Speak with the editor on stdin and stdout until it hangs up. Raises `BadInput` for a wrong name."""
    if agent is not None:
        agent = agent.removeprefix("@")
        if not re.fullmatch(NAME_PATTERN, agent):
            expected = "a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"
            raise BadInput(f"@AGENT: expected the name of an agent ({expected}), got @{agent}")
    editor = Editor(sys.stdin.fileno(), sys.stdout.fileno())
    methods = Agent(editor, daemon, agent)
    await editor.serve(methods.handlers, methods.end)
    await methods.close()


async def _ignore(_connection: Connection, _event: Event) -> None:
    """A connection that asks only is sent no events."""


def _choices(agent: JsonObject) -> _Choices:
    modes = {mode["id"]: mode["name"] for mode in agent.get("modes", ())}
    takes_mcp_servers = agent.get("takes_mcp_servers", False)
    return _Choices(
        agent["model"], tuple(agent.get("models", ())), modes, agent.get("mode"), takes_mcp_servers
    )


def _mode_update(mode: str) -> JsonObject:
    return {"sessionUpdate": "current_mode_update", "currentModeId": mode}


def _info(summary: JsonObject) -> JsonObject:
    title = summary["title"]
    known = {"title": title} if title else {}
    return {"sessionUpdate": "session_info_update", "updatedAt": summary["last_activity"], **known}


def _option(name: str, category: str, current: str, choices: dict[str, str]) -> JsonObject:
    """A selection; `choices` has the name of each value."""
    return {
        "id": name,
        "name": name.capitalize(),
        "category": category,
        "type": "select",
        "currentValue": current,
        "options": [{"value": value, "name": label} for value, label in choices.items()],
    }

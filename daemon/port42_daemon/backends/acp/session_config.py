"""The options of an agent's session, model and mode, the requests that set them, and MCP servers. No I/O."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import msgspec

from port42_daemon.backends.acp.connection import fields, objects
from port42_protocol.messages.agents import Mode
from port42_protocol.messages.turns import McpServer

_ASKING = ("default", "read-only")
"""Modes in which agents ask before they act: Claude's and Gemini's, Codex's."""
_UNASKED = frozenset(("auto", "acceptedits", "bypasspermissions", "autoedit", "yolo", "autopilot"))
_UNASKED_CODEX = frozenset(("workspace-write", "agent", "agent-full-access", "full-access"))
"""Modes in which they act first. Codex's go with its ``read-only``: others call `agent` what does ask."""

_MOST_OFFERED, _LONGEST_OFFERED = 200, 200
"""Offered models and modes that are kept, and the characters of one that is."""

Request = tuple[str, dict[str, Any]]


class Choices:
    """Read from the answer that opened a session: from its options or, older, its modes and models.

    `model` and `mode` are what the session has now, as far as it says.
    """

    def __init__(self, opened: dict[str, Any]) -> None:
        self._options: dict[str, dict[str, Any]] = {}
        modes = fields(opened.get("modes"))
        self._modes = _choices(modes.get("availableModes"), "id")
        models = fields(opened.get("models"))
        self._models = _choices(models.get("availableModels"), "modelId")
        self.model = _text(models.get("currentModelId"))
        self.mode = _text(modes.get("currentModeId"))
        self._read_options(opened.get("configOptions"))

    def changed(self, update: dict[str, Any]) -> None:
        match update.get("sessionUpdate"):
            case "current_mode_update":
                self.mode = _text(update.get("currentModeId")) or self.mode
            case "config_option_update":
                self._read_options(update.get("configOptions"))

    def model_request(self, model: str) -> Request:
        if "model" in self._options:
            return self._option("model", model)
        return "session/set_model", {"modelId": model}

    @property
    def models(self) -> tuple[str, ...]:
        """Those that can be chosen, as far as it names them."""
        return tuple(_choices(self._options.get("model", {}).get("options"), "value") or self._models)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those that can be chosen and left again: none where it does not say which one it has."""
        return () if self.mode is None else tuple(Mode(*each) for each in self._all_modes().items())

    def acts_unasked(self, mode: str | None) -> bool:
        """Whether the mode is one in which the agent decides by itself what it may do.

        A mode that is not known is not: some agents call quite other things modes.
        """
        if mode is None:
            return False
        return _plain(mode) in _UNASKED or (mode in _UNASKED_CODEX and "read-only" in self._all_modes())

    @property
    def asking_mode(self) -> str | None:
        """A mode in which the agent asks, if it has one."""
        return next((mode for mode in _ASKING if mode in self._all_modes()), None)

    def mode_request(self, mode: str) -> Request:
        if mode not in self._modes and "mode" in self._options:
            return self._option("mode", mode)
        return "session/set_mode", {"modeId": mode}

    def _all_modes(self) -> dict[str, str]:
        return _choices(self._options.get("mode", {}).get("options"), "value") | self._modes

    def _option(self, category: str, value: str) -> Request:
        params = {"configId": self._options[category].get("id"), "value": value}
        return "session/set_config_option", params

    def _read_options(self, options: Any) -> None:
        for option in objects(options):
            match option:
                case {"category": "model", "currentValue": str(now)}:
                    self._options["model"], self.model = option, now
                case {"category": "mode", "currentValue": str(now)}:
                    self._options["mode"], self.mode = option, now


def takes(capabilities: dict[str, Any], server: McpServer) -> bool:
    """Whether the agent can reach the server; every agent starts programs."""
    return server.type == "stdio" or fields(capabilities.get("mcpCapabilities")).get(server.type) is True


def for_setup(server: McpServer) -> dict[str, Any]:
    """An MCP server as ACP has it."""
    if server.type == "stdio":
        env = msgspec.to_builtins(server.env)
        return {"name": server.name, "command": server.command, "args": list(server.args), "env": env}
    headers = msgspec.to_builtins(server.headers)
    return {"type": server.type, "name": server.name, "url": server.url, "headers": headers}


def _choices(offered: Any, key: str) -> dict[str, str]:
    """What is offered, also in groups: the names by the ids, which are under `key`."""
    choices: dict[str, str] = {}
    for choice in objects(offered):
        if "options" in choice:
            choices |= _choices(choice["options"], key)
        elif isinstance(value := choice.get(key), str) and 0 < len(value) <= _LONGEST_OFFERED:
            choices[value] = (_text(choice.get("name")) or value)[:_LONGEST_OFFERED]
    return dict(islice(choices.items(), _MOST_OFFERED))


def _plain(mode: str) -> str:
    """One mode is spelled autoEdit, auto_edit and auto-edit; Copilot's are addresses that end with a name."""
    return re.sub(r"[^a-z]", "", mode.rpartition("#")[2].lower())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

"""The options of an agent's session, model and mode, and the requests that set them. No I/O."""

from __future__ import annotations

from typing import Any

from port42_daemon.backends.acp.connection import fields, objects

_ASKING = ("default", "read-only")
"""Modes in which agents ask before they act: Claude's and Gemini's, Codex's."""
_UNASKED = frozenset(("auto", "acceptEdits", "bypassPermissions", "autoEdit", "auto_edit", "yolo"))
_UNASKED_CODEX = frozenset(("workspace-write", "agent", "agent-full-access", "full-access"))
"""Modes in which they act first. Codex's go with its ``read-only``: others call `agent` what does ask."""

_MOST_MODELS, _LONGEST_MODEL = 200, 200
"""Offered models that are kept, and the characters of a name that is."""

Request = tuple[str, dict[str, Any]]


class Choices:
    """Read from the answer that opened a session: from its options or, older, its modes and models.

    `model` and `mode` are what the session has now, as far as it says.
    """

    def __init__(self, opened: dict[str, Any]) -> None:
        self._options: dict[str, dict[str, Any]] = {}
        modes = fields(opened.get("modes"))
        self._modes = _ids(modes.get("availableModes"), "id")
        models = fields(opened.get("models"))
        self._models = _ids(models.get("availableModels"), "modelId")
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
        offered = _ids(self._options.get("model", {}).get("options"), "value") or self._models
        return tuple(name for name in offered[:_MOST_MODELS] if 0 < len(name) <= _LONGEST_MODEL)

    @property
    def acts_unasked(self) -> bool:
        """Whether the mode is one in which the agent decides by itself what it may do.

        A mode that is not known is not: some agents call quite other things modes.
        """
        return self.mode in _UNASKED or (self.mode in _UNASKED_CODEX and "read-only" in self._all_modes())

    def asking_mode_request(self) -> tuple[str, Request] | None:
        """A mode in which the agent asks, and the request for it; None if it has none."""
        mode = next((mode for mode in _ASKING if mode in self._all_modes()), None)
        if mode is None:
            return None
        if mode in self._modes:
            return mode, ("session/set_mode", {"modeId": mode})
        return mode, self._option("mode", mode)

    def _all_modes(self) -> list[str]:
        return [*self._modes, *_ids(self._options.get("mode", {}).get("options"), "value")]

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


def _ids(offered: Any, name: str) -> list[str]:
    ids: list[str] = []
    for choice in objects(offered):
        ids += _ids(choice["options"], name) if "options" in choice else [str(choice.get(name))]
    return ids


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

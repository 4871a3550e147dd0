"""An ACP agent that echoes, with the abilities its further arguments name.

``load`` and ``resume``: it goes back to any session; loading replays a conversation, its user's part too.
``field``, ``meta``: it takes a persona in the session's `systemPrompt`, or as Claude's agent did before.
``option``, ``models``: its model can be chosen, the new way or the old.
``auto``, ``auto-option``: it begins in a mode where it acts unasked, and can be put into another, the old
way or the new. ``yolo``: there is no other; ``auto-stays``: it will not; ``auto-waits``: not before it hears
of a cancel. Told ``act``, it goes back to that mode by itself; told ``die``, it exits.
``modes``, ``modes-option``: it has the modes default, plan and yolo, the old way or the new. Told ``mode?``,
it says which one it has; told ``stay``, it takes no other until it is told something else.
``http``: it speaks HTTP with MCP servers; ``tells-env``: it fails to start them, with their environment.
``copilot``: it counts the tokens of all turns so far.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from acp_base import Agent, Refuse

ABILITIES = set(sys.argv[2:])
MODES = {"default": "Default", "plan": "Plan", "yolo": "All by itself"}
ASKING = [{"id": "default"}, {"id": "plan"}]


def option(category: str, current: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    kind = {"id": f"{category}-id", "name": category.capitalize(), "category": category, "type": "select"}
    return {"configOptions": [kind | {"currentValue": current, "options": choices}]}


class Echo(Agent):
    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.mode, self.stays = "default", False
        ways: dict[str, Any] = {}
        if "resume" in ABILITIES:
            ways["resume"] = {}
        if "field" in ABILITIES:
            ways["systemPrompt"] = {}
        self.capabilities = {"loadSession": "load" in ABILITIES, "sessionCapabilities": ways}
        if "http" in ABILITIES:
            self.capabilities["mcpCapabilities"] = {"http": True}
        if "meta" in ABILITIES:
            self.capabilities["_meta"] = {"claudeCode": {"promptQueueing": True}}

    def models(self) -> dict[str, Any]:
        """And modes."""
        if ABILITIES & {"auto", "auto-stays", "auto-waits", "yolo"}:
            modes = [{"id": "auto", "name": "Auto"}, *([] if "yolo" in ABILITIES else ASKING)]
            return {"modes": {"currentModeId": "auto", "availableModes": modes}}
        if "auto-option" in ABILITIES:
            groups = [{"group": "g", "name": "G", "options": [{"value": "auto"}, {"value": "read-only"}]}]
            return option("mode", "auto", groups)
        if "modes" in ABILITIES:
            modes = [{"id": mode, "name": name} for mode, name in MODES.items()]
            return {"modes": {"currentModeId": self.mode, "availableModes": modes}}
        if "modes-option" in ABILITIES:
            return option("mode", self.mode, [{"value": mode, "name": name} for mode, name in MODES.items()])
        if "models" in ABILITIES:
            offered = [{"modelId": "small", "name": "Small"}, {"modelId": "large", "name": "Large"}]
            return {"models": {"currentModelId": "small", "availableModels": offered}}
        values = [{"value": "small", "name": "Small"}, {"value": "large", "name": "Large"}]
        return option("model", "small", values) if "option" in ABILITIES else {}

    def new(self, params: dict[str, Any]) -> Any:
        if "tells-env" in ABILITIES:
            (server,) = params["mcpServers"]
            raise Refuse(-32603, f"cannot start {server['name']} with {server['env']}")
        return {"sessionId": f"native-{os.getpid()}", **self.models()}

    def load(self, params: dict[str, Any]) -> Any:
        self.say("what I said", kind="user_message_chunk")
        self.say("what you replied")
        return self.models()

    def resume(self, params: dict[str, Any]) -> Any:
        return self.models()

    def prompt(self, text: str) -> Any:
        if text == "act":
            self.update(sessionUpdate="current_mode_update", currentModeId="auto")
        if text == "die":
            sys.exit(3)
        if text == "mode?":
            text = self.mode
        self.stays = text == "stay"
        self.turns += 1
        counted = {"usage": {"inputTokens": 10 * self.turns, "outputTokens": self.turns}}
        return super().prompt(text) | (counted if "copilot" in ABILITIES else {})

    def set_mode(self, params: dict[str, Any]) -> Any:
        if "auto-stays" in ABILITIES or self.stays:
            raise Refuse(-32602, "Invalid params")
        while "auto-waits" in ABILITIES and not self.cancelled and (message := self.read()) is not None:
            self.take(message)
        self.mode = params["modeId"]
        return {}

    def set_config_option(self, params: dict[str, Any]) -> Any:
        if params["configId"] == "mode-id":
            return self.set_mode({"modeId": params["value"]})
        return self.chosen(params["value"], "option")

    def set_model(self, params: dict[str, Any]) -> Any:
        return self.chosen(params["modelId"], "models")

    def chosen(self, model: str, way: str) -> Any:
        if way not in ABILITIES or model not in {"small", "large"}:
            raise Refuse(-32602, "Invalid params")
        return {}


if __name__ == "__main__":
    Echo().main()

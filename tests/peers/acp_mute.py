"""An ACP agent that sends nothing: from the start, or, told ``prompt``, from its first prompt on."""

from __future__ import annotations

import sys
from typing import Any

from acp_base import Agent

WHEN = sys.argv[2] if len(sys.argv) > 2 else "initialize"


class Mute(Agent):
    def initialize(self, params: dict[str, Any]) -> Any:
        return super().initialize(params) if WHEN == "prompt" else self.nothing()

    def prompt(self, text: str) -> Any:
        self.say("well ")
        return self.nothing()

    def nothing(self) -> Any:
        while self.read() is not None:
            pass
        sys.exit()


if __name__ == "__main__":
    Mute().main()

"""An ACP agent that sends one line of the length it is told."""

from __future__ import annotations

from typing import Any

from acp_base import Agent


class Long(Agent):
    def prompt(self, text: str) -> Any:
        self.say("x" * int(text))
        return {"stopReason": "end_turn"}


if __name__ == "__main__":
    Long().main()

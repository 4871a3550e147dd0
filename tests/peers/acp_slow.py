"""An ACP agent that streams for a second, and would go on for a minute; it stops when it is told to."""

from __future__ import annotations

import select
import sys
from typing import Any

from acp_base import Agent

PIECES = 5


class Slow(Agent):
    def prompt(self, text: str) -> Any:
        for _ in range(PIECES):
            self.say("tick ")
            if self.waited(0.2):
                return {"stopReason": "cancelled"}
        return {"stopReason": "cancelled" if self.waited(60) else "end_turn"}

    def waited(self, seconds: float) -> bool:
        """Whether a cancel came within that time."""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if ready:
            message = self.read()
            if message is None:
                sys.exit()
            self.take(message)
        return self.cancelled


if __name__ == "__main__":
    Slow().main()

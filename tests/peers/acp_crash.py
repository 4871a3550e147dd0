"""An ACP agent that dies in the middle of a turn, with the value of TEST_KEY among its last words."""

from __future__ import annotations

import os
import sys
from typing import Any

from acp_base import Agent


class Doomed(Agent):
    def prompt(self, text: str) -> Any:
        if text == "die later":
            # After the answer, by itself: it was warm, and nobody is listening.
            self.say("not yet")
            if os.fork() == 0:
                sys.stdout.flush()
                os._exit(0)
            return {"stopReason": "end_turn"}
        self.say("half a ")
        sys.stderr.write(f"warming up\nfatal: no more, {os.environ.get('TEST_KEY')}\n")
        sys.exit(3)


if __name__ == "__main__":
    Doomed().main()

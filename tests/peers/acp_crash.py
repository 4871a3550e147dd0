"""An ACP agent that dies within a turn, with the value of TEST_KEY in the last line of its stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

from acp_base import Agent


class Doomed(Agent):
    def prompt(self, text: str) -> Any:
        self.say("half a ")
        sys.stderr.write(f"warming up\nfatal: no more, {os.environ.get('TEST_KEY')}\n")
        sys.exit(3)


if __name__ == "__main__":
    Doomed().main()

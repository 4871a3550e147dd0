"""An ACP agent that says it can load sessions and cannot: it answers -32603, or, told ``dies``, it exits,
or, told ``hangs``, it says nothing more."""

from __future__ import annotations

import signal
import sys
from typing import Any

from acp_base import Agent, Refuse

HOW = sys.argv[2] if len(sys.argv) > 2 else "refuses"


class Forgetful(Agent):
    def __init__(self) -> None:
        super().__init__()
        self.capabilities = {"loadSession": True}

    def load(self, params: dict[str, Any]) -> Any:
        if HOW == "dies":
            sys.exit(1)
        if HOW == "hangs":
            signal.pause()
        raise Refuse(-32603, "Internal error")


if __name__ == "__main__":
    Forgetful().main()

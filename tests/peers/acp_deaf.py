"""An ACP agent that closes its stdin after its first turn, and lives on."""

from __future__ import annotations

import os
import signal
import sys

from acp_base import Agent


class Deaf(Agent):
    def read(self) -> dict[str, object] | None:
        message = super().read()
        if message is not None and message.get("method") == "session/prompt":
            self.take(message)
            os.close(sys.stdin.fileno())
            signal.pause()
        return message


if __name__ == "__main__":
    Deaf().main()

"""An ACP agent that writes 8 MiB to stderr before each answer, then asks for more than it may."""

from __future__ import annotations

import sys
from typing import Any

from acp_base import Agent


class Flood(Agent):
    def prompt(self, text: str) -> Any:
        for number in range(8 * 1024):
            sys.stderr.write(f"{number} " + "x" * 1024 + "\n")
        for number in range(300):
            self.send({"id": f"unread-{number}", "method": "fs/read_text_file", "params": {}})
        return super().prompt(text)


if __name__ == "__main__":
    Flood().main()

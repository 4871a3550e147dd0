"""An ACP agent that only SIGKILL stops: not a cancel, the end of stdin, SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import time
from typing import Any

from acp_base import Agent


class Stubborn(Agent):
    def prompt(self, text: str) -> Any:
        if text == "answer":
            return super().prompt(text)
        while True:
            self.say("on and on ")
            time.sleep(0.05)

    def main(self) -> None:
        super().main()
        while True:
            signal.pause()


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    Stubborn().main()

"""An ACP agent that requests the permission that its prompt names: ``edit allow_once reject_once``.

Its reply is the outcome.
"""

from __future__ import annotations

import json
from typing import Any

from acp_base import Agent


class Careful(Agent):
    def prompt(self, text: str) -> Any:
        kind, *options = text.split(" ")
        change = {"file_path": "/srv/mill.py", "old_string": "rye = 9\n", "new_string": "rye = 10\n"}
        title = "a \x1b[31mred\nfile"
        self.update(sessionUpdate="tool_call", toolCallId="call-1", title=title, kind=kind, rawInput=change)
        offered = [option for option in options if option != "quiet"]
        self.say(json.dumps(self.permission(kind, *offered, quiet="quiet" in options)))
        return {"stopReason": "cancelled" if self.cancelled else "end_turn"}


if __name__ == "__main__":
    Careful().main()

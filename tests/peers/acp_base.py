"""What our small ACP agents share: one message a line over stdio, in plain blocking Python, no SDK.

A script derives from `Agent`, overrides methods and calls `main`. Its first argument names a file in
which every message that comes is noted, after a line with the process id; a test reads it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Refuse(Exception):
    """Answer with this error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message} | ({} if data is None else {"data": data})


class Agent:
    """An agent that echoes and follows the protocol; scripts override parts of it."""

    def __init__(self) -> None:
        self.capabilities: dict[str, Any] = {}
        self.cancelled = False
        self.session = ""
        self._asked = 0
        self._journal = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        self.note({"pid": os.getpid()})

    def main(self) -> None:
        """Answer until stdin ends."""
        while (message := self.read()) is not None:
            self.take(message)

    # --- what a script overrides ------------------------------------------------------------------------

    def initialize(self, params: dict[str, Any]) -> Any:
        return {"protocolVersion": 1, "agentCapabilities": self.capabilities}

    def new(self, params: dict[str, Any]) -> Any:
        return {"sessionId": f"native-{os.getpid()}"}

    def load(self, params: dict[str, Any]) -> Any:
        raise Refuse(-32601, "Method not found")

    resume = set_mode = set_model = set_config_option = load

    def prompt(self, text: str) -> Any:
        for word in text.split(" "):
            self.say(word + " ")
        return {"stopReason": "end_turn"}

    # --- what a script calls ------------------------------------------------------------------------

    def say(self, text: str, kind: str = "agent_message_chunk", **more: Any) -> None:
        """A piece of the reply."""
        self.update(sessionUpdate=kind, content={"type": "text", "text": text}, **more)

    def update(self, **fields: Any) -> None:
        """A `session/update`."""
        self.send({"method": "session/update", "params": {"sessionId": self.session, "update": fields}})

    def ask(self, method: str, **params: Any) -> Any:
        """The response to a request of ours, whole; what comes before it is taken."""
        self._asked += 1
        number = f"agent-{self._asked}"
        self.send({"id": number, "method": method, "params": params})
        while (message := self.read()) is not None:
            if message.get("id") == number:
                return message
            self.take(message)
        raise SystemExit

    def permission(self, kind: str, *options: str, quiet: bool = False) -> Any:
        """The outcome of a permission request; an option's id is its kind with ``id:`` before it.

        Asked quietly, it says no more of the tool call than its id.
        """
        offered = [
            {"optionId": f"id:{option}", "name": option.replace("_", " "), "kind": option}
            for option in options
        ]
        call = {"toolCallId": "call-1"} | ({} if quiet else {"title": f"{kind} a file", "kind": kind})
        answer = self.ask(
            "session/request_permission", sessionId=self.session, toolCall=call, options=offered
        )
        return answer["result"]["outcome"]

    def send(self, message: dict[str, Any]) -> None:
        """Any message."""
        self.line(json.dumps({"jsonrpc": "2.0", **message}))

    def line(self, text: str) -> None:
        """Anything at all."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def read(self) -> dict[str, Any] | None:
        """The next message, noted."""
        line = sys.stdin.readline()
        if not line:
            self.note({"eof": True})
            return None
        message: dict[str, Any] = json.loads(line)
        self.note(message)
        return message

    def note(self, what: dict[str, Any]) -> None:
        """Write into the journal."""
        if self._journal is not None:
            with self._journal.open("a") as journal:
                journal.write(json.dumps(what) + "\n")

    def take(self, message: dict[str, Any]) -> None:
        """Answer one message."""
        methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "initialize": self.initialize,
            "session/new": self._opened(self.new),
            "session/load": self._opened(self.load),
            "session/resume": self._opened(self.resume),
            "session/set_mode": self.set_mode,
            "session/set_model": self.set_model,
            "session/set_config_option": self.set_config_option,
            "session/prompt": self._prompted,
        }
        method = message.get("method")
        if method == "session/cancel":
            self.cancelled = True
        elif method in methods:
            try:
                said = {"result": methods[method](message["params"])}
            except Refuse as refuse:
                said = {"error": refuse.error}
            self.send({"id": message["id"], **said})

    def _opened(self, opening: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def opened(params: dict[str, Any]) -> Any:
            self.session = params.get("sessionId", "")
            result = opening(params)
            self.session = self.session or result.get("sessionId", "")
            return result

        return opened

    def _prompted(self, params: dict[str, Any]) -> Any:
        self.cancelled = False
        return self.prompt("".join(block["text"] for block in params["prompt"]))

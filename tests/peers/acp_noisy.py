"""An ACP agent that sends what nobody expects: lines that are no messages, unknown updates, answers to
nobody, requests it was told not to make, other sessions' updates; and goes on after its own end."""

from __future__ import annotations

import json
from typing import Any

from acp_base import Agent


class Noisy(Agent):
    def prompt(self, text: str) -> Any:
        for line in ("[]", "1", "null", "", "Loading…", '{"id": true, "result": {"stopReason": "end_turn"}}'):
            self.line(line)
        for line in (
            '{"id": [1]}',
            '{"id": 4711, "result": {}}',
            '{"method": 7}',
            "[" * 5000,
            '{"a": "\\ud800"}',
        ):
            self.line(line)
        self.update(sessionUpdate="user_message_chunk", content={"type": "text", "text": text})
        self.update(sessionUpdate="tomorrows_invention", content={"type": "text", "text": "no"})
        self.update(sessionUpdate="agent_message_chunk", content=7)
        self.update(sessionUpdate=["agent_message_chunk"])
        self.update(sessionUpdate="tool_call", toolCallId=7)
        self.update(sessionUpdate="plan", entries="no")
        self.send({"method": "session/update", "params": []})
        self.send({"method": "session/update"})
        self.send({"method": "tomorrow/notify", "params": {}})
        session, self.session = self.session, "another"
        self.say("from another session")
        self.session = session
        refused = [
            self.ask("fs/read_text_file", path="/etc/passwd"),
            self.ask("terminal/create", command="sh"),
        ]
        self.say(json.dumps([answer["error"]["code"] for answer in refused]))
        return {"stopReason": "tomorrows_reason", "usage": "much"}

    def take(self, message: dict[str, Any]) -> None:
        if message.get("method") != "session/prompt":
            super().take(message)
            return
        result = super()._prompted(message["params"])
        late = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "too late"}}
        after = {"method": "session/update", "params": {"sessionId": self.session, "update": late}}
        self.line(json.dumps({"id": message["id"], "result": result}) + "\n" + json.dumps(after))
        self.permission("edit", "allow_once")


if __name__ == "__main__":
    Noisy().main()

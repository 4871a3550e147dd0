"""An ACP agent that thinks, plans, uses tools and counts its tokens, several times in a turn."""

from __future__ import annotations

from typing import Any

from acp_base import Agent


class Worker(Agent):
    def prompt(self, text: str) -> Any:
        self.say("hm", kind="agent_thought_chunk")
        step = {"content": "read it", "priority": "high", "status": "in_progress"}
        self.update(sessionUpdate="plan", entries=[step, step | {"status": "pending"}])
        self.say("Let me look.", messageId="m-1")
        call = {"sessionUpdate": "tool_call", "toolCallId": "t-1", "title": "Read a.py", "kind": "read"}
        about = {"toolName": "Read"}
        self.update(
            **call,
            status="pending",
            rawInput={"file_path": "/a.py"},
            locations=[{"path": "/a.py", "line": 7}, {"line": 1}],
            _meta={"claudeCode": about},
        )
        change = {"sessionUpdate": "tool_call_update", "toolCallId": "t-1"}
        self.update(**change, status="in_progress")
        self.update(
            **change, content=[{"type": "content", "content": {"type": "text", "text": "import this"}}]
        )
        self.update(**change, title="Read a.py (1 line)", status="completed")
        self.update(
            sessionUpdate="tool_call",
            toolCallId="t-2",
            title="Run it",
            kind="execute",
            status="failed",
            rawOutput="no such file",
            content=[{"type": "terminal", "terminalId": "x"}],
        )
        self.update(sessionUpdate="plan", entries=[step | {"status": "completed"}])
        self.update(sessionUpdate="usage_update", used=900, size=1000)
        self.update(sessionUpdate="usage_update", used=900, size=1000, inputTokens=10, outputTokens=1)
        self.say("Found ", messageId="m-2")
        self.say("it: ", messageId="m-2")
        self.update(
            sessionUpdate="agent_message_chunk",
            content={"type": "resource_link", "uri": "file:///a.py", "name": "a.py"},
            messageId="m-2",
        )
        counted = {"inputTokens": 10, "outputTokens": 5, "cachedReadTokens": 85, "totalTokens": 100}
        return {"stopReason": "max_tokens", "usage": counted}


if __name__ == "__main__":
    Worker().main()

"""An ACP agent that refuses, as its further argument says: ``login``, ``version``, ``prompt``, ``rate``,
``refusal`` or ``nameless``; with ``error`` it does so in the words of a third one, with ``silent`` it writes
those to stderr and ends its turn, with ``text`` they are its reply."""

from __future__ import annotations

import sys
from typing import Any

from acp_base import Agent, Refuse

WHAT = sys.argv[2]


class Unwilling(Agent):
    def initialize(self, params: dict[str, Any]) -> Any:
        ways = [{"id": "a", "name": "Log in with a\nbrowser"}, {"id": "b", "name": "API key"}, 7]
        return super().initialize(params) | {
            "protocolVersion": 2 if WHAT == "version" else 1,
            "authMethods": ways,
            "agentInfo": {"name": "unwilling", "title": "The Unwilling", "version": "1"},
        }

    def new(self, params: dict[str, Any]) -> Any:
        if WHAT == "login":
            raise Refuse(-32000, "Authentication required")
        return {} if WHAT == "nameless" else super().new(params)

    def prompt(self, text: str) -> Any:
        if WHAT == "rate":
            raise Refuse(-32603, "Internal error", {"errorKind": "rate_limit", "details": "later"})
        if WHAT == "error":
            raise Refuse(-32603, sys.argv[3])
        if WHAT == "silent":
            print(sys.argv[3], file=sys.stderr, flush=True)
            return {"stopReason": "end_turn"}
        if WHAT == "text":
            self.say(sys.argv[3])
            return {"stopReason": "end_turn"}
        if WHAT == "prompt":
            raise Refuse(-32603, "Internal error", {"details": "no such\nmodel"})
        return {"stopReason": "refusal"}


if __name__ == "__main__":
    Unwilling().main()

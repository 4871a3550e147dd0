"""A conversation at a terminal, for tests that type into it."""

from __future__ import annotations

from typing import Any

import pexpect
from peers.processes import Terminal

PROMPT = "›"
ENTER, TAB = "\r", "\t"
CTRL_C, CTRL_D = "\x03", "\x04"


def send(talk: Terminal, text: str, answer: str = r"Recorded \(") -> None:
    """Type a line at the next prompt, and wait for that answer."""
    talk.expect(PROMPT)
    talk.send(text + ENTER)
    talk.expect(answer)


def ended(talk: Terminal) -> Any:
    """Its exit code, when it ends by itself."""
    talk.expect(pexpect.EOF)
    talk.close()
    return talk.exitstatus


def leave(talk: Terminal) -> Any:
    """Leave by Ctrl-D at the next prompt; gives the exit code."""
    talk.expect(PROMPT)
    talk.send(CTRL_D)
    return ended(talk)


def contents(port42: Any, agent: str) -> list[str]:
    """What was said in the agent's last session."""
    page = port42.json("show", "last", "-a", agent, "--json")
    return [message["content"] for message in page["messages"]]

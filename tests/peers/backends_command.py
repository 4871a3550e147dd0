"""The contract suite's cases for `command`, and argvs of the peer that plays them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from port42_daemon.config import CommandBackend

RECORDED = (
    Path(__file__).parents[1] / "daemon" / "backends" / "command" / "recorded" / "claude-whole-tools.jsonl"
)
AGENT = [sys.executable, str(Path(__file__).with_name("command_agent.py"))]


def agent(*arguments: str, **more: Any) -> CommandBackend:
    """A back end of the peer in the manner that `arguments` name."""
    return CommandBackend(command=[*AGENT, *arguments], **more)


@contextlib.contextmanager
def _of(config: CommandBackend) -> Iterator[CommandBackend]:
    yield config


CASES: dict[str, Callable[[], AbstractContextManager[CommandBackend]]] = {
    "answers": lambda: _of(agent("echo")),
    "slow": lambda: _of(agent("slow")),
    "fails": lambda: _of(agent("fails")),
    "uses tools": lambda: _of(CommandBackend(command=["cat", str(RECORDED)], parser="claude")),
    "missing": lambda: _of(CommandBackend(command=["port42-no-such-program"])),
}

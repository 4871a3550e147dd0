"""ACP agents of our own making, and the contract suite's cases for `acp`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from port42_daemon.config import AcpBackend

_HERE = Path(__file__).parent
PYTHON = [sys.executable, "-S", "-B"]
"""Without site-packages: our agents start in a third of the time."""


def config(agent: str, *arguments: str | Path, **more: Any) -> AcpBackend:
    """A back end of ``acp_<agent>.py``; the first of the arguments is its journal."""
    command = [*PYTHON, str(_HERE / f"acp_{agent}.py"), *map(str, arguments)]
    return AcpBackend(command=command, **more)


class Journal:
    """What agents noted of what came to them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """All of it, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    @property
    def pids(self) -> list[int]:
        """The processes there were."""
        return [note["pid"] for note in self.notes if "pid" in note]

    @property
    def methods(self) -> list[str]:
        """What was asked of them."""
        return [note["method"] for note in self.notes if "method" in note]

    def params(self, method: str) -> list[dict[str, Any]]:
        """The params of every such message."""
        return [note["params"] for note in self.notes if note.get("method") == method]

    @property
    def prompts(self) -> list[str]:
        """The texts of the prompts."""
        return [params["prompt"][0]["text"] for params in self.params("session/prompt")]


@contextlib.contextmanager
def _of(agent: str) -> Iterator[AcpBackend]:
    yield config(agent)


@contextlib.contextmanager
def _missing() -> Iterator[AcpBackend]:
    yield AcpBackend(command=["port42-no-such-agent"])


CASES: dict[str, Callable[[], AbstractContextManager[AcpBackend]]] = {
    "answers": lambda: _of("echo"),
    "slow": lambda: _of("slow"),
    "fails": lambda: _of("crash"),
    "uses tools": lambda: _of("worker"),
    "missing": _missing,
}

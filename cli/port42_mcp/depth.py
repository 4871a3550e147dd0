"""How deep the agent that uses this server was asked by other agents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from port42_protocol.messages.turns import DEPTH_VARIABLE

LIMIT = 8
"""What `possess` takes."""

_MOST_ANCESTORS = 64


def current_depth(environ: Mapping[str, str], pid: int | None = None) -> int:
    """0 for an agent that a person runs, else the `depth` of the turn that it runs for.

    Clients start their servers with a cleaned environment. So where the variable is not in ours, that of the
    processes above this one (or above `pid`) is looked at, which only Linux shows.
    """
    for variables in (environ, *_environments_of_ancestors(os.getppid() if pid is None else pid)):
        if (value := variables.get(DEPTH_VARIABLE)) is not None:
            return min(int(value), LIMIT) if value.isdecimal() and len(value) < 4 else LIMIT
    return 0


def _environments_of_ancestors(pid: int) -> Iterator[dict[str, str]]:
    """The environments of a process and of those above it, as they were at their start."""
    for _ in range(_MOST_ANCESTORS):
        if pid <= 1:
            return
        folder = Path("/proc", str(pid))
        try:
            # The name, in brackets, may hold anything; the parent is the second field behind it.
            parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return
        with suppress(OSError):  # another user's
            pairs = (folder / "environ").read_bytes().split(b"\0")
            named = (pair.decode(errors="replace").partition("=") for pair in pairs)
            yield {name: value for name, _, value in named}
        pid = parent

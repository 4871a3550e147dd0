"""What `get_capture` and `check_home` say of a tool, and which folders can be captured."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

from port42_daemon.transfer.capture.tools import Tool
from port42_daemon.transfer.capture.watching import below
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.capture import CapturedTool
from port42_protocol.messages.doctor_and_stats import Finding

_MAX_COUNTED = 10_000


def finding(tool: CapturedTool) -> Finding:
    what = f"{tool.name}: {tool.sessions:,} sessions from {tool.sources:,} sources"
    if not tool.available and tool.path:
        what = f"{tool.name}: there is no folder {tool.path} yet"
        return Finding("notice", "capture", what, "`port42 capture on` with --path names another")
    if tool.problem is not None:
        what = f"{tool.name}: not all could be read: {tool.problem}"
        return Finding("notice", "capture", what, "what else there is was read; a newer port42 may read it")
    return Finding("ok", "capture", what)


def check_folder(path: str) -> None:
    """Raises `InvalidParams` for what is no folder, or holds far more than a tool's sessions."""
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidParams.expecting("path", "a folder that exists", got=path)
    if Path.home().resolve().is_relative_to(folder.resolve()):
        raise InvalidParams.expecting("path", "a folder of the tool, not a whole home or disk", got=path)


def count(folder: Path, tool: Tool) -> tuple[int, int, bool]:
    """The number of sources below `folder`, up to a limit, their bytes, and whether the folder exists."""
    sources = size = 0
    for path in islice(filter(tool.has, below(folder, tool.passed_over)), _MAX_COUNTED):
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
            sources += 1
    return sources, size, folder.is_dir()

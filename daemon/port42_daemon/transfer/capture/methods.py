"""Answers the requests about capture, and checks it for `check_home`."""

from __future__ import annotations

import contextlib
import logging
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from port42_daemon.config import table
from port42_daemon.transfer.capture.service import Capture
from port42_daemon.transfer.capture.tools import TOOLS, Tool
from port42_daemon.transfer.capture.watching import below
from port42_protocol.counting import count
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.capture import CapturedTool, CaptureStatus, GetCapture, SetCapture
from port42_protocol.messages.doctor_and_stats import Finding

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

log = logging.getLogger(__name__)

_MAX_COUNTED = 10_000
_CHECK_SECONDS = 0.3


class CaptureMethods:
    """Handles `get_capture` and `set_capture`."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._threads = capture.sessions.threads

    async def get_capture(self, _: GetCapture) -> CaptureStatus:
        await self._capture.apply()
        described = [await self._describe(tool) for tool in TOOLS.values()]
        return CaptureStatus(tuple(described), self._capture.watcher.mode, self._capture.watcher.problem)

    async def set_capture(self, request: SetCapture) -> CaptureStatus:
        """Write ``[capture.NAME]``, everything else in the file kept as it is."""
        if request.path is not None:
            await self._threads.files(_check_folder, request.path)
        elif request.on and TOOLS[request.name].path(self._capture.table(TOOLS[request.name])) is None:
            expected = "the folder of the projects, in which the tool keeps its files"
            raise InvalidParams.expecting("path", expected, why="none is given")

        def change(document: TOMLDocument) -> None:
            entry = table(document, "capture", request.name)
            entry["on"] = request.on
            for name in ("agent", "path", "folders"):
                value: Any = getattr(request, name)
                if value is not None:
                    entry[name] = value

        await self._capture.agents.change(change)
        log.info("📎 capture of %s is %s", request.name, "on" if request.on else "off")
        return await self.get_capture(GetCapture())

    async def findings(self) -> list[Finding]:
        """What `check_home` says of capture; nothing where it is off."""
        if not self._capture.on():
            return []
        status = await self.get_capture(GetCapture())
        on = [tool for tool in status.tools if tool.on]
        findings = [_finding(tool) for tool in on]
        damaged = await self._threads.files(self._capture.originals.damaged, _CHECK_SECONDS)
        if damaged:
            what = f"{count(len(damaged), 'damaged original')}, {damaged[0]} for example"
            findings.append(
                Finding("problem", "capture", what, "look at the disk; the sessions have the words")
            )
        if status.problem is not None:
            what = f"the folders of tools are read again and again, not watched: {status.problem}"
            do = "raise that limit (sysctl); until then new words are there after a second or more"
            findings.append(Finding("notice", "capture", what, do))
        return findings

    async def _describe(self, tool: Tool) -> CapturedTool:
        config = self._capture.table(tool)
        path = tool.path(config)
        sources, size, available, problem = 0, 0, False, None
        if path is None and config is not None and config.on:
            problem = "it has no `path`: the folder of the projects in which it keeps its files"
        if path is not None:
            sources, size, available = await self._threads.files(_count, path, tool)
        totals = await self._capture.totals(tool.name)
        return CapturedTool(
            name=tool.name,
            on=config is not None and config.on,
            agent=(config and config.agent) or tool.name,
            path=str(path or ""),
            folders=config.folders if config else {},
            available=available,
            sources=sources,
            sessions=totals.sessions if totals else 0,
            source_bytes=size,
            original_bytes=totals.kept if totals else 0,
            waiting=self._capture.waiting(tool),
            last_read=totals.last_read if totals else None,
            problem=problem or (totals.problem if totals else None),
        )


def _finding(tool: CapturedTool) -> Finding:
    # Sessions that are deleted since, and sources that the tool deleted, differ.
    what = (
        f"{tool.name}: {count(tool.sessions, 'session')} captured, {count(tool.sources, 'source')} there now"
    )
    if not tool.available and tool.path:
        what = f"{tool.name}: there is no folder {tool.path} yet"
        return Finding("notice", "capture", what, "`port42 capture on` with --path names another")
    if tool.problem is not None:
        what = f"{tool.name}: not all could be read: {tool.problem}"
        return Finding("notice", "capture", what, "what else there is was read; a newer port42 may read it")
    return Finding("ok", "capture", what)


def _check_folder(path: str) -> None:
    """Raises `InvalidParams` for what is no folder, or holds far more than a tool's sessions."""
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidParams.expecting("path", "a folder that exists", got=path)
    if Path.home().resolve().is_relative_to(folder.resolve()):
        raise InvalidParams.expecting("path", "a folder of the tool, not a whole home or disk", got=path)


def _count(folder: Path, tool: Tool) -> tuple[int, int, bool]:
    """The number of sources below `folder`, up to a limit, their bytes, and whether the folder exists."""
    sources = size = 0
    for path in islice(filter(tool.has, below(folder, tool.passed_over)), _MAX_COUNTED):
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
            sources += 1
    return sources, size, folder.is_dir()

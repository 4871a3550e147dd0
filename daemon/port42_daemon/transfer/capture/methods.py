"""Answers the requests about capture, and checks it for `check_home`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from port42_daemon.config import table
from port42_daemon.transfer.capture.service import Capture
from port42_daemon.transfer.capture.tools import TOOLS, Tool
from port42_daemon.transfer.capture.watching import below, is_folder
from port42_protocol.counting import count
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.capture import CapturedTool, CaptureStatus, GetCapture, SetCapture
from port42_protocol.messages.doctor_and_stats import Finding

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from port42_daemon.transfer.capture.progress import Totals

log = logging.getLogger(__name__)

_MAX_COUNTED = 10_000
_CHECK_SECONDS = 0.3


class CaptureMethods:
    """Handles `get_capture` and `set_capture`."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._threads = capture.sessions.threads

    async def get_capture(self, request: GetCapture) -> CaptureStatus:
        await asyncio.shield(self._capture.apply())  # a cancelled request does not leave it half done
        folders = {tool.name: tool.path(self._capture.config_of(tool)) for tool in TOOLS.values()}
        there = await self._threads.files(_existing, folders)
        totals = await self._capture.totals()
        described: list[CapturedTool] = []
        for name, tool in TOOLS.items():
            each = _described(self._capture, tool, totals.get(name), available=name in there)
            if request.count and each.available and not each.on:
                each = await self._threads.files(
                    _counted, each, tool, tool.folders(self._capture.config_of(tool))
                )
            described.append(each)
        watcher, config = self._capture.watcher, self._capture.agents.config
        problem = watcher.problem
        if config.error is not None and not config.ever_good:
            problem = f"nothing is captured until config.toml is correct: {config.error}"
        return CaptureStatus(tuple(described), watcher.mode, problem)

    async def set_capture(self, request: SetCapture) -> CaptureStatus:
        """Write ``[capture.NAME]``, everything else in the file kept as it is."""
        if request.path is not None:
            await self._threads.files(_check_folder, request.path)
        elif request.on and TOOLS[request.name].path(self._capture.config_of(TOOLS[request.name])) is None:
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
        status = await self.get_capture(GetCapture())
        findings = [_finding(tool) for tool in status.tools if tool.on]
        if not findings:
            return []
        damaged = await self._threads.files(self._capture.originals.damaged, _CHECK_SECONDS)
        if damaged:
            what = f"{count(len(damaged), 'damaged original')}, {damaged[0]} for example"
            findings.append(
                Finding("problem", "capture", what, "look at the disk; the sessions have the words")
            )
        if (reason := self._capture.watcher.problem) is not None:
            what = f"the folders of tools are read again and again, not watched: {reason}"
            do = "mend that (sysctl raises a limit); until then new words are there after a second or more"
            findings.append(Finding("notice", "capture", what, do))
        return findings


def _described(capture: Capture, tool: Tool, totals: Totals | None, *, available: bool) -> CapturedTool:
    config = capture.config_of(tool)
    is_on, path = config is not None and config.on, tool.path(config)
    problem = capture.unwritten(tool) or (totals.problem if totals else None)
    if path is None and config is not None and is_on:
        problem = "it has no `path`: the folder of the projects in which it keeps its files"
        if config.path is not None:
            problem = f"its `path` is {config.path}, a whole home or disk: it must be the folder of the tool"
    return CapturedTool(
        name=tool.name,
        on=is_on,
        agent=(config and config.agent) or tool.name,
        path=str(path or ""),
        folders=config.folders if config else {},
        available=available,
        sources=totals.sources if totals else 0,
        sessions=totals.sessions if totals else 0,
        source_bytes=totals.size if totals else 0,
        original_bytes=totals.kept if totals else 0,
        waiting=capture.waiting(tool),
        last_read=totals.last_read if totals else None,
        problem=problem,
        scanned=is_on and capture.is_scanned(tool),
    )


def _finding(tool: CapturedTool) -> Finding:
    if not tool.path:
        do = f"name the folder: `port42 capture on {tool.name} --path DIR`"
        return Finding("problem", "capture", f"{tool.name}: nothing is captured: {tool.problem}", do)
    what = f"{tool.name}: {count(tool.sessions, 'session')} captured from {count(tool.sources, 'file')}"
    if not tool.scanned:
        what += ", its folder is not looked through yet"
    elif tool.waiting:
        what += f", {tool.waiting:,} to be read"
    if not tool.available:
        what = f"{tool.name}: there is no folder {tool.path}"
        return Finding("notice", "capture", what, "`port42 capture on` with --path names another")
    if tool.problem is not None:
        what = f"{tool.name}: not all could be captured: {tool.problem}"
        do = "what else there is was captured; look at that file and the disk, or try a newer port42"
        return Finding("notice", "capture", what, do)
    return Finding("ok", "capture", what)


def _check_folder(path: str) -> None:
    """Raises `InvalidParams` for what is no folder, or holds far more than a tool's sessions."""
    folder = Path(path)
    if not is_folder(folder, unknown=True):
        raise InvalidParams.expecting("path", "a folder that exists", got=path)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InvalidParams.expecting("path", "a folder that can be read", got=path)
    if Path.home().resolve().is_relative_to(folder.resolve()):
        raise InvalidParams.expecting("path", "a folder of the tool, not a whole home or disk", got=path)


def _existing(folders: Mapping[str, Path | None]) -> set[str]:
    """The names of the folders that are there, or may be: nobody may look there."""
    return {
        name for name, folder in folders.items() if folder is not None and is_folder(folder, unknown=True)
    }


def _counted(described: CapturedTool, tool: Tool, folders: Iterable[Path]) -> CapturedTool:
    """With the sources that are there, up to a limit, and their bytes."""
    sources, size = set[Path](), 0
    for path in chain.from_iterable(below(folder, tool.passed_over) for folder in folders):
        if len(sources) >= _MAX_COUNTED:
            break
        if (source := tool.source(path)) is not None and source not in sources:
            with contextlib.suppress(OSError):
                size += path.lstat().st_size
                sources.add(source)
    return structs.replace(described, sources=len(sources), source_bytes=size)

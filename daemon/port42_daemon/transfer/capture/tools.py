"""The tools whose sessions can be captured: where they keep them, and how one is continued there."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from port42_daemon.config import CapturedToolConfig
from port42_protocol.messages.types import CaptureTool

PACKED = ".zst"
"""Behind the name of a file that its tool has compressed, as Codex does after a week without a change.

Both are one source, with the name of the file that is not compressed; where both are there, that one counts.
"""


def has_home(folder: Path) -> bool:
    """Whether the person's home is that folder or below it: it holds far more than a tool's sessions."""
    return Path.home().is_relative_to(folder)


def is_there(path: str) -> bool:
    """Whether a tool has the file of a source, as it was or compressed."""
    return os.path.lexists(path) or (path.endswith(".jsonl") and os.path.lexists(path + PACKED))


class Tool(Struct, frozen=True):
    """`folder` is below the one that the variable `root` names, or else `default` below the user's home.

    Sources are its files whose names end with one of the `suffixes`. `resume` is an argv, in which ``{id}``
    is the session's id in the tool.
    """

    name: CaptureTool
    root: str
    default: str
    folder: str
    suffixes: tuple[str, ...]
    resume: tuple[str, ...] = ()
    forks_need_originals: bool = False
    """Whether a fork's file has only what is new in it."""
    archive: str = ""
    """The name of a folder beside the folder, to which it moves the files of sessions that are put aside."""
    titles: str = ""
    """The name of a file beside the folder with the titles of all sessions."""
    sub_agents: str = ""
    """Of the names of sub-agents' files, as of `PurePath.match`: their sessions name a place in others."""
    in_projects: bool = False
    """Whether its files are in the folders of projects: a folder that has these must be named."""
    pattern: str = ""
    """Of the paths of further sources, as of `PurePath.match`."""
    passed_over: tuple[str, ...] = ()
    """The names of folders below its own that may be large, and have no sources."""

    def path(self, config: CapturedToolConfig | None) -> Path | None:
        """The folder, None where one must be named and is not, or a whole home or disk is named."""
        if config is not None and config.path is not None:
            path = Path(config.path)
            return None if has_home(path) else path
        if self.in_projects:
            return None
        root = os.environ.get(self.root, "") if self.root else ""
        return (Path(root) if root.startswith("/") else Path.home() / self.default) / self.folder

    def folders(self, config: CapturedToolConfig | None) -> list[Path]:
        """The folder and the archive, whether they are there or not."""
        path = self.path(config)
        if path is None:
            return []
        return [path, path.parent / self.archive] if self.archive else [path]

    def beside(self, config: CapturedToolConfig | None) -> list[Path]:
        """Files outside the folder that are read, too."""
        path = self.path(config)
        return [path.parent / self.titles] if self.titles and path else []

    def has(self, path: Path) -> bool:
        """Whether a file in its folder, by its path, can be a source."""
        return path.name.endswith(self.suffixes) or bool(self.pattern and path.match(self.pattern))

    def source(self, file: Path) -> Path | None:
        """The source that a file in its folder is, or is a part of."""
        if file.name.endswith(".db-wal"):
            file = file.with_name(file.name.removesuffix("-wal"))
        if not self.has(file):
            return None
        return file.with_name(file.name.removesuffix(PACKED)) if file.suffix == PACKED else file


TOOLS: dict[CaptureTool, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "claude",
            "CLAUDE_CONFIG_DIR",
            ".claude",
            "projects",
            (".jsonl",),
            ("claude", "--resume", "{id}"),
            sub_agents="agent-*.jsonl",
        ),
        Tool(
            "codex",
            "CODEX_HOME",
            ".codex",
            "sessions",
            (".jsonl", ".jsonl" + PACKED),
            ("codex", "resume", "{id}"),
            forks_need_originals=True,
            archive="archived_sessions",
            titles="session_index.jsonl",
        ),
        Tool("gemini", "GEMINI_CLI_HOME", "", ".gemini/tmp", (".jsonl", ".json"), ("gemini", "-r", "{id}")),
        Tool(
            "copilot",
            "COPILOT_HOME",
            ".copilot",
            "session-state",
            (".jsonl",),
            ("copilot", "--resume={id}"),
        ),
        Tool("pi", "PI_CODING_AGENT_DIR", ".pi/agent", "sessions", (".jsonl",), ("pi", "--session", "{id}")),
        Tool(
            "opencode",
            "XDG_DATA_HOME",
            ".local/share",
            "opencode",
            (".db",),
            ("opencode", "--session", "{id}"),
            pattern="storage/session/*/*.json",
            passed_over=("message", "part", "session_diff", "snapshot", "log", "bin"),
        ),
        Tool("llm", "LLM_USER_PATH", ".config/io.datasette.llm", "", (".db",)),
        Tool("aichat", "AICHAT_CONFIG_DIR", ".config/aichat", "sessions", (".yaml", ".yml")),
        Tool(
            "aider",
            "",
            "",
            "",
            (".aider.chat.history.md",),
            in_projects=True,
            passed_over=(".git", "node_modules"),
        ),
    )
}


def agent_of(config: CapturedToolConfig, name: CaptureTool, cwd: str | None) -> str:
    """The agent of a session in the folder `cwd`: that of the nearest of `folders`, or else `agent`."""
    if cwd is not None and config.folders:
        agents = {Path(folder): agent for folder, agent in config.folders.items()}
        for folder in (Path(cwd), *Path(cwd).parents):
            if agent := agents.get(folder):
                return agent
    return config.agent or name

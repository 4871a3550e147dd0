"""The clients that `port42 mcp install` knows: the file, the place in it, and the form of an entry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

NAME = "port42"
"""What the server is called in every client."""


Entry = dict[str, object]
"""What a client's configuration has under the server's name: JSON, or TOML's values."""


@dataclass(frozen=True, slots=True)
class Server:
    """How a client starts the server: an argv, and variables that it needs besides the client's."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class McpClient:
    """One client. `section` is the table or object with a key for each server."""

    name: str
    title: str
    section: str
    path: Callable[[Mapping[str, str], Path], Path]
    """The file, for these variables and this home folder."""
    entry: Callable[[Server], Entry]
    format: Literal["json", "toml"] = "json"


def _plain(server: Server) -> Entry:
    entry: Entry = {"command": server.argv[0], "args": list(server.argv[1:])}
    return entry | ({"env": dict(server.environ)} if server.environ else {})


def _stdio(server: Server) -> Entry:
    return {"type": "stdio"} | _plain(server)


def _copilot(server: Server) -> Entry:
    return {"type": "local"} | _plain(server) | {"tools": ["*"]}


def _opencode(server: Server) -> Entry:
    entry: Entry = {"type": "local", "command": list(server.argv), "enabled": True}
    return entry | ({"environment": dict(server.environ)} if server.environ else {})


def _claude(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("CLAUDE_CONFIG_DIR") or home) / ".claude.json"


def _codex(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("CODEX_HOME") or home / ".codex") / "config.toml"


def _gemini(_: Mapping[str, str], home: Path) -> Path:
    return home / ".gemini" / "settings.json"


def _opencode_file(environ: Mapping[str, str], home: Path) -> Path:
    folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"
    with_comments = folder / "opencode.jsonc"
    return with_comments if with_comments.exists() else folder / "opencode.json"


def _copilot_file(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("COPILOT_HOME") or home / ".copilot") / "mcp-config.json"


def _cursor(_: Mapping[str, str], home: Path) -> Path:
    return home / ".cursor" / "mcp.json"


def _application(environ: Mapping[str, str], home: Path) -> Path:
    """The folder in which desktop applications keep their settings."""
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")


def _desktop(environ: Mapping[str, str], home: Path) -> Path:
    return _application(environ, home) / "Claude" / "claude_desktop_config.json"


def _code(environ: Mapping[str, str], home: Path) -> Path:
    return _application(environ, home) / "Code" / "User" / "mcp.json"


CLIENTS = {
    client.name: client
    for client in (
        McpClient("claude", "Claude Code", "mcpServers", _claude, _stdio),
        McpClient("claude-desktop", "Claude Desktop", "mcpServers", _desktop, _plain),
        McpClient("codex", "Codex", "mcp_servers", _codex, _plain, "toml"),
        McpClient("copilot", "GitHub Copilot CLI", "mcpServers", _copilot_file, _copilot),
        McpClient("cursor", "Cursor", "mcpServers", _cursor, _plain),
        McpClient("gemini", "Gemini CLI", "mcpServers", _gemini, _plain),
        McpClient("opencode", "opencode", "mcp", _opencode_file, _opencode),
        McpClient("vscode", "Visual Studio Code", "servers", _code, _stdio),
    )
}

"""Back ends that people have: what to look for on this machine, what to write for it, and what it becomes.

Finding one switches nothing on: `available` only names what `connect_agent` could write.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

from port42_daemon.backends.base import Backend
from port42_daemon.backends.programs import Programs
from port42_daemon.config import (
    AcpBackend,
    AnthropicBackend,
    BackendConfig,
    CommandBackend,
    Config,
    EchoBackend,
    NoneBackend,
    OpenAIBackend,
)
from port42_protocol.messages.types import prepared
from port42_protocol.presets import ECHO

_CLAUDE_ENV = ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"]
_CODEX_ENV = ["OPENAI_API_KEY", "CODEX_HOME"]
_GEMINI_ENV = ["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GEMINI_CLI_TRUST_WORKSPACE"]
_COPILOT_ENV = [
    "COPILOT_GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "COPILOT_HOME",
    "COPILOT_OFFLINE",
    "COPILOT_MODEL",
]
_COPILOT_ENV += [f"COPILOT_PROVIDER_{name}" for name in ("BASE_URL", "TYPE", "API_KEY", "BEARER_TOKEN")]
_CLAUDE = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"]
_CLAUDE_SAYS = ["--append-system-prompt", "{system}", "--model", "{model}"]
_CODEX = ["codex", "exec", "--json", "--skip-git-repo-check", "-s", "read-only", "-m", "{model}"]
_GEMINI = ["gemini", "-o", "stream-json", "-m", "{model}"]
_NATIVE = {"type": "command", "history": "native"}

KNOWN: dict[str, dict[str, Any]] = {
    "claude": {
        **_NATIVE,
        "parser": "claude",
        "command": [*_CLAUDE, *_CLAUDE_SAYS, "--session-id", "{native_id}"],
        "resume": [*_CLAUDE, *_CLAUDE_SAYS, "--resume", "{native_id}"],
        "env_pass": _CLAUDE_ENV,
    },
    "codex": {
        **_NATIVE,
        "parser": "codex",
        "command": [*_CODEX, "-"],
        "resume": [*_CODEX, "resume", "{native_id}", "-"],
        "env_pass": _CODEX_ENV,
    },
    "gemini": {
        **_NATIVE,
        "parser": "gemini",
        "command": [*_GEMINI, "--session-id", "{native_id}"],
        "resume": [*_GEMINI, "-r", "{native_id}"],
        "env_pass": _GEMINI_ENV,
    },
    "llm": {
        "type": "command",
        "command": ["llm", "-m", "{model}", "-s", "{system}"],
        "history": "replay",
        "env_pass": ["OPENAI_API_KEY", "LLM_USER_PATH"],
    },
    "claude-acp": {"type": "acp", "command": ["claude-agent-acp"], "env_pass": _CLAUDE_ENV},
    "codex-acp": {"type": "acp", "command": ["codex-acp"], "env_pass": _CODEX_ENV},
    "gemini-acp": {"type": "acp", "command": ["gemini", "--experimental-acp"], "env_pass": _GEMINI_ENV},
    "opencode": {"type": "acp", "command": ["opencode", "acp"]},
    "copilot": {
        "type": "acp",
        "command": ["copilot", "--acp"],
        "env_pass": _COPILOT_ENV,
    },
    "anthropic": {"type": "anthropic", "model": "claude-sonnet-4-5", "api_key_env": "ANTHROPIC_API_KEY"},
    "openai": {"type": "openai", "model": "gpt-5", "api_key_env": "OPENAI_API_KEY"},
    "ollama": {"type": "openai", "model": "llama3.2", "base_url": "http://127.0.0.1:11434/v1"},
    ECHO: {"type": "echo"},
}
"""Each as it is written under ``[backends.NAME]``; for models another can be named. The CLI describes them by
`port42_protocol.presets`."""

IN_ENVIRONMENT = ("anthropic", "openai")
"""Those that serve the built-in agents by themselves, where their key is in the daemon's environment."""

_CLASSES: dict[type, tuple[str, str]] = {
    AcpBackend: ("port42_daemon.backends.acp.pool", "Acp"),
    AnthropicBackend: ("port42_daemon.backends.http.anthropic", "Anthropic"),
    CommandBackend: ("port42_daemon.backends.command.backend", "Command"),
    EchoBackend: ("port42_daemon.backends.echo", "Echo"),
    OpenAIBackend: ("port42_daemon.backends.http.openai", "OpenAI"),
}
"""Each kind's module and class, imported when it is first used: one who only records pays for none."""


def available(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Those that something on this machine offers; `ECHO`, which needs nothing, is not among them."""
    return tuple(name for name, entry in KNOWN.items() if name != ECHO and _is_here(name, entry, environ))


def from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    return next((name for name in IN_ENVIRONMENT if environ.get(KNOWN[name]["api_key_env"])), None)


def settings(name: str, config: Config) -> BackendConfig:
    if name in config.backends:
        return config.backends[name]
    if name in KNOWN:
        return msgspec.convert(KNOWN[name], prepared(BackendConfig))  # type: ignore[no-any-return]  # msgspec takes a union, and gives Any
    return NoneBackend()


def build(config: BackendConfig, programs: Programs | None = None) -> Backend | None:
    if isinstance(config, NoneBackend):
        return None
    module, name = _CLASSES[type(config)]
    runs_programs = isinstance(config, AcpBackend | CommandBackend)
    kind = getattr(import_module(module), name)
    backend: Backend = kind(config, programs=programs) if runs_programs else kind(config)
    return backend


def load(config: Config | None = None) -> None:
    """Import what `build` will, so that an upgrade of the files under the daemon keeps no turn from it.

    With `config`, only what its back ends and the agent echo need.
    """
    needed = None if config is None else {EchoBackend, *map(type, config.backends.values())}
    for kind, (module, _) in _CLASSES.items():
        if needed is None or kind in needed:
            import_module(module)


def _is_here(name: str, entry: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    if "api_key_env" in entry:
        return bool(environ.get(entry["api_key_env"]))
    program = entry["command"][0] if "command" in entry else name
    return shutil.which(program, path=environ.get("PATH")) is not None

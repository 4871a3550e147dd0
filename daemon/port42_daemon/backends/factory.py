"""From a back end's configuration to the back end, each kind imported when it is first used."""

from __future__ import annotations

from port42_daemon.backends.base import Backend
from port42_daemon.config import AcpBackend, AnthropicBackend, BackendConfig, CommandBackend, OpenAIBackend


def build(config: BackendConfig) -> Backend | None:
    """The back end that `config` describes; None for ``none``, which never answers."""
    # A daemon whose agents only record must not pay for HTTP clients and child processes.
    match config:
        case CommandBackend():
            from port42_daemon.backends.command.backend import Command

            return Command(config)
        case AcpBackend():
            from port42_daemon.backends.acp.pool import Acp

            return Acp(config)
        case OpenAIBackend():
            from port42_daemon.backends.http.openai import OpenAI

            return OpenAI(config)
        case AnthropicBackend():
            from port42_daemon.backends.http.anthropic import Anthropic

            return Anthropic(config)
        case _:
            return None

"""TAB in a conversation: names of its commands, and what may stand behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from port42_cli.completion import candidates
from port42_cli.conversation.slash import COMMANDS, Conversation
from port42_cli.plain_text import one_line
from port42_client.client import Client
from port42_client.errors import CommandError

_PATIENCE, _PATIENCE_WITH_HOST = 0.5, 3.0
"""Seconds from the key to the answer of the daemon, here or on another machine: the prompt waits."""

_NAME = re.compile(r"/([a-z]*)")
_ARGUMENT = re.compile(r"/([a-z]+)\s+(.*)")


class SlashCompleter(Completer):
    """Completes a line that begins with a slash; without a daemon that answers soon, only names."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if name := _NAME.fullmatch(before):
            for known, command in COMMANDS.items():
                if known.startswith(name[1]):
                    yield _completion(f"{known} " if command.argument else known, name[1], command.help)
        elif argument := _ARGUMENT.fullmatch(before):
            if argument[1] == "export":
                yield from self._files.get_completions(Document(argument[2]), complete_event)
            else:
                for value, description in self._values(argument[1], argument[2]):
                    yield _completion(value, argument[2], description)

    def _values(self, command: str, typed: str) -> list[tuple[str, str]]:
        """What may stand behind the command, with a description."""
        look = {
            "switch": self._sessions,
            "fork": candidates.agents,
            "model": self._models,
            "mode": self._modes,
        }.get(command)
        if look is None:
            return []
        daemon = self._conversation.daemon
        host = daemon.host
        patience = _PATIENCE_WITH_HOST if host else _PATIENCE
        try:
            with Client(daemon.existing, patience=patience, host=host) as client:
                return [*look(client, typed)]
        except CommandError:
            return []  # an error would disturb what is being typed

    def _sessions(self, client: Client, typed: str) -> Iterator[tuple[str, str]]:
        if "last".startswith(typed):
            yield "last", "the one used last"
        yield from candidates.sessions(client, typed, self._conversation.agent)

    def _models(self, client: Client, typed: str) -> Iterator[tuple[str, str]]:
        return candidates.models(client, typed, self._conversation.agent)

    def _modes(self, client: Client, typed: str) -> Iterator[tuple[str, str]]:
        return candidates.modes(client, typed, self._conversation.agent)


def _completion(value: str, typed: str, description: str) -> Completion:
    """A value in place of what was typed of it."""
    return Completion(one_line(value), -len(typed), display_meta=one_line(description))

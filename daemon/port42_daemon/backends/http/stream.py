"""One reply of a model server as it comes: what both kinds of stream have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from port42_daemon.backends.base import Done, Event, Failure, Notice, Tool
from port42_daemon.backends.http.errors import Failed, kind_of_error, said_by


class Reply(ABC):
    """Takes the data of one server-sent event after another, and says what they mean.

    `server` is what the server is called in messages.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self.patience: float | None = None
        """Seconds that the stream may still take: None until the reply is whole."""
        self.stop_reason: str | None = None
        """In the words of the Agent Client Protocol and of Anthropic; others stay what they are."""
        self._calls: dict[str, str] = {}

    @abstractmethod
    def take(self, data: str) -> Iterable[Event]:
        """The events in `data`. Raises `Failed`, `msgspec.DecodeError`."""

    def end(self) -> Iterator[Event]:
        """What is left to say when the stream is over, `Done` last. Raises `Failed` if it was cut."""
        if self.patience is None:
            raise Failed("network", f"{self.server} was lost in the middle of its reply")
        waiting = self.stop_reason == "tool_use"
        for call, title in self._calls.items():
            yield Tool(call, title, "failed" if waiting else "done")
        if waiting:
            yield Notice("the model waits for a tool, and this back end has none to give it")
        if self.stop_reason == "max_tokens":
            yield Notice("the reply ends where the limit of tokens was reached (max_tokens)")
        if self.stop_reason == "refusal":
            yield Done(Failure("refused", "the model declined to answer"), self.stop_reason)
        else:
            yield Done(stop_reason=self.stop_reason)

    def _called(self, call: str, title: str) -> Tool:
        self._calls[call] = title
        return Tool(call, title, "running")

    def _returned(self, call: str) -> Iterator[Tool]:
        title = self._calls.pop(call, None)
        if title is not None:
            yield Tool(call, title, "done")

    def _broke_off(self, error: Any) -> Failed:
        """What an error in the middle of the stream means."""
        said = said_by(error)
        return Failed(kind_of_error(error), f"{self.server} broke off" + (f": {said}" if said else ""))

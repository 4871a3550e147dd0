"""The interface for showing a turn, and two implementations: the bare reply, and all events as JSON."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TypedDict

from port42_cli import streams
from port42_cli.plain_text import visible
from port42_client.wire import Event, JsonObject


class TurnResult(TypedDict):
    """A `messages.Possessed` as JSON has it, for the same reason as `Event`."""

    session_id: str
    seq: int
    status: str
    reply: str | None
    reply_seq: int | None
    turn: JsonObject | None


class Show(ABC):
    """Shows a turn. `on_event` is called any number of times, `end` once at most, `close` last."""

    @property
    def interval(self) -> float | None:
        """Seconds between calls of `on_tick`, None where nothing moves by itself."""
        return None

    @abstractmethod
    def on_event(self, event: Event) -> None: ...

    def on_tick(self) -> None:  # noqa: B027 - what moves nothing has nothing to do here
        """Draw what moves."""

    def clear(self) -> None:  # noqa: B027 - what moves nothing has nothing to do here
        """Take away what is drawn again with the next tick: something else will be written now."""

    @abstractmethod
    def end(self, result: TurnResult) -> None: ...

    def close(self) -> None:  # noqa: B027 - what moves nothing has nothing to do here
        """Nothing follows, whether the turn ended or broke off."""


class BareReply(Show):
    """The reply on stdout as it comes; a newline at its end where it has none.

    To the letter when piped; on a terminal that cannot draw (``TERM=dumb``) with nothing that it may obey.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def on_event(self, event: Event) -> None:
        if event["kind"] == "text":
            self._write(event["text"])

    def end(self, result: TurnResult) -> None:
        """Write what did not come as a piece: nothing, unless we read too slowly."""
        reply = result.get("reply") or ""
        if reply.startswith(shown := "".join(self._pieces)):
            self._write(reply[len(shown) :])

    def close(self) -> None:
        if self._pieces and not self._pieces[-1].endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._pieces.append(text)
        sys.stdout.write(visible(text) if streams.on_terminal() else text)
        sys.stdout.flush()


class Unseen(Show):
    """Nothing, where stdout is closed: the turn is recorded all the same, and where its reply is is said."""

    def on_event(self, event: Event) -> None:
        pass

    def end(self, result: TurnResult) -> None:
        if result.get("reply"):
            streams.notice(f"stdout is closed: the reply is in port42 show {result['session_id']}")


class JsonLines(Show):
    """Each event as a line of JSON, then the result, of the kind ``result``."""

    def on_event(self, event: Event) -> None:
        streams.json_line(event)

    def end(self, result: TurnResult) -> None:
        streams.json_line({"kind": "result", **result})

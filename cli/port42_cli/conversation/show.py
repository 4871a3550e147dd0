"""Showing a turn without a terminal: as the bare reply, as JSON, or not at all."""

from __future__ import annotations

import sys
from typing import TypedDict

from port42_cli import streams
from port42_cli.plain_text import typed, visible
from port42_client.wire import Event, JsonObject


class TurnResult(TypedDict):
    """A `messages.Possessed` as JSON has it, for the same reason as `Event`."""

    session_id: str
    seq: int
    status: str
    reply: str | None
    reply_seq: int | None
    turn: JsonObject | None


class Show:
    """Shows a turn; what a subclass does not override shows nothing.

    `interval` is the seconds between calls of `on_tick`, None where nothing moves by itself. `on_event` is
    called any number of times, `end` once at most, `close` last, also when the turn broke off.
    """

    interval: float | None = None

    def on_event(self, event: Event) -> None: ...

    def on_tick(self) -> None: ...

    def clear(self) -> None:
        """Erase what is drawn again with the next tick: something else will be written now."""

    def end(self, result: TurnResult) -> None: ...

    def close(self) -> None: ...


class Unseen(Show):
    """Where stdout is closed: says where the reply is."""

    def end(self, result: TurnResult) -> None:
        if result.get("reply"):
            look = typed(f"show {result['session_id']}")
            streams.notice(f"stdout is closed: the reply is in {look}")


class BareReply(Show):
    """The reply on stdout as it comes, its pieces joined by an empty line; a newline at its end.

    To the letter when piped; without control characters on a terminal that cannot draw (``TERM=dumb``).
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._held = ""  # a piece that is white space so far: perhaps all of it
        self._in_piece = False

    def on_event(self, event: Event) -> None:
        if event["kind"] == "text":
            self._held += event["text"]
            if self._in_piece or self._held.strip():
                self._write(self._held if self._in_piece or not self._texts else f"\n\n{self._held}")
                self._held, self._in_piece = "", True
        elif event["kind"] == "message" and event["message"]["role"] == "assistant":
            self._held, self._in_piece = "", False

    def end(self, result: TurnResult) -> None:
        """Write what did not come as an event, because of an overflow."""
        reply = result.get("reply") or ""
        if reply.startswith(shown := "".join(self._texts)):
            self._write(reply[len(shown) :])

    def close(self) -> None:
        if self._texts and not self._texts[-1].endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._texts.append(text)
        sys.stdout.write(visible(text) if streams.on_terminal() else text)
        sys.stdout.flush()


class JsonLines(Show):
    """Each event as a line of JSON, then the result, of the kind ``result``."""

    def on_event(self, event: Event) -> None:
        streams.json_line(event)

    def end(self, result: TurnResult) -> None:
        streams.json_line({"kind": "result", **result})

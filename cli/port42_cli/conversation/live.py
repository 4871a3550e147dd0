"""A turn at a terminal as it goes on: its reply as Markdown, all else in a line each."""

from __future__ import annotations

import time
from typing import ClassVar

from msgspec import convert
from rich.text import Text

from port42_cli import plain_text, streams
from port42_cli.conversation.live_text import LiveText
from port42_cli.conversation.show import Show, TurnResult
from port42_cli.plain_text import one_line
from port42_cli.terminal import uninterrupted
from port42_cli.views import activities
from port42_cli.views.activities import Detail
from port42_cli.views.rich_printer import group, text
from port42_client.wire import Event
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    Record,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    convert_record,
)

EVERY = 0.08
"""Seconds between two drawings: what comes in between is drawn together."""

_PAUSE = 4
"""The next drawing waits at least so many times as long as the last one took: a long block, or a slow
terminal, must not take the time in which the reply is read."""

_THOUGHT = 400  # characters of a thought that its line may have
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ENDS = {"done": ("✓", "dim"), "failed": ("✗", "red")}


class LiveReply(Show):
    """Shows one reply after another on a terminal. While its `interval` is None, no reply is awaited.

    Signals are held back while it draws, so that a reply that is left early stays on the screen.
    """

    how_to_stop: ClassVar[str] = "Ctrl-C stops"

    def __init__(self, interval: float | None = EVERY, detail: Detail = "folded") -> None:
        self.interval = interval
        self._detail = detail
        self._live = LiveText()
        self._due = 0.0
        self._answering = ""  # the agent, and its back end as soon as that is known
        self._backend = ""
        self._began = time.monotonic()
        self._texts: list[str] = []  # of the current piece of the reply
        self._pieces: list[str] = []  # those before it
        self._last_reply: tuple[str, int] | None = None
        self._thought = ""
        self._thought_shown = False
        self._running: dict[str, str] = {}  # titles of tool calls by their id
        self._ended: dict[str, Text] = {}  # tool calls whose record is awaited
        self._tools_shown: set[str] = set()

    @uninterrupted()
    def on_event(self, event: Event) -> None:
        kind = event["kind"]
        self._answering = event.get("agent", self._answering)
        if kind == "started":
            self._backend = event["backend"]
        elif kind == "text":
            self._text(event["text"])
        elif kind == "message":
            self._on_record(event["session_id"], convert_record(event["message"]))
        elif kind == "permission":
            self._finish()  # what led to the question has to be seen with it
        elif self._detail != "hidden" and kind == "thought":
            self._live.finish()
            self._thought += event["text"]
        elif self._detail != "hidden" and kind == "tool":
            if event["tool_id"] not in self._running:
                self._live.finish()
            self._fold_thought()
            self._tool(event)
        self.on_tick()

    @uninterrupted()
    def on_tick(self) -> None:
        if (now := time.monotonic()) >= self._due:
            below = [_spinner(title) for title in [*self._running.values()][-5:]]
            if thought := self._thought.strip():
                # Its end, which is what is new of it.
                end = one_line(" ".join(thought[-_THOUGHT:].split()))[-max(10, self._live.width - 5) :]
                below.insert(0, Text(f"💭 {end}", "dim", no_wrap=True, overflow="crop"))
            waiting = None if self.interval is None else _spinner(self._waiting(now))
            self._live.draw(below, waiting)
            self._due = now + max(EVERY, _PAUSE * (time.monotonic() - now))

    def clear(self) -> None:
        self._live.clear()

    def _waiting(self, now: float) -> str:
        """Who is waited for, how long already, and how to stop it: as much as fits the terminal."""
        end = " · ".join(filter(None, (f"{now - self._began:.0f} s", self.how_to_stop)))
        if not self._answering:
            return end
        who = f"@{one_line(self._answering)}"
        backend = f" ({one_line(self._backend)})" if self._backend else ""
        forms = (f"waiting for {who}{backend} · {end}", f"waiting for {who} · {end}", f"{who} · {end}")
        return next((form for form in forms if len(form) <= self._live.width - 3), end)

    @uninterrupted()
    def end(self, result: TurnResult) -> None:
        if self._last_reply != (result.get("session_id"), result.get("reply_seq")):
            shown, reply = "".join(f"{piece}\n\n" for piece in self._pieces), result.get("reply") or ""
            if reply.startswith(shown):
                self._end_piece(reply[len(shown) :])
        self._finish_reply()
        if turn := result.get("turn"):
            self.clear()
            streams.notice(plain_text.answered_by(convert(turn, TurnRecord)))

    @uninterrupted()
    def close(self) -> None:
        self._finish()
        self.clear()

    def _on_record(self, session_id: str, record: Record) -> None:
        """Show what of a record of the turn was not shown by its events."""
        if isinstance(record, AssistantMessage):
            self._end_piece(record.content)
            if record.status:
                self._last_reply = (session_id, record.seq)
                self._finish_reply()
        elif isinstance(record, ThoughtRecord) and self._thought_shown:
            self._thought_shown = False
        elif isinstance(record, ToolRecord) and record.id in self._tools_shown:
            self._tools_shown.remove(record.id)
        elif isinstance(record, Activity) and self._detail != "hidden":
            if isinstance(record, ToolRecord):
                self._running.pop(record.id, None)
                self._ended.pop(record.id, None)
            elif isinstance(record, ThoughtRecord):
                self._thought = ""
            self._live.finish()
            self._fold_thought()
            self._activity(record)

    def _text(self, text: str) -> None:
        self._fold_thought()
        self._print_ended()
        self._live.add(text)
        self._texts.append(text)

    def _end_piece(self, content: str) -> None:
        """End a piece of the reply; its text is `content`, of which some may not have come as events."""
        if content.startswith(shown := "".join(self._texts)) and content != shown:
            self._text(content[len(shown) :])
        self._live.finish()
        self._texts.clear()
        self._pieces.append(content)

    def _finish_reply(self) -> None:
        self._finish()
        self._pieces.clear()
        self._tools_shown.clear()
        self._thought_shown = False
        self._began = time.monotonic()

    def _finish(self) -> None:
        """Print for good what is known so far."""
        self._live.finish()
        self._fold_thought()
        self._print_ended()
        for title in self._running.values():
            self._live.line(Text(f"… {title}", style="dim"))
        self._running.clear()

    def _tool(self, event: Event) -> None:
        title = one_line(event.get("text") or self._running.get(event["tool_id"], "a tool"))
        self._running.pop(event["tool_id"], None)
        if event["state"] in _ENDS:
            mark, style = _ENDS[event["state"]]
            self._ended[event["tool_id"]] = Text(f"{mark} {title}", style=style)
        else:
            self._running[event["tool_id"]] = title

    def _print_ended(self) -> None:
        """Print the tool calls that ended, without their records."""
        for line in self._ended.values():
            self._live.line(line)
        self._tools_shown |= self._ended.keys()
        self._ended.clear()

    def _activity(self, record: Activity) -> None:
        self._live.line(text(activities.line(record)))
        if self._detail == "full":
            self._live.print(group(activities.parts(record)))

    def _fold_thought(self) -> None:
        if self._thought.strip():
            self._print_ended()
            self._live.line(text(activities.thought(self._thought[:_THOUGHT])))
            self._thought_shown = True
        self._thought = ""


def _spinner(words: str) -> Text:
    frame = _FRAMES[int(12 * time.monotonic()) % len(_FRAMES)]
    return Text(f"{frame} {words}", "dim", no_wrap=True, overflow="ellipsis")

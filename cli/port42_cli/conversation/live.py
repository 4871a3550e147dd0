"""A reply at a terminal as it is given: Markdown, with thoughts and tool calls in a line each.

What is finished is printed for good, so that it can be scrolled back to. Only what may still change is
drawn again and again, and it is never taller than the screen: what has left it could not be erased.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from msgspec import convert
from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from port42_cli import plain_text, streams
from port42_cli.conversation.show import Show, TurnResult
from port42_cli.plain_text import one_line
from port42_cli.terminal import Drawing, uninterrupted
from port42_cli.views import activities
from port42_cli.views.activities import Detail
from port42_cli.views.markdown import Block, Growing
from port42_cli.views.rich_printer import console, group, text
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

    def __init__(self, interval: float | None = EVERY, detail: Detail = "folded") -> None:
        self.interval = interval
        self._detail = detail
        self._console = console()
        self._drawing = Drawing(self.clear)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._due = 0.0
        self._began = time.monotonic()
        self._growing = Growing()
        self._pending: list[str] = []
        self._texts: list[str] = []  # of the current piece of the reply
        self._pieces: list[str] = []  # those before it
        self._last_reply: tuple[str, int] | None = None
        self._settled_lines = 0  # of the last block, printed for good
        self._continues = False  # whether the last block is the rest of a longer one
        self._above: str | None = None  # what was printed last: "line" or "block"
        self._thought = ""
        self._thought_shown = False
        self._running: dict[str, str] = {}  # titles of tool calls by their id
        self._ended: dict[str, Text] = {}  # tool calls whose record is awaited
        self._tools_shown: set[str] = set()

    @uninterrupted()
    def on_event(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "text":
            self._text(event["text"])
        elif kind == "message":
            self.on_record(event["session_id"], convert_record(event["message"]))
        elif kind == "permission":
            self.finish()  # what led to the question has to be seen with it
        elif self._detail != "hidden" and kind == "thought":
            self._finish_text()
            self._thought += event["text"]
        elif self._detail != "hidden" and kind == "tool":
            if event["tool_id"] not in self._running:
                self._finish_text()
            self._fold_thought()
            self._tool(event)
        self.on_tick()

    def on_record(self, session_id: str, record: Record) -> None:
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
            self._finish_text()
            self._fold_thought()
            self._activity(record)

    @uninterrupted()
    def on_tick(self) -> None:
        if (now := time.monotonic()) >= self._due:
            self._settle_finished()
            self._draw()
            self._due = now + max(EVERY, _PAUSE * (time.monotonic() - now))

    @uninterrupted()
    def clear(self) -> None:
        if self._live.is_started:
            self._live.update(Group(), refresh=True)
            self._live.stop()
            self._drawing.__exit__()

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
        self.finish()
        self.clear()

    # --- for subclasses -------------------------------------------------------------------------------

    def finish(self) -> None:
        self._finish_text()
        self._fold_thought()
        self._finish_tools()
        for title in self._running.values():
            self.line(Text(f"… {title}", style="dim"))
        self._running.clear()

    def line(self, text: Text) -> None:
        """Print a line for good, cut where the terminal ends."""
        text.no_wrap, text.overflow = True, "ellipsis"
        self.print(text, "line")

    def print(self, renderable: RenderableType, what: str = "block") -> None:
        """Print something for good, with a blank line before it but between two lines."""
        blank = self._above is not None and (self._above, what) != ("line", "line")
        self._above = what
        # In a group, because a bare Text loses its own wrapping.
        self._console.print(Group(*[Text()] * blank, renderable))

    def shown(self) -> str:
        """The text of the current piece of the reply so far."""
        return "".join(self._texts)

    # --- inside ---------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        self._fold_thought()
        self._finish_tools()
        self._pending.append(text)
        self._texts.append(text)

    def _end_piece(self, content: str) -> None:
        """End a piece of the reply; its text is `content`, of which some may not have come as events."""
        if content.startswith(shown := self.shown()) and content != shown:
            self._text(content[len(shown) :])
        self._finish_text()
        self._texts.clear()
        self._pieces.append(content)

    def _finish_reply(self) -> None:
        self.finish()
        self._pieces.clear()
        self._tools_shown.clear()
        self._thought_shown = False
        self._began = time.monotonic()

    def _tool(self, event: Event) -> None:
        title = one_line(event.get("text") or self._running.get(event["tool_id"], "a tool"))
        self._running.pop(event["tool_id"], None)
        if event["state"] in _ENDS:
            mark, style = _ENDS[event["state"]]
            self._ended[event["tool_id"]] = Text(f"{mark} {title}", style=style)
        else:
            self._running[event["tool_id"]] = title

    def _finish_tools(self) -> None:
        """Print the tool calls that ended without a record."""
        for line in self._ended.values():
            self.line(line)
        self._tools_shown |= self._ended.keys()
        self._ended.clear()

    def _activity(self, record: Activity) -> None:
        self.line(text(activities.line(record)))
        if self._detail == "full":
            self.print(group(activities.parts(record)))

    def _fold_thought(self) -> None:
        if self._thought.strip():
            self._finish_tools()
            self.line(text(activities.thought(self._thought[:_THOUGHT])))
            self._thought_shown = True
        self._thought = ""

    def _settle_finished(self) -> None:
        """Read what came since the last drawing, and print the blocks that it finished."""
        text = "".join(self._pending)
        self._pending.clear()
        for block in self._growing.add(text):
            self._settle(block)

    def _finish_text(self) -> None:
        self._settle_finished()
        for block in self._growing.end():
            self._settle(block)

    def _settle(self, block: Block) -> None:
        """Print a block for good, or what of it is not printed yet."""
        lines = block.lines(self._console)
        if rest := lines[self._settled_lines :]:
            self._print_lines(rest)
        # The beginning of the next piece of a long block may be printed already.
        self._settled_lines = max(0, self._settled_lines - len(lines)) if block.continued else 0
        self._continues = block.continued

    def _print_lines(self, lines: list[list[Segment]]) -> None:
        whole = SegmentLines(lines, new_lines=True)
        if self._settled_lines or self._continues:
            self._console.print(whole, end="")
        else:
            self.print(whole)

    def _draw(self) -> None:
        below = list(self._below())
        lines: list[list[Segment]] = []
        if (rest := self._growing.rest) is not None:
            lines = rest.lines(self._console)[self._settled_lines :]
            over = len(lines) - max(1, self._console.height - len(below) - 2)
            if over > 0:
                if rest.steady:
                    self._print_lines(lines[:over])
                    self._settled_lines += over
                lines = lines[over:]
        elif not below and self.interval is not None:
            below = [_moving(f"{time.monotonic() - self._began:.0f} s")]
        if not lines and not below:
            self.clear()
            return
        blank = self._above is not None and not (self._settled_lines or self._continues)
        if not self._live.is_started:
            self._drawing.__enter__()
            self._live.start()
        drawn = Group(*[Text()] * blank, SegmentLines(lines, new_lines=True), *below)
        self._live.update(drawn, refresh=True)

    def _below(self) -> Iterator[RenderableType]:
        """The lines under the text: the end of a thought, which is what is new of it, and the last tools."""
        if thought := self._thought.strip():
            end = one_line(" ".join(thought[-_THOUGHT:].split()))
            yield Text(f"💭 {end[-max(10, self._console.width - 5) :]}", "dim", no_wrap=True, overflow="crop")
        yield from map(_moving, [*self._running.values()][-5:])


def _moving(words: str) -> Text:
    frame = _FRAMES[int(12 * time.monotonic()) % len(_FRAMES)]
    return Text(f"{frame} {words}", "dim", no_wrap=True, overflow="ellipsis")

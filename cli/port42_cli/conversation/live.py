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
from port42_cli.views.markdown import Block, Growing
from port42_cli.views.rich_printer import console
from port42_client.wire import Event
from port42_protocol.messages.records import TurnRecord

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

    def __init__(self, interval: float | None = EVERY) -> None:
        self.interval = interval
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
        self._pieces: list[str] = []
        self._settled_lines = 0  # of the last block, printed for good
        self._continues = False  # whether the last block is the rest of a longer one
        self._above: str | None = None  # what was printed last: "line" or "block"
        self._thought = ""
        self._tools: dict[str, str] = {}

    @uninterrupted()
    def on_event(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "text":
            self._text(event["text"])
        elif kind == "thought":
            self._finish_text()
            self._thought += event["text"]
        elif kind == "tool":
            self._finish_text()
            self._fold_thought()
            self._tool(event)
        elif kind == "permission":
            self.finish()  # what led to the question has to be seen with it
        self.on_tick()

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
        self.whole(result.get("reply") or "")
        if turn := result.get("turn"):
            self.clear()
            streams.notice(plain_text.answered_by(convert(turn, TurnRecord)))

    @uninterrupted()
    def close(self) -> None:
        self.finish()
        self.clear()

    # --- for subclasses -------------------------------------------------------------------------------

    def whole(self, reply: str) -> None:
        """Finish a reply whose text is `reply`: what of it did not come as events is shown now."""
        if reply.startswith(shown := self.shown()):
            self._text(reply[len(shown) :])
        self.finish()
        self._pieces.clear()
        self._began = time.monotonic()

    def finish(self) -> None:
        self._finish_text()
        self._fold_thought()
        for title in self._tools.values():
            self.line(Text(f"… {title}", style="dim"))
        self._tools.clear()

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
        """The text of the current reply so far."""
        return "".join(self._pieces)

    # --- inside ---------------------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        self._fold_thought()
        self._pending.append(text)
        self._pieces.append(text)

    def _tool(self, event: Event) -> None:
        title = one_line(event.get("text") or self._tools.get(event["tool_id"], "a tool"))
        self._tools.pop(event["tool_id"], None)
        if event["state"] in _ENDS:
            mark, style = _ENDS[event["state"]]
            self.line(Text(f"{mark} {title}", style=style))
        else:
            self._tools[event["tool_id"]] = title

    def _fold_thought(self) -> None:
        if thought := self._thought.strip():
            self._thought = ""
            self.line(Text(f"💭 {one_line(' '.join(thought[:_THOUGHT].split()))}", style="dim"))

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
        yield from map(_moving, [*self._tools.values()][-5:])


def _moving(words: str) -> Text:
    frame = _FRAMES[int(12 * time.monotonic()) % len(_FRAMES)]
    return Text(f"{frame} {words}", "dim", no_wrap=True, overflow="ellipsis")

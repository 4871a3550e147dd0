"""A reply at a terminal as it is given: Markdown, with thoughts and tool calls in a line each.

What is finished is printed for good, so that it can be scrolled back to. Only what may still change is
drawn again and again, and it is never taller than the screen: what has left it could not be taken back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from msgspec import convert
from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.spinner import Spinner
from rich.text import Text

from port42_cli import plain_text, streams
from port42_cli.conversation.show import Show, TurnResult
from port42_cli.plain_text import one_line
from port42_cli.terminal import Drawing
from port42_cli.views.markdown import Block, Growing
from port42_cli.views.rich_printer import console
from port42_client.wire import Event
from port42_protocol.messages.records import TurnRecord

_EVERY = 0.08
"""Seconds between two drawings: what comes in between is drawn together."""

_PAUSE = 4
"""Times as long as a drawing took the next one waits, at least: a long block, or a slow terminal, must not
take the time in which the reply is read."""

_THOUGHT = 400
"""Characters of a thought's end that may be seen in its line."""

_ENDS = {"done": ("✓", "dim"), "failed": ("✗", "red")}


class LiveReply(Show):
    """Shows one reply after another on a terminal. While it is `still`, nothing is awaited."""

    def __init__(self, *, still: bool = False) -> None:
        self._still = still
        self._console = console()
        self._drawing = Drawing(self.clear)
        self._live: Live | None = None
        self._due = 0.0
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._growing = Growing()
        self._pending: list[str] = []
        self._pieces: list[str] = []
        self._settled_lines = 0
        self._continues = False
        self._above: str | None = None
        self._thought = ""
        self._tools: dict[str, str] = {}

    @property
    def interval(self) -> float | None:
        return None if self._still else _EVERY

    # --- what is told ---------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "text":
            self.text(event["text"])
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

    def text(self, text: str) -> None:
        self._fold_thought()
        self._pending.append(text)
        self._pieces.append(text)

    def on_tick(self) -> None:
        if (now := time.monotonic()) >= self._due:
            self._take()
            self._draw()
            self._due = now + max(_EVERY, _PAUSE * (time.monotonic() - now))

    def clear(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.update(Group(), refresh=True)
            live.stop()
            self._drawing.__exit__()

    def end(self, result: TurnResult) -> None:
        self.whole(result.get("reply") or "")
        if turn := result.get("turn"):
            self.clear()
            streams.notice(plain_text.answered_by(convert(turn, TurnRecord)))

    def close(self) -> None:
        self.finish()
        self.clear()

    # --- for whoever shows more than a reply ------------------------------------------------------------

    def whole(self, reply: str) -> None:
        """The whole of the reply is this: what of it did not come as pieces is shown now."""
        if reply.startswith(shown := self._shown()):
            self.text(reply[len(shown) :])
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
        # In a group, because a bare Text loses its own ideas about wrapping.
        self._console.print(Group(*[Text()] * blank, renderable))

    def _shown(self) -> str:
        """The text of the current reply so far."""
        return "".join(self._pieces)

    # --- inside -------------------------------------------------------------------------------------

    def _tool(self, event: Event) -> None:
        tool_id, state = event["tool_id"], event["state"]
        title = one_line(event.get("text") or self._tools.get(tool_id, "a tool"))
        self._tools.pop(tool_id, None)
        if state in _ENDS:
            mark, style = _ENDS[state]
            self.line(Text(f"{mark} {title}", style=style))
        else:
            self._tools[tool_id] = title

    def _fold_thought(self) -> None:
        if thought := self._thought.strip():
            self._thought = ""
            self.line(Text(f"💭 {one_line(' '.join(thought[:_THOUGHT].split()))}", style="dim"))

    def _take(self) -> None:
        """Read what came since the last drawing, and print the blocks that it finished."""
        if self._pending:
            text, self._pending = "".join(self._pending), []
            for block in self._growing.add(text):
                self._settle(block)

    def _finish_text(self) -> None:
        self._take()
        for block in self._growing.end():
            self._settle(block)

    def _settle(self, block: Block) -> None:
        """Print a block for good, or what of it is not printed yet."""
        lines = block.lines(self._console)
        if rest := lines[self._settled_lines :]:
            self._print_lines(rest)
        # The next piece of a long block is no new paragraph, and the begin of it may be printed already.
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
        elif not below and not self._still:
            below = [self._waiting()]
        if not lines and not below:
            self.clear()
            return
        blank = self._above is not None and not (self._settled_lines or self._continues)
        shown = Group(*[Text()] * blank, SegmentLines(lines, new_lines=True), *below)
        if self._live is None:
            self._drawing.__enter__()
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(shown, refresh=True)

    def _below(self) -> Iterator[RenderableType]:
        if thought := self._thought.strip():
            end = one_line(" ".join(thought[-_THOUGHT:].split()))
            # Its end is what is new; so much of it as fits.
            yield Text(f"💭 {end[-max(10, self._console.width - 5) :]}", "dim", no_wrap=True, overflow="crop")
        for title in [*self._tools.values()][-5:]:
            yield self._moving(title)

    def _waiting(self) -> RenderableType:
        return self._moving(f"{time.monotonic() - self._began:.0f} s")

    def _moving(self, words: str) -> RenderableType:
        frames, interval = self._spinner.frames, self._spinner.interval
        frame = frames[int(time.monotonic() * 1000 / interval) % len(frames)]
        return Text(f"{frame} {words}", "dim", no_wrap=True, overflow="ellipsis")

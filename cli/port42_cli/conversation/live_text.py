"""Markdown at a terminal while it is written, between what is printed above and what moves below.

What is finished is printed for good, so that it can be scrolled back to. Only what may still change is
drawn again and again, and it is never taller than the screen: what has left it could not be erased.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from port42_cli.terminal import Drawing, uninterrupted
from port42_cli.views.markdown import Block, Growing
from port42_cli.views.rich_printer import console

_NEEDS_NO_BLANK = {None, "heading", "spaced"}


class LiveText:
    """One document after another; `finish` ends one. Nothing is drawn before `draw`."""

    def __init__(self) -> None:
        self._console = console()
        self._drawing = Drawing(self.clear)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._growing = Growing()
        self._pending: list[str] = []
        self._settled_lines = 0  # of the last block, printed for good
        self._continues = False  # whether the last block is the rest of a longer one
        self._above: str | None = None  # what was printed last: see `print`

    @property
    def width(self) -> int:
        return self._console.width

    def add(self, text: str) -> None:
        self._pending.append(text)

    def finish(self) -> None:
        self._settle_finished()
        for block in self._growing.end():
            self._settle(block)

    def line(self, text: Text) -> None:
        """Print a line for good, cut where the terminal ends."""
        text.no_wrap, text.overflow = True, "ellipsis"
        self.print(text, "line")

    def heading(self, text: Text) -> None:
        """Print a line for good that belongs to what comes below it."""
        self.print(text, "heading")

    def print(self, renderable: RenderableType, what: str = "block") -> None:
        """Print something for good, with a blank line before it but below a heading, below what is `spaced`
        (it ends in a blank line), and between two lines."""
        blank = self._above not in _NEEDS_NO_BLANK and (self._above, what) != ("line", "line")
        self._above = what
        # In a group, because a bare Text loses its own wrapping.
        self._console.print(Group(*[Text()] * blank, renderable))

    def draw(self, below: Sequence[Text], idle: Text | None) -> None:
        """Draw the text that may still change, and `below` under it; `idle` last, where there is no text."""
        self._settle_finished()
        lines: list[list[Segment]] = []
        if (rest := self._growing.rest) is not None:
            lines = rest.lines(self._console)[self._settled_lines :]
            over = len(lines) - max(1, self._console.height - len(below) - 2)
            if over > 0:
                if rest.steady:
                    self._print_lines(lines[:over])
                    self._settled_lines += over
                lines = lines[over:]
        elif idle is not None:
            below = [*below, idle]
        if not lines and not below:
            self.clear()
            return
        blank = self._above not in _NEEDS_NO_BLANK and not (self._settled_lines or self._continues)
        if not self._live.is_started:
            self._drawing.__enter__()
            self._live.start()
        drawn = Group(*[Text()] * blank, SegmentLines(lines, new_lines=True), *below)
        self._live.update(drawn, refresh=True)

    @uninterrupted()
    def clear(self) -> None:
        """Erase what is drawn; it comes again with the next `draw`."""
        if self._live.is_started:
            self._live.update(Group(), refresh=True)
            self._live.stop()
            self._drawing.__exit__()

    def _settle_finished(self) -> None:
        """Read what was added since the last drawing, and print the blocks that it finished."""
        text = "".join(self._pending)
        self._pending.clear()
        for block in self._growing.add(text):
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

"""The picker at a terminal: an input line, the matching sessions, a preview of the selected one.

Arrows and Page Up and Down select, Enter picks, Tab hides the preview, Esc quits. What is typed is matched
against titles, names and ids at once, and, a moment later, searched in the messages.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import click
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point, Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples as Fragments
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput

from port42_cli import streams
from port42_cli.picker import rows
from port42_cli.picker.gathering import Gathering
from port42_cli.picker.matching import Fit, fitting
from port42_client.daemon import Daemon
from port42_client.errors import CommandError
from port42_protocol.counting import count
from port42_protocol.messages.records import Record, Summary

SEARCH_AFTER = (
    0.15  # seconds without a key before messages are searched: once for a word, not for each letter
)
SHORTEST_SEARCH = 2  # characters that are worth a search in the messages
PREVIEW_FROM = 16  # lines that a terminal with a preview has at least


def pick(daemon: Daemon, agent: str | None, typed: str = "") -> Summary | None:
    """The session that the person chooses, None when the screen was left.

    Raises `click.UsageError` without a terminal, and `CommandError` where there is none to choose.
    """
    if not (sys.stdin.isatty() and streams.can_draw()):
        raise click.UsageError("a session is picked at a terminal; `port42 sessions` lists them")
    gathering = Gathering(daemon, agent)
    try:
        picker = Picker(gathering, typed)
        if picker.is_empty:
            raise gathering.nothing()
        return picker.run()
    finally:
        gathering.close()


class Picker:
    """The screen; `run` returns the picked session, None when the user quits."""

    def __init__(self, gathering: Gathering, typed: str) -> None:
        self._gathering = gathering
        self._choices, self._cursor = gathering.page()
        self._fits: list[Fit] = []
        self._hits: list[Fit] = []
        self._at = 0
        self._top = 0
        self._complete = False
        self._previews: dict[str, list[Record]] = {}
        self._preview_shown: tuple[Fit, int, int, int] | None = None
        self._preview_drawn: Fragments = []
        self._problem = ""
        self._with_preview = True
        self._typing = Buffer(
            multiline=False, document=Document(typed), on_text_changed=lambda _: self._typed()
        )
        self._pending: asyncio.Task[None] | None = None
        self._app: Application[Summary | None] = Application(
            layout=self._layout(), key_bindings=self._keys(), full_screen=True
        )
        # Esc quits soon; the rest of an arrow key's code arrives sooner, over ssh too.
        self._app.timeoutlen = self._app.ttimeoutlen = 0.1

    @property
    def is_empty(self) -> bool:
        return not self._choices

    def run(self) -> Summary | None:
        self._match()
        return self._app.run(pre_run=self._begin)

    # --- matches, hits, previews --------------------------------------------------------------------

    def _begin(self) -> None:
        self._app.create_background_task(self._gather())
        self._typed()

    async def _gather(self) -> None:
        try:
            async for page in self._gathering.later_pages(self._cursor):
                known = {choice.session.session_id for choice in self._choices}
                # A session that was used meanwhile has moved to the front, and was in an earlier page.
                self._choices += [choice for choice in page if choice.session.session_id not in known]
                self._match(keep=True)
                self._app.invalidate()
        except CommandError as error:
            self._problem = error.message
        self._complete = True
        self._app.invalidate()

    def _typed(self) -> None:
        """Match at once, search and preview a moment later."""
        self._hits = []
        self._match()
        self._look_soon()

    def _match(self, *, keep: bool = False) -> None:
        """Find what fits; with `keep` the selected session stays selected."""
        chosen = self._chosen.session_id if keep and self._chosen else None
        fits = fitting(self._typing.text, self._choices)
        named = {fit.session.session_id for fit in fits}
        self._fits = [*fits, *(hit for hit in self._hits if hit.session.session_id not in named)]
        positions = (at for at, fit in enumerate(self._fits) if fit.session.session_id == chosen)
        self._at = next(positions, 0)

    @property
    def _chosen(self) -> Summary | None:
        return self._fits[self._at].session if self._at < len(self._fits) else None

    def _look_soon(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        self._pending = self._app.create_background_task(self._look())

    async def _look(self) -> None:
        try:
            await self._preview()
            typed = self._typing.text.strip()
            if len(typed) >= SHORTEST_SEARCH and not self._hits:
                await asyncio.sleep(SEARCH_AFTER)
                self._hits = await self._gathering.hits(typed)
                self._match(keep=True)
                await self._preview()
            self._problem = ""
        except CommandError as error:
            self._problem = error.message
        self._app.invalidate()

    async def _preview(self) -> None:
        chosen = self._chosen
        if chosen and chosen.session_id not in self._previews:
            self._previews[chosen.session_id] = await self._gathering.preview(chosen)
            self._app.invalidate()

    # --- drawing ------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        typing = Window(BufferControl(self._typing, input_processors=[BeforeInput("› ", "bold")]), height=1)
        listed = Window(FormattedTextControl(self._list, get_cursor_position=lambda: Point(0, 0)))
        rule = Window(height=1, char="─", style=rows.QUIET)
        previewed = Window(FormattedTextControl(self._previewed), height=lambda: self._preview_lines)
        preview = ConditionalContainer(HSplit([rule, previewed]), Condition(lambda: self._preview_lines > 0))
        footer = Window(FormattedTextControl(self._footer), height=1)
        return Layout(HSplit([typing, listed, preview, footer]), focused_element=typing)

    @property
    def _size(self) -> Size:
        return self._app.output.get_size()

    @property
    def _preview_lines(self) -> int:
        return self._size.rows // 3 if self._with_preview and self._size.rows >= PREVIEW_FROM else 0

    @property
    def _listed_lines(self) -> int:
        preview = self._preview_lines
        return max(1, self._size.rows - 2 - (preview + 1 if preview else 0))

    def _list(self) -> Fragments:
        """Only the visible rows are made, however many fit."""
        lines = self._listed_lines
        self._top = min(max(self._top, self._at - lines + 1), self._at)
        visible = self._fits[self._top : self._top + lines]
        if not visible:
            return [(rows.QUIET, "  Nothing fits." if self._complete else "  …")]
        drawn: Fragments = []
        for number, fit in enumerate(visible, self._top):
            drawn += [*rows.row(fit, number == self._at, self._size.columns, streams.now()), ("", "\n")]
        return drawn[:-1]

    def _previewed(self) -> Fragments:
        if self._chosen is None:
            return []
        records = self._previews.get(self._chosen.session_id, [])
        shown = (self._fits[self._at], len(records), self._size.columns, self._preview_lines)
        if shown != self._preview_shown:
            # Imported here: the list is there before what draws Markdown is loaded.
            from port42_cli.picker.preview import preview

            self._preview_drawn = preview(shown[0], records, *shown[2:])
            self._preview_shown = shown
        return self._preview_drawn

    def _footer(self) -> Fragments:
        if self._problem:
            return [("ansired", rows.cut(self._problem, self._size.columns - 1))]
        more = "" if self._complete else " so far"
        number = f"{len(self._fits):,} of {count(len(self._choices), 'session')}{more}"
        keys = "Enter continue · ↑↓ select · Tab preview · Esc quit"
        return [(rows.QUIET, rows.cut(f"{keys}   {number}", self._size.columns - 1))]

    # --- keys ---------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        for name, step in {"up": -1, "c-p": -1, "down": 1, "c-n": 1}.items():
            keys.add(name)(partial(self._move, step))
        keys.add("pageup")(lambda _: self._move(-self._listed_lines))
        keys.add("pagedown")(lambda _: self._move(self._listed_lines))
        keys.add("enter")(self._pick)
        keys.add("tab")(self._toggle_preview)
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        for name in ("escape", "c-c", "c-d", "c-g"):
            keys.add(name)(lambda event: event.app.exit())
        return keys

    def _move(self, step: int, _: KeyPressEvent | None = None) -> None:
        self._at = min(max(0, self._at + step), max(0, len(self._fits) - 1))
        self._look_soon()

    def _pick(self, event: KeyPressEvent) -> None:
        if self._chosen:
            event.app.exit(result=self._chosen)

    def _toggle_preview(self, _: KeyPressEvent) -> None:
        self._with_preview = not self._with_preview

"""The picker at a terminal: an input line, the matching sessions, a preview of the selected one.

Arrows and Page Up and Down select, Enter picks, Tab hides the preview, Esc quits. What is typed is matched
against titles, names and ids at once, and, a moment later, searched in the messages.
"""

from __future__ import annotations

import asyncio
from functools import partial

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
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
from prompt_toolkit.styles import Style

from port42_cli import streams
from port42_cli.picker import rows
from port42_cli.picker.gathering import Gathering
from port42_cli.picker.matching import Choice, Fit, fitting
from port42_cli.plain_text import count
from port42_client.errors import CommandError
from port42_protocol.messages.records import Message

SEARCH_AFTER = 0.15
"""Seconds without a key before messages are searched: one search for a word, not one for each letter."""

SHORTEST_SEARCH = 2
"""Characters that are worth a search in the messages."""

PREVIEW_FROM = 16
"""Lines a terminal has at least for the preview to be worth its place."""

_STYLE = Style.from_dict(
    {
        "mark": "bold",
        "agent": "ansicyan",
        "age": "ansibrightblack",
        "quiet": "ansibrightblack",
        "rule": "ansibrightblack",
        "role": "bold",
        "hit": "ansiyellow",
        "keys": "ansibrightblack",
        "chosen": "reverse",
        "problem": "ansired",
    }
)


class Picker:
    """The screen; `run` returns the picked session, None when the user quits."""

    def __init__(self, gathering: Gathering, typed: str) -> None:
        self._gathering = gathering
        self._choices: list[Choice] = []
        self._cursor: str | None = None
        self._fits: list[Fit] = []
        self._hits: list[Fit] = []
        self._at = 0
        self._top = 0
        self._complete = False
        self._previews: dict[str, list[Message]] = {}
        self._problem = ""
        self._with_preview = True
        self._typing = Buffer(
            multiline=False, document=Document(typed), on_text_changed=lambda _: self._typed()
        )
        self._pending: asyncio.Task[None] | None = None
        self._app: Application[Choice | None] = Application(
            layout=self._layout(), key_bindings=self._keys(), style=_STYLE, full_screen=True
        )
        # Esc quits soon; the rest of an arrow key's code arrives sooner, over ssh too.
        self._app.timeoutlen = self._app.ttimeoutlen = 0.1

    def run(self) -> Choice | None:
        """Let the person choose. Raises `CommandError` when there is nothing to choose from."""
        self._choices, self._cursor = self._gathering.page()
        self._match()
        return self._app.run(pre_run=self._begin)

    # --- what is known ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._app.create_background_task(self._gather())
        self._typed()

    async def _gather(self) -> None:
        try:
            async for page in self._gathering.rest(self._cursor):
                known = {choice.session_id for choice in self._choices}
                # A session that was used meanwhile is nearer the front: it came already.
                self._choices += [choice for choice in page if choice.session_id not in known]
                self._match(keep=True)
                self._app.invalidate()
        except CommandError as error:
            self._problem = error.message
        self._complete = True
        self._app.invalidate()

    def _typed(self) -> None:
        """Something else is typed, or chosen: match at once, search and preview a moment later."""
        self._hits = []
        self._match()
        self._look_soon()

    def _match(self, *, keep: bool = False) -> None:
        chosen = self._chosen.choice.session_id if keep and self._chosen else None
        fits = fitting(self._typing.text, self._choices)
        named = {fit.choice.session_id for fit in fits}
        self._fits = [*fits, *(hit for hit in self._hits if hit.choice.session_id not in named)]
        rows = (row for row, fit in enumerate(self._fits) if fit.choice.session_id == chosen)
        self._at = next(rows, 0)

    @property
    def _chosen(self) -> Fit | None:
        return self._fits[self._at] if self._at < len(self._fits) else None

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
        if chosen and chosen.choice.session_id not in self._previews:
            self._previews[chosen.choice.session_id] = await self._gathering.preview(chosen.choice)
            self._app.invalidate()

    # --- what is drawn ----------------------------------------------------------------------------

    def _layout(self) -> Layout:
        typing = Window(
            BufferControl(self._typing, input_processors=[BeforeInput("› ", "class:mark")]), height=1
        )
        listed = Window(FormattedTextControl(self._list, get_cursor_position=lambda: Point(0, 0)))
        previewing = Condition(lambda: self._with_preview and self._lines >= PREVIEW_FROM)
        preview = HSplit(
            [
                Window(height=1, char="─", style="class:rule"),
                Window(FormattedTextControl(self._previewed), height=lambda: self._preview_lines),
            ]
        )
        keys = Window(FormattedTextControl(self._footer), height=1)
        whole = HSplit([typing, listed, ConditionalContainer(preview, previewing), keys])
        return Layout(whole, focused_element=typing)

    @property
    def _lines(self) -> int:
        return self._app.output.get_size().rows

    @property
    def _columns(self) -> int:
        return self._app.output.get_size().columns

    @property
    def _preview_lines(self) -> int:
        return max(4, self._lines // 3)

    @property
    def _listed_lines(self) -> int:
        preview = self._preview_lines + 1 if self._with_preview and self._lines >= PREVIEW_FROM else 0
        return max(1, self._lines - 2 - preview)

    def _list(self) -> rows.Fragments:
        """Only the rows that are seen are made, however many fit."""
        lines = self._listed_lines
        self._top = min(max(self._top, self._at - lines + 1), self._at)
        seen = self._fits[self._top : self._top + lines]
        if not seen:
            return [("class:quiet", "  Nothing fits." if self._complete else "  …")]
        now, columns = streams.now(), self._columns
        drawn: rows.Fragments = []
        for number, fit in enumerate(seen, self._top):
            drawn += [*rows.row(fit, number == self._at, columns, now), ("", "\n")]
        return drawn[:-1]

    def _previewed(self) -> rows.Fragments:
        chosen = self._chosen
        if chosen is None:
            return []
        messages = self._previews.get(chosen.choice.session_id, [])
        return rows.preview(chosen, messages, self._columns, self._preview_lines)

    def _footer(self) -> rows.Fragments:
        if self._problem:
            return [("class:problem", rows.cut(self._problem, self._columns - 1))]
        more = "" if self._complete else " so far"
        number = f"{len(self._fits):,} of {count(len(self._choices), 'session')}{more}"
        keys = "Enter continue · ↑↓ select · Tab preview · Esc quit"
        return [("class:keys", rows.cut(f"{keys}   {number}", self._columns - 1))]

    # --- what is pressed --------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        for step, names in ((-1, ("up", "c-p")), (1, ("down", "c-n"))):
            for name in names:
                keys.add(name)(partial(self._move, step))
        keys.add("pageup")(lambda _: self._move(-self._listed_lines))
        keys.add("pagedown")(lambda _: self._move(self._listed_lines))
        keys.add("enter")(self._pick)
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        keys.add("tab")(self._toggle_preview)
        for name in ("escape", "c-c", "c-d", "c-g"):
            keys.add(name)(self._leave)
        return keys

    def _move(self, step: int, _: KeyPressEvent | None = None) -> None:
        self._at = min(max(0, self._at + step), max(0, len(self._fits) - 1))
        self._look_soon()

    def _pick(self, event: KeyPressEvent) -> None:
        if self._chosen:
            event.app.exit(result=self._chosen.choice)

    def _toggle_preview(self, _: KeyPressEvent) -> None:
        self._with_preview = not self._with_preview

    def _leave(self, event: KeyPressEvent) -> None:
        event.app.exit(result=None)

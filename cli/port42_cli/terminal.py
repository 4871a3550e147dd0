"""The terminal while something is drawn on it: no echo of keys, which would move the cursor; restored at the
end, whichever way the command ends. What is typed meanwhile is kept for who reads next.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a program; at a terminal, what was drawn is cleared away first."""

_SHOW_CURSOR = "\x1b[?25h"
_LEAVE_SCREEN = "\x1b[?1049l\x1b[?2004l" + _SHOW_CURSOR
"""The picker's whole screen, and the marks around what is pasted into a prompt."""


class Ended(SystemExit):
    """A signal of `ENDING` came: everything is put back, then the process ends by that signal.

    A SystemExit, because asyncio, on which prompts run, lets no other exception through a callback.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def main(run: Callable[[], int]) -> int:
    """The exit code of `run`, at whose end the terminal is as it was before, whichever way it ends."""
    before = _attributes()
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:  # not where it is ignored, as nohup does
            signal.signal(number, _end)
    try:
        return run()
    except Ended as ended:
        if before is not None and _attributes() != before:
            # It came during another handler's cleanup.
            _set(before)
            sys.stdout.write(_LEAVE_SCREEN)
            sys.stdout.flush()
        # The shell sees by what it ended.
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)
        raise


class Drawing:
    """While it is entered, keys are not echoed, and Ctrl-Z leaves a clean terminal.

    `clear` takes away what is drawn, and may leave this very context. In the background nothing is done.
    With `keys`, `keys` reads those that are typed at once, not only after Enter.
    """

    def __init__(self, clear: Callable[[], None] = lambda: None, *, keys: bool = False) -> None:
        self._clear = clear
        self._reads_keys = keys
        self._before: list[Any] | None = None
        self._suspends = False

    def __enter__(self) -> Drawing:
        if self._before is not None:
            return self
        if (before := _attributes()) is None:
            return self
        self._before = before
        silent = [*self._before]
        silent[3] &= ~(termios.ECHO | termios.ICANON if self._reads_keys else termios.ECHO)
        _set(silent)
        self._suspends = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
        if self._suspends:
            signal.signal(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            return
        before, self._before = self._before, None
        if self._suspends:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        _set(before)
        if sys.stdout.isatty():
            sys.stdout.write(_SHOW_CURSOR)
            sys.stdout.flush()

    @property
    def has_keys(self) -> bool:
        return self._reads_keys and self._before is not None and sys.stdin.isatty()

    def keys(self, seconds: float) -> str | None:
        """The next keys, None when none of a letter came for so many seconds, "" at the end of stdin."""
        if not self.has_keys:
            time.sleep(seconds)
            return None
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        typed = os.read(sys.stdin.fileno(), 64).decode(errors="replace") if ready else None
        # An arrow or another key that sends several bytes, of which some look like letters.
        return None if typed and typed.startswith("\x1b") else typed

    def _suspend(self, number: int, _: FrameType | None) -> None:
        self._clear()
        goes_on = self._before is not None
        self.__exit__()
        os.kill(os.getpid(), number)
        # From here on it goes on, after SIGCONT.
        if goes_on:
            self.__enter__()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that end or suspend the program are delivered when it is left, not in the middle.

    They are held back in this thread, which is the only one while something is drawn.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTSTP, *ENDING})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ctrl_d(*, ends_input: bool) -> Iterator[None]:
    """Whether Ctrl-D ends the input of a program that reads lines, or is a key like others.

    A key that is typed before a prompt is there reaches the prompt; an end of the input reads as NUL there.
    """
    before = _attributes()
    device = _device()
    if before is not None and device is not None:
        changed = [*before[:6], [*before[6]]]
        disabled = bytes([os.fpathconf(device, "PC_VDISABLE")])
        changed[6][termios.VEOF] = termios.CEOF.to_bytes() if ends_input else disabled
        _set(changed)
    try:
        yield
    finally:
        if before is not None:
            _set(before)


def _device() -> int | None:
    """The terminal's descriptor; None for a job in the background, which SIGTTOU would suspend."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        with suppress(OSError, ValueError):
            if os.tcgetpgrp(stream.fileno()) == os.getpgrp():
                return stream.fileno()
    return None


def _attributes() -> list[Any] | None:
    if (device := _device()) is not None:
        with suppress(termios.error):  # it hung up
            return termios.tcgetattr(device)
    return None


def _set(attributes: list[Any]) -> None:
    if (device := _device()) is not None:
        with suppress(termios.error):
            # Not TCSAFLUSH, which would lose what was typed.
            termios.tcsetattr(device, termios.TCSADRAIN, attributes)


def _end(number: int, _: FrameType | None) -> None:
    for ending in ENDING:  # a second one would interrupt what puts the terminal back
        if signal.getsignal(ending) is _end:
            signal.signal(ending, signal.SIG_IGN)
    raise Ended(number)

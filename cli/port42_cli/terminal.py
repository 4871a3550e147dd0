"""The terminal while something is drawn on it: no echo of keys, and as it was after every way to end.

A key that is echoed in the middle of a drawing moves the cursor, and the next drawing lands beside the last
one. What is typed meanwhile is not lost: whoever reads next, this program or the shell, gets it.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a program; at a terminal, what was drawn is cleared away first."""

_SHOW_CURSOR = "\x1b[?25h"


class Ended(BaseException):
    """A signal of `ENDING` came: everything is put back, then the process ends by that signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_orderly() -> None:
    """Have the signals of `ENDING` raise `Ended` in the main thread, unless they are ignored."""
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def die(ended: Ended) -> int:
    """End by the signal that came, as the shell expects; the exit code where that does not end us."""
    signal.signal(ended.number, signal.SIG_DFL)
    os.kill(os.getpid(), ended.number)
    return 128 + ended.number


class Drawing:
    """While it is entered, keys are not echoed, and Ctrl-Z leaves a clean terminal.

    `clear` takes away what is drawn, and may leave this very context; where stdin is no terminal nothing
    is done.
    """

    def __init__(self, clear: Callable[[], None] = lambda: None) -> None:
        self._clear = clear
        self._before: list[Any] | None = None
        self._suspends = False

    def __enter__(self) -> Drawing:
        if self._before is not None:
            return self
        try:
            self._before = termios.tcgetattr(sys.stdin)
        except (termios.error, OSError, ValueError):
            return self
        silent = [*self._before]
        silent[3] &= ~termios.ECHO
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

    def _suspend(self, number: int, _: FrameType | None) -> None:
        self._clear()
        goes_on = self._before is not None
        self.__exit__()
        os.kill(os.getpid(), number)
        # From here on it goes on, after SIGCONT.
        if goes_on:
            self.__enter__()


def _set(attributes: list[Any]) -> None:
    with suppress(termios.error, OSError):  # it hung up
        # Not TCSAFLUSH, which would lose what was typed.
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, attributes)


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)

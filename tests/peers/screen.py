"""A terminal's screen: what is sent changes parts of it, so only the whole can be looked at."""

from __future__ import annotations

import time
from collections.abc import Callable

import pexpect
import pyte
from peers.processes import Terminal


class Screen:
    """A child of pexpect on a screen of `lines` by `columns`."""

    def __init__(self, talk: Terminal, lines: int = 24, columns: int = 80) -> None:
        talk.setwinsize(lines, columns)
        self.send, self.sent = talk.send, ""
        self._talk, self._ended = talk, False
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)

    @property
    def has_ended(self) -> bool:
        return self._ended

    def until(self, shown: str) -> list[str]:
        """Look until it shows that; gives the screen's lines."""
        return self.until_so(lambda lines: shown in "\n".join(lines))

    def until_so(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Look until the lines are as wanted."""
        deadline = time.monotonic() + 30
        while not seen(self._screen.display):
            assert time.monotonic() < deadline, "\n".join(self._screen.display)
            self._read()
        return self._screen.display

    def left(self, status: int) -> None:
        """Wait for the child's end, which must have that exit code."""
        self.until_so(lambda _: self._ended)
        self._talk.close()
        assert self._talk.exitstatus == status

    def _read(self) -> None:
        try:
            new = self._talk.read_nonblocking(65536, timeout=1)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self._ended = True
            return
        self.sent += new
        self._stream.feed(new)

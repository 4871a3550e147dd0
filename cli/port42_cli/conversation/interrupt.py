"""Ctrl-C while an agent answers: the first asks for the reply to stop, the second leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupt:
    """While it is entered, the first Ctrl-C makes it readable and nothing else; the second raises.

    So a message that is being received when the key is pressed is not lost.
    """

    def __enter__(self) -> Interrupt:
        self._pressed = self._at_once = False
        self._read, self._write = os.pipe()
        # Where Ctrl-C is ignored (nohup, a shell's background job), it stays so.
        self._handles = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._handles:
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Readable from the first Ctrl-C on, until `take`."""
        return self._read

    def take(self) -> None:
        os.read(self._read, 1)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In here even the first Ctrl-C raises: nothing is being received."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _on_signal(self, *_: object) -> None:
        if self._at_once or self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
        os.write(self._write, b"\0")

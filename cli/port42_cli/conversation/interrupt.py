"""Ctrl-C while an agent answers: the first asks for the reply to stop, the second leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupt:
    """While it is held, the first Ctrl-C makes it readable and nothing else; the second is the usual one.

    What is being received when the key is pressed is then never lost half-way.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._at_once = False
        self._held = False
        self._read, self._write = -1, -1

    def __enter__(self) -> Interrupt:
        self._read, self._write = os.pipe()
        # Where Ctrl-C is ignored (nohup, a shell's background job), it stays so.
        self._held = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._held:
            signal.signal(signal.SIGINT, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Readable from the first Ctrl-C on, until `take`."""
        return self._read

    def take(self) -> None:
        """Not readable any more."""
        os.read(self._read, 1)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In here, even the first one is a KeyboardInterrupt: nothing is being received."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _came(self, *_: object) -> None:
        if self._at_once or self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
        os.write(self._write, b"\0")

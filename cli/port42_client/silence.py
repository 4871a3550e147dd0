"""Time limits for a silent daemon: when the user is told, and when the call fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

from port42_client.errors import NoDaemon

SLOW = 3.5
"""Seconds of silence after which a person is told what is waited for."""

PATIENCE = 30.0
"""Seconds of silence after which a call fails. A turn takes as long as its back end does, so once it began
the daemon is asked for its `status` in every silence: only one that hangs does not answer."""

FOLLOWING = 30.0
"""As `SLOW`, of events: only then the daemon is asked for its `status`."""

HANGS = ("  To see what holds it up: port42 doctor", "  To replace it: port42 daemon restart")
"""Advice about a daemon that does not answer."""

_AFTER_PING = 1.0


def given_up(method: str, patience: float) -> NoDaemon:
    return NoDaemon(f"the daemon took {method} and did not answer within {patience:.0f} s", *HANGS)


class Silence:
    """The silence after a request of `method`: told after `SLOW` seconds, given up after `patience`.

    With `ping`, one that follows a word of the daemon's may last: `ping` is called after `pause` seconds, by
    default `SLOW`, and only what follows it counts.
    """

    def __init__(
        self,
        method: str,
        patience: float,
        notice: Callable[[str], None],
        ping: Callable[[], None] | None = None,
        pause: float | None = None,
    ) -> None:
        self._method = method
        self._patience = patience
        self._notice = notice
        self._ping = ping
        self._pause = SLOW if pause is None else pause
        self._begin(self._unanswered(SLOW))

    def reset(self) -> None:
        """Count from now on: the daemon sent something."""
        self._begin(self._pinged(self._ping) if self._ping else self._unanswered(SLOW))

    def left(self) -> float:
        """Seconds until `check` has something to do."""
        return max(0.0, self._due - monotonic())

    def check(self) -> None:
        """Do what is due. Raises `NoDaemon`."""
        if self.left() == 0:
            self._due = monotonic() + next(self._steps)

    def given_up(self) -> NoDaemon:
        return given_up(self._method, self._patience)

    def _begin(self, steps: Iterator[float]) -> None:
        self._steps = steps
        self._due = monotonic() + next(steps)

    def _unanswered(self, slow: float) -> Iterator[float]:
        """Yields the seconds before each step."""
        yield min(slow, self._patience)
        if slow <= self._patience:
            self._notice(f"Waiting for port42d, which has not answered yet ({self._method}).")
            yield self._patience - slow
        raise self.given_up()

    def _pinged(self, ping: Callable[[], None]) -> Iterator[float]:
        yield self._pause
        ping()
        yield from self._unanswered(_AFTER_PING)

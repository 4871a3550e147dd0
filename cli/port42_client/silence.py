"""Time limits for a silent daemon: when the user is told, and when the call fails."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from port42_client.errors import NoDaemon

SLOW = 3.5
"""Seconds without a word from the daemon after which a person is told what is waited for."""

PATIENCE = 30.0
"""Seconds without a word after which the daemon is given up. A turn takes as long as its back end does, so
once it began the daemon is asked for its `status` in every silence: only one that hangs does not answer."""

FOLLOWING = 30.0
"""Seconds of silence after which one who follows a session asks whether the daemon is still there."""

HANGS = ("  To see what holds it up: port42 doctor", "  To replace it: port42 daemon restart")
"""Advice about a daemon that does not answer."""

_AFTER_PING = 1.0


class Silence:
    """The silence after a request of `method`: told after `SLOW` seconds, given up after `patience`.

    With `ping`, one that follows a word of the daemon's may last: `ping` is called after `pause` seconds,
    and only what follows it counts.
    """

    def __init__(
        self,
        method: str,
        patience: float,
        notice: Callable[[str], None],
        ping: Callable[[], None] | None = None,
        pause: float = SLOW,
    ) -> None:
        self._method = method
        self._patience = patience
        self._notice = notice
        self._ping = ping
        self._pause = pause
        self._begin((SLOW, self._tell), (patience, self._give_up))

    def broken(self) -> None:
        """The daemon sent something."""
        if self._ping is None:
            self._begin((SLOW, self._tell), (self._patience, self._give_up))
        else:
            self._begin((self._pause, self._ask))

    def left(self) -> float:
        """Seconds until `check` has something to do."""
        return max(0.0, self._since + self._steps[0][0] - monotonic())

    def check(self) -> None:
        """Do what is due. Raises `NoDaemon`."""
        if self.left() == 0:
            _, step = self._steps.pop(0)
            step()

    def given_up(self) -> NoDaemon:
        return NoDaemon(
            f"the daemon took {self._method} and did not answer within {self._patience:.0f} s", *HANGS
        )

    def _begin(self, *steps: tuple[float, Callable[[], None]]) -> None:
        """From now on: what is done after so many seconds. What comes after the giving up is left out."""
        self._since = monotonic()
        self._steps = [step for step in steps if step[0] <= max(self._patience, self._pause)]

    def _ask(self) -> None:
        self._begin((_AFTER_PING, self._tell), (self._patience, self._give_up))
        if self._ping is not None:
            self._ping()

    def _tell(self) -> None:
        self._notice(f"Waiting for port42d, which has not answered yet ({self._method}).")

    def _give_up(self) -> None:
        raise self.given_up()

"""What happens in a session, or in an agent's sessions, heard for as long as one wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from port42_client.client import Client, Event
from port42_client.daemon import Daemon


class Following:
    """The events of what `asked`, a `subscribe`, is about; over the ends of daemons, and of our patience.

    In a session no record is missed and none comes twice: `since` is the seq of the last one that is not
    wanted, None for all that there are now. Of an agent's sessions only what is said while a daemon
    is there can be heard.
    """

    def __init__(self, daemon: Daemon, asked: dict[str, Any], session: dict[str, Any] | None) -> None:
        self._daemon = daemon
        self._asked = asked
        self._seen: int | None = asked.get("since_seq")
        self._before = session["last_activity"] if session else ""
        self._at_least = session["message_count"] if session else 0

    def events(self, interval: Callable[[], float | None] = lambda: None) -> Iterator[Event | None]:
        """One after another, without end; None when none came for `interval()` seconds.

        After an ``overflow`` (we read too slowly) a reply under way is told from its beginning again.
        """
        connect: Callable[[], Any] = self._daemon.connect
        while True:
            with Client(connect) as client:
                for event in client.events("subscribe", self._asked, interval):
                    if event is None or self._is_new(event):
                        yield event
                    if event is not None and event["kind"] == "overflow":
                        break  # what was missed is asked for again
                else:
                    self._daemon.await_next()
            connect = self._daemon.existing
            self._go_on_from_there()

    def _is_new(self, event: Event) -> bool:
        """Note how far we are. What was there before us and comes with a new beginning is not new."""
        if event["kind"] != "message" or "session_id" not in self._asked:
            return True
        record = event["message"]
        if self._seen is None and record["timestamp"] <= self._before:
            return False
        self._seen = record["seq"]
        return True

    def _go_on_from_there(self) -> None:
        if "session_id" in self._asked:
            # Where nothing was seen yet: a session has at least as many records as messages.
            self._asked["since_seq"] = self._at_least if self._seen is None else self._seen

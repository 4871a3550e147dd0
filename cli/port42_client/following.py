"""Events of sessions as they go on, across restarts of the daemon and overflows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from port42_client.daemon import Daemon
from port42_client.errors import ConnectionLost, DaemonError
from port42_client.wire import Event, JsonObject
from port42_protocol.errors import ShuttingDown
from port42_protocol.messages.records import Summary

if TYPE_CHECKING:
    from port42_protocol.messages.events import SessionEvent


class Position:
    """How far a subscription is, to go on from there on another connection.

    `target` is a session, an agent's name, or None for all sessions. In a session no record is missed and
    none comes twice: `since` is the seq of the last one that is not wanted, None for all that there are now.
    Of several sessions only what happens while a daemon is connected can be followed.
    """

    def __init__(self, target: Summary | str | None, since: int | None = None) -> None:
        self._target = target
        self._since = since
        self._seen = since

    @property
    def params(self) -> JsonObject:
        """The params of the next `subscribe`."""
        match self._target:
            case None:
                return {}
            case str(agent):
                return {"agent": agent}
            case session:
                since = {} if self._since is None else {"since_seq": self._since}
                return {"session_id": session.session_id, **since}

    def is_new(self, event: Event) -> bool:
        """Note how far we are. What was there before us and comes with a new beginning is not new."""
        if event["kind"] != "message" or not isinstance(self._target, Summary):
            return True
        record = event["message"]
        if self._seen is None and record["timestamp"] <= self._target.last_activity:
            return False
        self._seen = record["seq"]
        return True

    def lost(self) -> None:
        """The next `subscribe` asks for what was missed."""
        if isinstance(self._target, Summary):
            # Where nothing was seen yet: a session has at least as many records as messages.
            self._since = self._target.message_count if self._seen is None else self._seen


class Following:
    """The events of a session, of an agent's sessions or of all, as `Position` says."""

    def __init__(self, daemon: Daemon, target: Summary | str | None, since: int | None = None) -> None:
        self._daemon = daemon
        self._position = Position(target, since)

    def events(
        self, interval: Callable[[], float | None] = lambda: None
    ) -> Generator[Event | None, None, None]:
        """One after another, without end; None when none came for `interval()` seconds.

        After an ``overflow`` (we read too slowly) a reply under way comes from its beginning again.
        """
        connect: Callable[[], Any] = self._daemon.connect
        while True:
            overflow = False
            try:
                with self._daemon.client(connect) as client:
                    for event in client.events("subscribe", self._position.params, interval):
                        if event is None or self._position.is_new(event):
                            yield event
                        if overflow := event is not None and event["kind"] == "overflow":
                            break  # what was missed is asked for again
            except ConnectionLost:
                pass
            except DaemonError as error:
                if error.code != ShuttingDown.code:
                    raise
            if not overflow:
                self._daemon.await_next()
            connect = self._daemon.existing
            self._position.lost()


def typed(event: Event) -> SessionEvent | None:
    """The event as its class in `messages.events`; None for one of a kind that only a newer daemon knows."""
    from msgspec import ValidationError

    from port42_protocol.codec import decode_result
    from port42_protocol.messages.events import SessionEvent

    try:
        # mypy takes no union for a type.
        return decode_result(SessionEvent, event)  # type: ignore[arg-type]
    except ValidationError:
        return None

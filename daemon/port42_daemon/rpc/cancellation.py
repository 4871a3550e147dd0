"""`$/cancel`: requests under way, and what cancelling one of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from port42_daemon.events import Peer
from port42_protocol.errors import RequestCancelled
from port42_protocol.messages.daemon import CancelRequest, CancelResult


class Cancellation:
    """Whether the client of a request wants it to end.

    A handler that can end early takes one as `cancellation`: it looks at `requested` or has itself called.
    One that only reads takes none, and is cancelled wherever it waits (`wait`).
    """

    def __init__(self) -> None:
        self.requested = False
        self._acts: list[Callable[[], object]] = []

    def request(self) -> None:
        self.requested = True
        for act in list(self._acts):
            act()

    def when_requested(self, act: Callable[[], object]) -> Callable[[], None]:
        """Have `act` called once this is requested (now, if it was). Returns an unsubscribe callable."""
        if self.requested:
            act()
        self._acts.append(act)
        return lambda: self._acts.remove(act) if act in self._acts else None

    def check(self) -> None:
        """Raises `RequestCancelled` where this was requested."""
        if self.requested:
            raise RequestCancelled

    async def wait(self, pending: Awaitable[Any]) -> Any:
        """The result of `pending`, in which the current task is cancelled where this is requested.

        Raises `RequestCancelled`.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - tells mypy that this is awaited
        unsubscribe = self.when_requested(task.cancel)
        try:
            return await pending
        except asyncio.CancelledError:
            if not self.requested:
                raise  # the daemon has no time left
            task.uncancel()
            raise RequestCancelled from None
        finally:
            unsubscribe()


class RequestsUnderWay:
    """The requests that can be cancelled, by their connection and id. Handles `$/cancel`."""

    def __init__(self) -> None:
        self._cancellations: dict[tuple[Peer, Any], Cancellation] = {}

    def begin(self, peer: Peer, request_id: Any, cancellation: Cancellation) -> None:
        """Of two requests with one id the later one can be cancelled."""
        self._cancellations[peer, request_id] = cancellation

    def end(self, peer: Peer, request_id: Any, cancellation: Cancellation) -> None:
        if self._cancellations.get((peer, request_id)) is cancellation:
            del self._cancellations[peer, request_id]

    def cancel_request(self, request: CancelRequest, peer: Peer) -> CancelResult:
        cancellation = self._cancellations.get((peer, request.id))
        if cancellation is not None:
            cancellation.request()
        return CancelResult(cancellation is not None)

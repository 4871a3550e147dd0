"""An agent's permission requests, answered by the client that streams the turn."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from port42_daemon.backends.base import Permission
from port42_daemon.events import Stream
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.events import PermissionEvent

Tell = Callable[..., None]  # publishes an event of the turn, by its fields


class Permissions:
    """The open permission requests of one turn."""

    def __init__(self, streaming: Stream | None, tell: Tell) -> None:
        self._streaming = streaming
        self._tell = tell
        self._open: dict[str, tuple[frozenset[str], asyncio.Future[str | None]]] = {}

    async def ask(self, permission: Permission) -> str | None:
        """The id of the chosen option; None when it was rejected or no client can answer."""
        if self._streaming is None:
            return None
        permission_id = secrets.token_hex(8)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._open[permission_id] = (frozenset(option.id for option in permission.options), answer)
        take_back = self._streaming.peer.when_lost(lambda: _resolve(answer, None))
        try:
            self._tell(
                PermissionEvent,
                permission_id=permission_id,
                text=permission.title,
                options=permission.options,
            )
            return await answer
        finally:
            take_back()
            del self._open[permission_id]

    def answer(self, permission_id: str, option_id: str | None) -> bool:
        """Whether the request was still open. Raises `InvalidParams` for an unknown option."""
        options, answer = self._open.get(permission_id, (frozenset(), None))
        if answer is None or answer.done():
            return False
        if option_id is not None and option_id not in options:
            raise InvalidParams.expecting("option_id", "one of " + ", ".join(sorted(options)))
        _resolve(answer, option_id)
        return True


def _resolve(answer: asyncio.Future[str | None], chosen: str | None) -> None:
    if not answer.done():
        answer.set_result(chosen)

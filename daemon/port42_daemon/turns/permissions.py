"""An agent's permission requests, answered by the client that streams the turn."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial

from msgspec import UNSET

from port42_daemon.backends.base import Permission
from port42_daemon.backends.decoding import whole
from port42_daemon.events import Stream
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.events import PermissionEvent
from port42_protocol.messages.records import ToolRecord


class Permissions:
    """The open permission requests of one turn.

    `begin` records what comes before a request, and gives what the running call's record would be, by its id.
    `end` records the answer: the option's id and who chose.
    """

    def __init__(
        self,
        streaming: Stream | None,
        tell: Callable[..., None],
        begin: Callable[[str], ToolRecord | None],
        end: Callable[[Permission, str | None, str], None],
    ) -> None:
        self._streaming = streaming
        self._tell = tell
        self._begin = begin
        self._end = end
        self._open: dict[str, tuple[frozenset[str], asyncio.Future[tuple[str | None, str]]]] = {}

    async def ask(self, permission: Permission) -> str | None:
        """The id of the chosen option; None when it was rejected or no client can answer."""
        if self._streaming is None:
            self._end(permission, None, "nobody")
            return None
        permission_id = secrets.token_hex(8)
        answer: asyncio.Future[tuple[str | None, str]] = asyncio.get_running_loop().create_future()
        self._open[permission_id] = (frozenset(option.id for option in permission.options), answer)
        unsubscribe = self._streaming.peer.when_lost(partial(_resolve, answer, None, "nobody"))
        chosen, by = None, "cancel"
        tool_id = whole(permission.tool_id or "")
        call = self._begin(tool_id)
        try:
            self._tell(
                PermissionEvent,
                permission_id=permission_id,
                text=permission.title,
                options=permission.options,
                tool_id=tool_id or UNSET,
                tool_kind=permission.kind,
                input=UNSET if call is None else call.input,
                input_omitted=UNSET if call is None else call.input_omitted,
                locations=UNSET if call is None else call.locations,
            )
            chosen, by = await answer
        finally:
            unsubscribe()
            del self._open[permission_id]
            self._end(permission, chosen, by)
        return chosen

    def answer(self, permission_id: str, option_id: str | None, client: str) -> bool:
        """Whether the request was still open. Raises `InvalidParams` for an unknown option."""
        options, answer = self._open.get(permission_id, (frozenset(), None))
        if answer is None or answer.done():
            return False
        if option_id is not None and option_id not in options:
            raise InvalidParams.expecting("option_id", "one of " + ", ".join(sorted(options)))
        _resolve(answer, option_id, client)
        return True


def _resolve(answer: asyncio.Future[tuple[str | None, str]], chosen: str | None, by: str) -> None:
    if not answer.done():
        answer.set_result((chosen, by))

"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import msgspec

from port42_daemon.backends.base import Event, Started, Text, Thought, Turn, Usage
from port42_daemon.backends.http.api_key import Key
from port42_daemon.backends.http.messages import dialogue, system_of
from port42_daemon.backends.http.model_server import ModelServer
from port42_daemon.backends.http.stream import Reply
from port42_daemon.config import AnthropicBackend

_VERSION = "2023-06-01"
_MAX_TOKENS = 8192
"""What a reply may have when the configuration does not say: the API demands a limit, and the
smallest models that are served take no higher one."""

_AFTER_STOP_REASON, _AFTER_STOP = 2.0, 0.25
"""Seconds: ``message_stop`` comes after the stop reason; after it comes the end of the response."""


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: _Usage | None = None


class _Block(msgspec.Struct, frozen=True):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None


class _Delta(msgspec.Struct, frozen=True):
    """A block's next piece or, in ``message_delta``, what is now known of the message."""

    text: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None


class _StreamEvent(msgspec.Struct, frozen=True):
    """What of any event is looked at; `type` says which of it can be there."""

    type: str
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_StreamEvent)


class Anthropic(ModelServer):
    """Answers turns with a model of Anthropic, or of a server that speaks its protocol."""

    own_url = "https://api.anthropic.com"
    reply_path = "/v1/messages"
    models_path = "/v1/models"

    def __init__(self, config: AnthropicBackend, environ: Mapping[str, str] | None = None) -> None:
        # Half the world writes the version into the address, and half does not.
        base_url = config.base_url.rstrip("/").removesuffix("/v1")
        super().__init__(msgspec.structs.replace(config, base_url=base_url), environ)

    def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        body: dict[str, Any] = {
            "model": turn.model or self._config.model,
            "max_tokens": self._config.max_tokens or _MAX_TOKENS,
            "messages": dialogue(turn),
            "stream": True,
        }
        if system := system_of(turn):
            body["system"] = system
        return self._answer(body, _MessageStream(self._name))

    def _headers(self, key: Key | None) -> dict[str, str]:
        return {"anthropic-version": _VERSION} | ({"x-api-key": key.reveal()} if key else {})


class _MessageStream(Reply):
    """A reply in events."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self._over = False
        self._input = self._output = 0

    def take(self, data: str) -> Iterator[Event]:
        """The events in one of the server's."""
        if self._over:
            return
        event = _EVENT.decode(data)
        match event.type:
            case "message_start":
                message = event.message or _Message()
                yield Started(model=message.model or None)
                yield from self._used(message.usage)
            case "content_block_start":
                yield from self._begun(event.content_block or _Block())
            case "content_block_delta":
                yield from _pieces(event.delta or _Delta())
            case "message_delta":
                if event.delta is not None and event.delta.stop_reason is not None:
                    self.stop_reason, self.patience = event.delta.stop_reason, _AFTER_STOP_REASON
                yield from self._used(event.usage)
            case "message_stop":
                self._over, self.patience = True, _AFTER_STOP
            case "error":
                raise self._broke_off(event.error)
            # ping, content_block_stop, and whatever will be added: the API asks to ignore it.

    def _begun(self, block: _Block) -> Iterator[Event]:
        """The first of a block: of text, of thought, of a tool's call, or a tool's answer."""
        yield from _pieces(block)
        if block.id is not None and block.type.endswith("tool_use"):
            yield self._called(block.id, block.name or "tool")
        elif block.tool_use_id is not None:
            yield from self._returned(block.tool_use_id)

    def _used(self, usage: _Usage | None) -> Iterator[Event]:
        """Totals so far; the event at the end has only what changed."""
        if usage is None:
            return
        if usage.input_tokens is not None:
            cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
            self._input = usage.input_tokens + cached
        if usage.output_tokens is not None:
            self._output = usage.output_tokens
        yield Usage(self._input, self._output)


def _pieces(piece: _Block | _Delta) -> Iterator[Event]:
    if piece.thinking:
        yield Thought(piece.thinking)
    if piece.text:
        yield Text(piece.text)

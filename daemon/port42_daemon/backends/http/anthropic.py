"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from port42_daemon.backends.base import Event, Started, Text, Thought, Turn, Usage
from port42_daemon.backends.decoding import decode
from port42_daemon.backends.http.api_key import Key
from port42_daemon.backends.http.conversation import Reply, dialogue, system_of
from port42_daemon.backends.http.model_server import ModelServer
from port42_daemon.config import AnthropicBackend
from port42_protocol.encoding import encode

_VERSION = "2023-06-01"
_MAX_TOKENS = 8192
"""What a reply may have when the configuration does not say: the API demands a limit, and the
smallest models that are served take no higher one."""


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
    input: Any = None
    content: Any = None


class _Delta(msgspec.Struct, frozen=True):
    """A block's next piece or, in ``message_delta``, what is now known of the message."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _StreamEvent(msgspec.Struct, frozen=True):
    """The used fields of all events, which depend on `type`.

    ``message`` is a whole reply, of a server that does not stream.
    """

    type: str = ""
    message: _Message | str | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None
    detail: Any = None
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None


_EVENT = msgspec.json.Decoder(_StreamEvent)


class _MessageStream(Reply):
    """A reply in events, or in one piece."""

    def __init__(self, server: str, key: Key) -> None:
        super().__init__(server, key)
        self._input = self._output = 0
        self._call = ""

    def take(self, data: bytes) -> list[Event]:
        if self.over:
            return []
        event = decode(data, _EVENT)
        events: list[Event] = []
        match event.type:
            case "content_block_delta":
                delta = event.delta or _Delta()
                self._pieces(delta, events)
                self._add_arguments(self._call, delta.partial_json or "")
            case "content_block_start":
                self._start_block(event.content_block or _Block(), events)
            case "message_start":
                message = event.message if isinstance(event.message, _Message) else _Message()
                events.append(Started(model=message.model or None))
                self._count(message.usage, events)
            case "message_delta":
                if event.delta is not None and event.delta.stop_reason is not None:
                    self.stop_reason = event.delta.stop_reason
                self._count(event.usage, events)
            case "message_stop":
                self.over = True
            case "message":
                events.append(Started(model=event.model or None))
                for block in event.content or []:
                    self._start_block(block, events)
                self._count(event.usage, events)
                self.stop_reason, self.over = event.stop_reason, True
            case _:
                # ping, content_block_stop, and whatever will be added: the API asks to ignore it.
                self._check_error(event)
        return events

    def _check_error(self, event: _StreamEvent) -> None:
        if error := event.error or event.detail or (not event.type and event.message):
            raise self.broken_off(error)

    def _start_block(self, block: _Block, events: list[Event]) -> None:
        self._pieces(block, events)
        if block.id is not None and block.type.endswith("tool_use"):
            self._call = block.id
            events.append(self._tool_started(block.id, block.name or "tool"))
            if block.input:  # of a reply in one piece
                self._add_arguments(block.id, encode(block.input).decode())
        elif block.tool_use_id is not None:
            events += self._tool_done(block.tool_use_id, block.content)

    def _pieces(self, piece: _Block | _Delta, events: list[Event]) -> None:
        if piece.thinking:
            events.append(Thought(piece.thinking))
        if piece.text:
            self._has_text = True
            events.append(Text(piece.text))

    def _count(self, usage: _Usage | None, events: list[Event]) -> None:
        """Totals so far; the event at the end has only what changed."""
        if usage is None:
            return
        if usage.input_tokens is not None:
            cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
            self._input = usage.input_tokens + cached
        if usage.output_tokens is not None:
            self._output = usage.output_tokens
        events.append(Usage(self._input, self._output))


class Anthropic(ModelServer):
    """Answers turns with a model of Anthropic, or of a server that speaks its protocol."""

    own_url = "https://api.anthropic.com"
    reply_path = "/v1/messages"
    models_path = "/v1/models"
    models_query = "?limit=1000"  # the most of a page; without, 20
    reply = _MessageStream

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
        return self._answer(body)

    def _headers(self, key: Key) -> dict[str, str]:
        return {"anthropic-version": _VERSION} | ({"x-api-key": key.reveal()} if key else {})

"""Chat Completions, as OpenAI, Ollama, llama.cpp, vLLM, LM Studio and others serve them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from port42_daemon.backends.base import Event, Started, Text, Thought, Turn, Usage
from port42_daemon.backends.http.api_key import Key
from port42_daemon.backends.http.errors import Declined
from port42_daemon.backends.http.messages import dialogue, system_of
from port42_daemon.backends.http.model_server import ModelServer
from port42_daemon.backends.http.stream import Reply
from port42_daemon.config import OpenAIBackend

_AFTER_FINISH, _AFTER_DONE = 2.0, 0.25
"""Seconds: the usage comes after the last of the reply; after ``[DONE]`` comes the end of the response."""

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None


class _ToolCall(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """What of a chunk is looked at. Servers leave out, or send null for, any of it."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class OpenAI(ModelServer):
    """Answers turns with the model of an OpenAI-compatible server."""

    own_url = "https://api.openai.com"
    reply_path = "/chat/completions"
    models_path = "/models"

    def __init__(self, config: OpenAIBackend, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(config, environ)
        self._usage_asked = True
        # OpenAI's newer models refuse the old name, and most other servers know no other.
        self._limit_name = "max_completion_tokens" if self._own else "max_tokens"

    async def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        while True:
            body = self._body(turn)
            try:
                async with aclosing(self._answer(body, _Chunks(self._name))) as events:
                    async for event in events:
                        yield event
                return
            except Declined as declined:
                if not self._adapted(body, declined):
                    raise

    def _headers(self, key: Key | None) -> dict[str, str]:
        return {"authorization": f"Bearer {key.reveal()}"} if key else {}

    def _body(self, turn: Turn) -> dict[str, Any]:
        system = system_of(turn)
        first = [{"role": "system", "content": system}] if system else []
        body: dict[str, Any] = {
            "model": turn.model or self._config.model,
            "messages": first + dialogue(turn),
            "stream": True,
        }
        if self._usage_asked:
            body["stream_options"] = {"include_usage": True}
        if self._config.max_tokens is not None:
            body[self._limit_name] = self._config.max_tokens
        return body

    def _adapted(self, body: dict[str, Any], declined: Declined) -> bool:
        """Whether a field of `body` was refused that we can do without, or call differently, from now on."""
        if declined.status not in (400, 422):
            return False
        if "stream_options" in body and "stream_options" in declined.said:
            self._usage_asked = False
            return True
        if "max_tokens" in body and "max_completion_tokens" in declined.said:
            self._limit_name = "max_completion_tokens"
            return True
        return False


class _Chunks(Reply):
    """A reply in chunks."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self._started = self._over = False

    def take(self, data: str) -> Iterator[Event]:
        """The events in one chunk."""
        if self._over:
            return
        if data.strip() == "[DONE]":
            self._over, self.patience = True, _AFTER_DONE
            return
        chunk = _CHUNK.decode(data)
        if chunk.error is not None:
            raise self._broke_off(chunk.error)
        if not self._started:
            self._started = True
            yield Started(model=chunk.model or None)
        for choice in (chunk.choices or [])[:1]:
            yield from self._pieces(choice.delta or _Delta())
            if choice.finish_reason:
                self.stop_reason = _STOP_REASONS.get(choice.finish_reason, choice.finish_reason)
                self.patience = _AFTER_FINISH
        if chunk.usage is not None and chunk.usage.prompt_tokens is not None:
            yield Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens or 0)

    def _pieces(self, delta: _Delta) -> Iterator[Event]:
        if thought := delta.reasoning_content or delta.reasoning:
            yield Thought(thought)
        if text := delta.content or delta.refusal:
            yield Text(text)
        for call in delta.tool_calls or []:
            # The name comes with the first piece of a call, the arguments with the others.
            if call.function is not None and call.function.name:
                yield self._called(call.id or f"call-{call.index or 0}", call.function.name)

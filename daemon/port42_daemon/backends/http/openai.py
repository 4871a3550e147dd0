"""Chat Completions, as OpenAI, Ollama, llama.cpp, vLLM, LM Studio and others serve them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from port42_daemon.backends.base import Event, Started, Text, Thought, Turn, Usage
from port42_daemon.backends.decoding import decode
from port42_daemon.backends.http.api_key import Key
from port42_daemon.backends.http.conversation import Reply, dialogue, system_of
from port42_daemon.backends.http.errors import Failed
from port42_daemon.backends.http.model_server import ModelServer
from port42_daemon.config import OpenAIBackend

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: Any = None


class _ToolCall(msgspec.Struct, frozen=True):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    """A piece of a message, or all of it. Text is a string or, of Mistral's and others, a list of parts."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    message: _Delta | None = None
    """Of a server that does not stream."""
    finish_reason: str | None = None
    error: Any = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """The used fields of a chunk. Servers omit any of them, or send null."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    message: Any = None
    detail: Any = None
    """Errors of other servers: vLLM's ``{"object": "error", "message": …}``, FastAPI's ``detail``."""


_CHUNK = msgspec.json.Decoder(_Chunk)


class _Chunks(Reply):
    """A reply in chunks, or in one piece."""

    def __init__(self, server: str, key: Key) -> None:
        super().__init__(server, key)
        self._started = False
        self._call_ids: dict[int, str] = {}

    def take(self, data: bytes) -> list[Event]:
        if self.over:
            return []
        if data.strip() == b"[DONE]":
            self.over = True
            return []
        chunk = decode(data, _CHUNK)
        choice = chunk.choices[0] if chunk.choices else None
        error = chunk.error
        if error is None:
            error = (chunk.message or chunk.detail) if choice is None else choice.error
        if error is not None or (choice is not None and choice.finish_reason == "error"):
            raise self.broken_off(error)
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started(model=chunk.model or None))
        if choice is not None:
            if piece := choice.delta or choice.message:
                self._take_piece(piece, events)
            if choice.finish_reason:
                self.stop_reason = _STOP_REASONS.get(choice.finish_reason, choice.finish_reason)
        if chunk.usage is not None and chunk.usage.prompt_tokens is not None:
            events.append(Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens or 0))
        return events

    def _take_piece(self, piece: _Delta, events: list[Event]) -> None:
        thought, text = _text_of(piece.reasoning_content or piece.reasoning), piece.content or piece.refusal
        if isinstance(text, list):
            thought += "".join(_text_of(part["thinking"]) for part in text if _is_thinking(part))
            text = [part for part in text if not _is_thinking(part)]
        if not isinstance(text, str):
            text = _text_of(text)
        if thought:
            events.append(Thought(thought))
        if text:
            self._has_text = True
            events.append(Text(text))
        for call in piece.tool_calls or []:
            index, function = call.index or 0, call.function or _Function()
            # Id and name come with the first piece of a call.
            if function.name:
                self._call_ids[index] = call.id or f"call-{index}"
                events.append(self._tool_started(self._call_ids[index], function.name))
            if isinstance(function.arguments, str) and index in self._call_ids:
                self._add_arguments(self._call_ids[index], function.arguments)


def _is_thinking(part: Any) -> bool:
    return isinstance(part, dict) and "thinking" in part


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text_of(value.get("text") or value.get("refusal"))
    return "".join(map(_text_of, value)) if isinstance(value, list) else ""


class OpenAI(ModelServer):
    """Answers turns with the model of an OpenAI-compatible server."""

    own_url = "https://api.openai.com"
    reply_path = "/chat/completions"
    models_path = "/models"
    reply = _Chunks

    def __init__(self, config: OpenAIBackend, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(config, environ)
        self._usage_asked = True
        # OpenAI's newer models refuse the old name, and most other servers know no other.
        self._limit_name = "max_completion_tokens" if self._own else "max_tokens"

    async def _turn(self, turn: Turn) -> AsyncGenerator[Event, None]:
        while True:
            body = self._body(turn)
            try:
                async with aclosing(self._answer(body)) as events:
                    async for event in events:
                        yield event
                return
            except Failed as failed:
                if not self._adapted(body, failed):
                    raise

    def _headers(self, key: Key) -> dict[str, str]:
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

    def _adapted(self, body: dict[str, Any], failed: Failed) -> bool:
        """Whether a field of `body` was refused that we can do without, or call differently, from now on."""
        if failed.status not in (400, 422):
            return False
        if "stream_options" in body and "stream_options" in failed.words:
            self._usage_asked = False
            return True
        if "max_tokens" in body and "max_completion_tokens" in failed.words:
            self._limit_name = "max_completion_tokens"
            return True
        return False

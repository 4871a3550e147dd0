"""Chat Completions, as OpenAI, Ollama, llama.cpp, vLLM, LM Studio and others serve them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from port42_daemon.backends.dialogue import dialogue, system_of
from port42_daemon.backends.failures import Failed, kind_of_error, said_by
from port42_daemon.backends.http import ModelServer
from port42_daemon.backends.interface import (
    Ask,
    Done,
    Event,
    Failure,
    Health,
    Notice,
    Started,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.config import OpenAIBackend

_OWN_URL = "https://api.openai.com"

_AFTER_FINISH, _AFTER_DONE = 5.0, 0.25
"""Seconds: the usage comes after the last of the reply; after ``[DONE]`` comes the end of the response."""

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}
"""Into the words that the Agent Client Protocol and Anthropic use; others stay what they are."""


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


class OpenAI:
    """Answers turns with the model of an OpenAI-compatible server."""

    def __init__(self, config: OpenAIBackend, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        own = config.base_url.startswith(_OWN_URL)
        self._server = ModelServer(
            config,
            config.base_url,
            needs_key=own,
            authorise=lambda key: {"authorization": f"Bearer {key}"},
            environ=environ,
        )
        self._usage_asked = True
        # OpenAI's newer models refuse the old name, and most other servers know no other.
        self._limit_name = "max_completion_tokens" if own else "max_tokens"

    async def probe(self) -> Health:
        """Whether the key is there and, on this machine, the server."""
        return await self._server.probe("/models")

    async def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:  # noqa: ARG002 - no tool of ours runs
        """Answer `turn`."""
        for last in (False, False, True):
            reply = _Reply(self._server.name)
            try:
                async with aclosing(self._server.answer("/chat/completions", self._body(turn), reply)) as events:
                    async for event in events:
                        yield event
                return
            except Failed as failed:
                if last or not self._adapted(failed):
                    yield Done(failed.failure)
                    return

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._server.aclose()

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

    def _adapted(self, failed: Failed) -> bool:
        """Whether a refusal names a field that we can do without, or say differently, from now on."""
        if failed.status not in (400, 422):
            return False
        if self._usage_asked and "stream_options" in failed.said:
            self._usage_asked = False
            return True
        if self._limit_name == "max_tokens" and "max_completion_tokens" in failed.said:
            self._limit_name = "max_completion_tokens"
            return True
        return False


class _Reply:
    """One reply, chunk by chunk."""

    def __init__(self, server: str) -> None:
        self.patience: float | None = None
        self._server = server
        self._started = self._over = False
        self._stop_reason: str | None = None
        self._tools: dict[str, str] = {}

    def take(self, data: str) -> Iterator[Event]:
        """The events in one chunk. Raises `Failed`, `msgspec.DecodeError`."""
        if self._over:
            return
        if data.strip() == "[DONE]":
            self._over, self.patience = True, _AFTER_DONE
            return
        chunk = _CHUNK.decode(data)
        if chunk.error is not None:
            said = said_by(chunk.error)
            message = f"{self._server} broke off" + (f": {said}" if said else "")
            raise Failed(kind_of_error(chunk.error), message)
        if not self._started:
            self._started = True
            yield Started(model=chunk.model or None)
        for choice in (chunk.choices or [])[:1]:
            yield from self._take_choice(choice)
        usage = chunk.usage
        if usage is not None and usage.prompt_tokens is not None:
            yield Usage(usage.prompt_tokens, usage.completion_tokens or 0)

    def end(self) -> Iterator[Event]:
        """The end of the reply. Raises `Failed` if neither a finish_reason nor [DONE] came."""
        if self.patience is None:
            raise Failed("network", f"{self._server} was lost in the middle of its reply")
        # A call that the server waits for us to make is never made: we offered it no tool.
        state = "failed" if self._stop_reason == "tool_use" else "done"
        for ident, title in self._tools.items():
            yield Tool(ident, title, state)
        ...

"""Chat Completions as our own servers stream them, and the contract suite's cases for `openai`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from peers.model_server import Behaviour, ModelServer, refuses, says, slowly

from port42_daemon.config import OpenAIBackend

MODEL = "test-model"


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One chunk; `more` goes into its choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": None} | more
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """The chunk that OpenAI sends after the last of the reply."""
    counted = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": MODEL,
        "choices": [],
        "usage": counted,
    }


def text(*pieces: str) -> list[Any]:
    """A whole reply, as OpenAI streams it."""
    first = chunk({"role": "assistant", "content": ""})
    last = chunk(finish_reason="stop")
    return [first, *(chunk({"content": piece}) for piece in pieces), last, usage(7, len(pieces)), "[DONE]"]


def config(server: ModelServer, **more: Any) -> OpenAIBackend:
    """A back end of that server."""
    return OpenAIBackend(**{"model": MODEL, "base_url": f"{server.url}/v1"} | more)


@contextlib.contextmanager
def _of(behaviour: Behaviour, **more: Any) -> Iterator[OpenAIBackend]:
    with ModelServer(behaviour) as server:
        yield config(server, **more)


@contextlib.contextmanager
def _missing() -> Iterator[OpenAIBackend]:
    # Bound, but it does not listen: nobody else can get the port, and nobody answers there.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield OpenAIBackend(model=MODEL, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1", retries=0)


TOOLS = [
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "search", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"query": "rye"}'}}]}),
    *text("10 kilos"),
]


CASES: dict[str, Callable[[], AbstractContextManager[OpenAIBackend]]] = {
    "answers": lambda: _of(says(text("well, ", "hello", " there"))),
    "slow": lambda: _of(slowly([chunk({"role": "assistant"})], chunk({"content": "tick "}))),
    "fails": lambda: _of(refuses(400, {"error": {"message": "this model takes no such thing"}})),
    "uses tools": lambda: _of(says(TOOLS)),
    "missing": _missing,
}

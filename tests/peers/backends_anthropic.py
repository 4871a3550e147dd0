"""Messages as our own servers stream them, and the contract suite's cases for `anthropic`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from peers.model_server import Behaviour, ModelServer, refuses, says, slowly

from port42_daemon.config import AnthropicBackend

MODEL = "test-model"


def start(input_tokens: int = 7, **more: int) -> list[dict[str, Any]]:
    """What begins a reply."""
    counted = {"input_tokens": input_tokens, "output_tokens": 1} | more
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    return [{"type": "message_start", "message": message | {"usage": counted}}, {"type": "ping"}]


def block(index: int, kind: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """A block of content, from its start to its stop."""
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    begin = {"type": "content_block_start", "index": index, "content_block": kind}
    return [begin, *pieces, {"type": "content_block_stop", "index": index}]


def piece(text: str) -> dict[str, Any]:
    """A piece of text in the first block."""
    delta = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def stop(reason: str = "end_turn", output_tokens: int = 9) -> list[dict[str, Any]]:
    """What ends a reply."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": output_tokens}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def text(*pieces: str, reason: str = "end_turn") -> list[dict[str, Any]]:
    """A whole reply."""
    deltas = [{"type": "text_delta", "text": piece_of_text} for piece_of_text in pieces]
    return [*start(), *block(0, {"type": "text", "text": ""}, *deltas), *stop(reason)]


def config(server: ModelServer, **more: Any) -> AnthropicBackend:
    """A back end of that server."""
    return AnthropicBackend(**{"model": MODEL, "base_url": server.url} | more)


@contextlib.contextmanager
def _of(behaviour: Behaviour, **more: Any) -> Iterator[AnthropicBackend]:
    with ModelServer(behaviour) as server:
        yield config(server, **more)


@contextlib.contextmanager
def _missing() -> Iterator[AnthropicBackend]:
    # Bound, but it does not listen: nobody else can get the port, and nobody answers there.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield AnthropicBackend(model=MODEL, base_url=f"http://127.0.0.1:{silent.getsockname()[1]}", retries=0)


TOOLS = [
    *start(),
    *block(
        0,
        {"type": "server_tool_use", "id": "t", "name": "search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query": "rye"}'},
    ),
    *block(
        1, {"type": "search_tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "10"}]}
    ),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "10 kilos"}),
    *stop(),
]


CASES: dict[str, Callable[[], AbstractContextManager[AnthropicBackend]]] = {
    "answers": lambda: _of(says(text("well, ", "hello", " there"))),
    "slow": lambda: _of(slowly(start(), piece("tick "))),
    "fails": lambda: _of(
        refuses(400, {"type": "error", "error": {"message": "this model takes no such thing"}})
    ),
    "uses tools": lambda: _of(says(TOOLS)),
    "missing": _missing,
}

"""The official SDK's client, which starts `port42 mcp` as an agent's program does, and talks to it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

R = TypeVar("R")

COMMAND = str(Path(sys.executable).with_name("port42"))
_WITHIN = 90


def using(work: Callable[[Client], Awaitable[R]], *args: str, **env: str) -> R:
    """What `work` gives with a client of ``port42 mcp ARGS``."""

    async def main() -> R:
        async with asyncio.timeout(_WITHIN), server(*args, **env) as client:
            return await work(client)

    return asyncio.run(main())


@asynccontextmanager
async def server(*args: str, **env: str):
    params = StdioServerParameters(command=COMMAND, args=["mcp", *args], env=dict(os.environ) | env)
    async with Client(stdio_client(params)) as client:
        yield client


def called(tool: str, *args: str, **arguments: Any) -> tuple[bool, str]:
    """Whether the call of `tool` is an error, and its text, from a server that is started for it."""

    async def call(client: Client) -> tuple[bool, str]:
        return outcome(await client.call_tool(tool, arguments))

    return using(call, *args)


def outcome(result: Any) -> tuple[bool, str]:
    (block,) = result.content
    assert block.type == "text"
    assert result.structured_content is None
    return result.is_error, block.text

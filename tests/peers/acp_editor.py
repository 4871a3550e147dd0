"""An editor made of the client in ACP's own Python SDK, which checks what an agent sends. Run by its Python.

Its arguments are the agent's command. Each line on stdin is a call of the SDK, ``{"id": 1, "method":
"new_session", "params": {"cwd": "/"}}``, or the answer to a permission request, ``{"choose": "option"}``,
null for none. Each line on stdout is a call's result or error, an update, or a permission request.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, connect_to_agent, schema
from acp.transports import spawn_stdio_transport

BLOCKS = {
    "text": schema.TextContentBlock,
    "image": schema.ImageContentBlock,
    "resource_link": schema.ResourceContentBlock,
    "resource": schema.EmbeddedResourceContentBlock,
}


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def plain(model: Any) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


class Editor:
    """The client's side: what the agent sends is printed."""

    def __init__(self) -> None:
        self.choices: asyncio.Queue[str | None] = asyncio.Queue()

    def on_connect(self, conn: Any) -> None: ...

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        say(session=session_id, update=plain(update))

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **_: Any) -> Any:
        say(session=session_id, permission=plain(tool_call), options=[plain(option) for option in options])
        chosen = await self.choices.get()
        if chosen is None:
            outcome: Any = schema.DeniedOutcome(outcome="cancelled")
        else:
            outcome = schema.AllowedOutcome(outcome="selected", option_id=chosen)
        return schema.RequestPermissionResponse(outcome=outcome)


async def call(agent: Any, message: dict[str, Any]) -> None:
    params = dict(message.get("params", {}))
    if message["method"] == "initialize":
        params.setdefault("protocol_version", PROTOCOL_VERSION)
    if "prompt" in params:
        params["prompt"] = [BLOCKS[block["type"]].model_validate(block) for block in params["prompt"]]
    try:
        result = await getattr(agent, message["method"])(**params)
    except RequestError as error:
        say(id=message["id"], error={"code": error.code, "message": str(error), "data": error.data})
    else:
        say(id=message["id"], result=plain(result))


async def main() -> None:
    command, *arguments = sys.argv[1:]
    editor = Editor()
    lines = asyncio.StreamReader(limit=16 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    calls = set()
    options: dict[str, Any] = {"env": os.environ, "stderr": None, "limit": 16 * 1024 * 1024}
    async with spawn_stdio_transport(command, *arguments, **options) as (reader, writer, _):
        agent = connect_to_agent(editor, writer, reader)
        while line := await lines.readline():
            message = json.loads(line)
            if "choose" in message:
                editor.choices.put_nowait(message["choose"])
            else:
                calls.add(asyncio.create_task(call(agent, message)))


asyncio.run(main())

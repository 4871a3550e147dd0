"""The params of ACP's requests, as far as they are used here. What else an editor sends is ignored."""

from __future__ import annotations

import re
from typing import TypeVar

from msgspec import Struct, ValidationError, convert, field

from port42_client.wire import JsonObject
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.turns import McpServer
from port42_protocol.messages.types import Cursor, Folder, SessionId

T = TypeVar("T")

_EXPECTED = {
    "protocolVersion": "a whole number",
    "cwd": "an absolute path of at most 4096 characters",
    "sessionId": "the id of a session: a letter or digit, then up to 63 letters, digits, '_' or '-'",
    "cursor": "a nextCursor from an earlier session/list",
    "mcpServers": "a list of MCP servers, each with a name, and a command or a type and a url",
    "prompt": "a list of content blocks",
    "data": "text",
    "mimeType": "text",
    "type": "one of text, image, audio, resource_link, resource",
    "text": "text",
    "uri": "text",
    "configId": "text",
    "value": "text",
    "modeId": "text",
}
_AT = re.compile(r" - at `\$\.?([^`]*)`$")


class Initialize(Struct, frozen=True, rename="camel"):
    """The version of the protocol that the editor would speak."""

    protocol_version: int


class NewSession(Struct, frozen=True, rename="camel"):
    """A session in the editor's folder."""

    cwd: Folder
    mcp_servers: list[McpServer] = []


class LoadSession(Struct, frozen=True, rename="camel"):
    """An earlier session, also for ``session/resume``."""

    session_id: SessionId
    cwd: Folder
    mcp_servers: list[McpServer] = []


class ListSessions(Struct, frozen=True, rename="camel"):
    """A page of sessions, of one folder or of all."""

    cwd: Folder | None = None
    cursor: Cursor | None = None


class OpenSession(Struct, frozen=True, rename="camel"):
    """A session that is open, to be closed or cancelled."""

    session_id: SessionId


class SetConfigOption(Struct, frozen=True, rename="camel"):
    """The value that an option is to have from now on."""

    session_id: SessionId
    config_id: str
    value: str


class SetMode(Struct, frozen=True, rename="camel"):
    """The mode that a session is to have from now on."""

    session_id: SessionId
    mode_id: str


class Text(Struct, frozen=True, tag="text"):
    """Text."""

    text: str


class Image(Struct, frozen=True, tag="image"):
    """An image as base64, and where it is, if it is a file."""

    data: str = ""
    mime_type: str = field(default="", name="mimeType")
    uri: str | None = None


class Audio(Struct, frozen=True, tag="audio"):
    """A sound, which no session can have."""


class Link(Struct, frozen=True, tag="resource_link"):
    """A resource that the agent may read by itself."""

    uri: str
    name: str = ""


class Contents(Struct, frozen=True, rename="camel"):
    """The content of a resource: `text`, or bytes as base64, `blob`."""

    uri: str
    text: str | None = None
    blob: str | None = None


class Resource(Struct, frozen=True, tag="resource"):
    """A resource with its content."""

    resource: Contents


Block = Text | Image | Audio | Link | Resource


class Prompt(Struct, frozen=True, rename="camel"):
    """What the person asks."""

    session_id: SessionId
    prompt: list[Block]


def read(kind: type[T], params: JsonObject) -> T:
    """`params` as a `kind`. Raises `InvalidParams`, which names the field."""
    try:
        return convert(params, kind)
    except ValidationError as error:
        text = str(error)
        if match := re.match(r"Object missing required field `(\w+)`", text):
            at = _AT.search(text)
            name = f"{at[1]}.{match[1]}" if at else match[1]
            raise InvalidParams.missing(name, _expected(match[1])) from None
        at = _AT.search(text)
        name = at[1] if at else "params"
        raise InvalidParams.expecting(name, _expected(name)) from None


def _expected(name: str) -> str:
    """What the last part of a field's name stands for."""
    last = re.split(r"[.\[]", name)[-1]
    return _EXPECTED.get(last, "what the Agent Client Protocol says")

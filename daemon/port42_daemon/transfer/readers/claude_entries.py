"""The lines of Claude Code's transcripts: the fields that are used.

They have types where that makes reading faster: what has no type here is passed over without being decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.line_reader import fitting

Tokens = Annotated[int, Meta(ge=0, lt=2**53)]


class Usage(Struct, gc=False):
    """The tokens of a model's message."""

    input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class Block(Struct, gc=False):
    """A part of a message's content."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: Any = None
    is_error: Any = None


class Message(Struct, frozen=True, gc=False):
    """What the user or the model said."""

    content: str | list[Block] | None = None
    id: str | None = None
    model: str | None = None
    usage: Usage | None = None


class Entry(Struct, rename="camel", gc=False):
    """The fields of a line that are used."""

    type: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    forked_from: Any = None
    timestamp: Any = None
    cwd: Any = None
    message: Message = Message()
    is_sidechain: Any = None
    is_meta: Any = None
    is_compact_summary: Any = None
    is_api_error_message: Any = None
    error: Any = None
    origin: Any = None
    operation: Any = None
    content: Any = None
    attachment: Any = None
    summary: Any = None
    leaf_uuid: Any = None
    custom_title: Any = None
    ai_title: Any = None
    tool_use_result: Raw = Raw(b"null")


def usual(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without values that are of other types than the fields here."""
    message = values.mapping(entry.get("message"))
    content, usage = message.get("content"), values.mapping(message.get("usage"))
    if isinstance(content, list):
        content = [fitting(block, Block) for block in content if isinstance(block, dict)]
    fitted = fitting({**message, "content": content, "usage": fitting(usage, Usage) or None}, Message)
    return fitting({**entry, "message": fitted}, Entry)


def text_of(
    content: str | list[Block] | None, clean: Callable[[str], str] = str, *, pictures: bool = False
) -> str:
    """As `values.text_of`."""
    if isinstance(content, str):
        return clean(content)
    return values.joined([(block.type, block.text) for block in content or ()], clean, pictures=pictures)

"""The lines of Claude Code's transcripts: the fields that are used.

They have types where that makes reading faster: what has no type here is passed over without being decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.line_reader import fitting

_ERRORS = {
    "rate_limit": "rate_limit",
    "rate_limit_error": "rate_limit",
    "overloaded": "rate_limit",
    "overloaded_error": "rate_limit",
    "authentication_failed": "needs_auth",
    "authentication_error": "needs_auth",
    "invalid_request": "refused",
    "invalid_request_error": "refused",
}

_PROGRAMS = frozenset(
    {"task-notification", "peer", "coordinator", "observer", "observer-activity", "auto-continuation"}
)
"""Kinds of origins (`SDKMessageOrigin` of @anthropic-ai/claude-agent-sdk 0.3.318) that are no person. Its
others are ``human``, ``channel`` and ``unclassified``."""

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

    model: str | None = None
    id: str | None = None
    content: str | list[Block] | None = None
    usage: Usage | None = None


class Entry(Struct, rename="camel", gc=False):
    """The fields of a line that are used, about in the order that they have there: that is found faster."""

    parent_uuid: str | UnsetType | None = UNSET
    is_sidechain: Any = None
    cwd: Any = None
    session_id: str | None = None
    agent_id: str | None = None
    type: str | None = None
    message: Message = Message()
    is_meta: Any = None
    uuid: str | None = None
    timestamp: Any = None
    tool_use_result: Raw = Raw(b"null")
    is_compact_summary: Any = None
    is_api_error_message: Any = None
    error: Any = None
    api_error_type: Any = None
    forked_from: Any = None
    request_session_id: Any = None
    origin: Any = None
    operation: Any = None
    reason: Any = None
    content: Any = None
    attachment: Any = None
    summary: Any = None
    leaf_uuid: Any = None
    custom_title: Any = None
    ai_title: Any = None


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


def failure_of(entry: Entry) -> str:
    """The kind of an error of the API; newer versions have only the API's own word for some."""
    names = (values.short(entry.error), values.short(entry.api_error_type))
    return next((_ERRORS[name] for name in names if name in _ERRORS), "crashed")


def original_of(entry: Entry) -> str | None:
    """The session that the entry was copied from.

    `/branch` writes it into each copy, `--fork-session` only into replies: the session that asked.
    """
    if isinstance(entry.forked_from, dict):
        return values.short(entry.forked_from.get("sessionId"), 256)
    requester = values.short(entry.request_session_id, 256)
    return requester if requester != entry.session_id and entry.is_sidechain is not True else None


def is_late(entry: Entry) -> bool:
    return entry.type == "assistant" and bool(entry.parent_uuid) and entry.is_sidechain is not True


def decoded(details: Raw) -> Any:
    try:
        return msgspec.json.decode(details)
    except (msgspec.DecodeError, RecursionError):
        return None


def is_human(origin: Mapping[str, Any]) -> bool:
    """False for what a program or another agent is known to have sent, if the version marks that.

    What comes through a channel, such as a messenger, may be the person's; so may what is of a kind that is
    not known, and the prompt of a task that the person scheduled.
    """
    is_program = values.short(origin.get("kind")) in _PROGRAMS
    return not is_program or origin.get("subkind") == "scheduled-trigger"

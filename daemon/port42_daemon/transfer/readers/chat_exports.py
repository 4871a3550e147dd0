"""What ChatGPT and claude.ai give as a person's data: ``conversations.json``, also in the zip they send.

Both are an array of conversations, or a single one. Their formats are known here from descriptions and from
readers of others only: no file that the services themselves made was at hand.
"""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped
from port42_daemon.transfer.readers.files import (
    BLOCK,
    BOM,
    FILE_BYTES,
    LINE_BYTES,
    chunks,
    json_value,
    opened,
)
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_protocol.messages.records import Reference

_BRANCHES = 50
"""Maximum number of a conversation's branches that are read."""
_ATTACHMENTS, _ATTACHMENT = 20, 262_144
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
_PROGRAM = frozenset({"user_editable_context", "model_editable_context", "reasoning_recap"})


def conversations(path: Path) -> Iterator[tuple[str, str]]:
    """Where in the file each conversation is, for `read`, or the reason why it cannot be read.

    Tools for browsers keep one conversation in a file.
    """
    with opened(path) as file:
        if file.read(BLOCK).removeprefix(BOM).lstrip()[:1] == b"{":
            size = file.seek(0, os.SEEK_END)
            yield f"0-{size}", "" if size <= LINE_BYTES else "it is longer than 16 MiB"
            return
    document = JsonDocument(chunks(path), LINE_BYTES)
    for item in document.items():
        yield "{}-{}".format(*document.span), "" if item is not None else "it is longer than 16 MiB"


def unpacked(path: Path) -> list[IO[bytes]]:
    """The conversations in a zip, as temporary files that last as long as these. Raises `Skipped`."""
    copies: list[IO[bytes]] = []
    try:
        with opened(path) as file, ExitStack() as failed, zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = member.filename.rpartition("/")[2]
                if not name.startswith("conversations") or not name.endswith(".json"):
                    continue
                if member.file_size + sum(copy.tell() for copy in copies) > FILE_BYTES:
                    raise Skipped(f"it has more than {FILE_BYTES:,} bytes")
                copy = NamedTemporaryFile(suffix=".json")  # noqa: SIM115  # it is the caller's
                copies.append(failed.enter_context(copy))
                with archive.open(member) as packed:
                    # The size that a zip states may be wrong, but no more than it is read.
                    shutil.copyfileobj(packed, copy)
                copy.flush()
            failed.pop_all()
    except _BAD_ZIP as error:
        raise Skipped(f"it is not a zip that can be read: {str(error)[:120]}") from None
    return copies


def read(path: Path, span: str, limits: SessionsConfig) -> list[ParsedSession]:
    """One conversation: its current branch, then the others, which begin like it. Raises `Skipped`."""
    begin, _, end = span.partition("-")
    with opened(path) as file:
        file.seek(int(begin))
        value = values.mapping(json_value(file.read(int(end) - int(begin))))
    if isinstance(value.get("mapping"), dict):
        return _read_chatgpt(value, limits)
    if isinstance(value.get("chat_messages"), list):
        return _read_claude(value, limits)
    raise Skipped("it is not a conversation")


def _read_chatgpt(value: Mapping[str, Any], limits: SessionsConfig) -> list[ParsedSession]:
    nodes = value["mapping"]
    parents = set(filter(_is_text, (values.mapping(node).get("parent") for node in nodes.values())))
    leaves = [key for key in nodes if key not in parents]
    current = value.get("current_node")
    if not isinstance(current, str) or current not in nodes:
        current = leaves[-1] if leaves else ""
    sessions: list[ParsedSession] = []
    for leaf in [current, *[leaf for leaf in leaves if leaf != current]][:_BRANCHES]:
        source_id = values.short(value.get("conversation_id") or value.get("id"), 128)
        if source_id is None:
            raise Skipped("it has no id")
        if leaf != current:
            source_id = f"{source_id}/{leaf[:100]}"
        document = Document("chatgpt", source_id, limits)
        document.info.add_title(values.one_line(value.get("title")))
        document.info.created_at = values.timestamp_of(value.get("create_time"))
        document.info.model = values.short(value.get("default_model_slug"))
        call = ""
        for message in _branch(nodes, leaf):
            call = _add_chatgpt(document, message, call)
        document.interrupt("", None)
        if sessions and not document.info.first_mark:
            continue
        [session] = document.finished()
        if not sessions or not set(session.marks).issubset(sessions[0].marks):
            sessions.append(session)
    return sessions


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _branch(nodes: Mapping[str, Any], leaf: str) -> list[Mapping[str, Any]]:
    """The messages up to `leaf`, oldest first. A damaged file may have a circle."""
    messages: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    key: object = leaf
    while isinstance(key, str) and key in nodes and key not in seen:
        seen.add(key)
        node = values.mapping(nodes[key])
        if message := values.mapping(node.get("message")):
            messages.append(message)
        key = node.get("parent")
    return messages[::-1]


def _add_chatgpt(document: Document, message: Mapping[str, Any], call: str) -> str:
    """Add a message; `call` is the tool call that runs, if any, and so is the result."""
    content, metadata = values.mapping(message.get("content")), values.mapping(message.get("metadata"))
    role, kind = values.mapping(message.get("author")).get("role"), values.short(content.get("content_type"))
    when, mark = values.timestamp_of(message.get("create_time")), values.short(message.get("id"), 128) or ""
    document.info.model = values.short(metadata.get("model_slug")) or document.info.model
    text = _text(content)
    if kind in _PROGRAM or metadata.get("is_visually_hidden_from_conversation") is True:
        return call
    if role == "user":
        files = metadata.get("attachments")
        attached = map(values.mapping, (files if isinstance(files, list) else [])[:_ATTACHMENTS])
        names = "\n".join(f"[{values.one_line(file.get('name')) or 'file'}]" for file in attached)
        document.prompt("", text or names, when, mark, mark)
        return ""
    if role == "tool":
        name = values.short(values.mapping(message.get("author")).get("name"))
        if not call:
            document.call("", call := mark or "unknown", name, None, when)
        document.result("", call, text, when)
        return ""
    if role != "assistant":
        return call
    recipient = values.short(message.get("recipient")) or "all"
    if kind == "thoughts":
        document.thought("", text, when)
    elif recipient != "all":
        document.call("", call := mark or "unknown", recipient, text, when)
    else:
        document.message("", "assistant", text, when, mark, mark)
    return call


def _text(content: Mapping[str, Any]) -> str:
    texts: list[str] = []
    has_sound = False
    parts, thoughts = content.get("parts"), content.get("thoughts")
    for part in parts if isinstance(parts, list) else [content.get("text") or content.get("result")]:
        inner = values.mapping(part)
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(inner.get("text"), str):
            texts.append(inner["text"])
        elif kind := values.short(inner.get("content_type"), 40):
            has_sound = has_sound or "audio" in kind
            if "audio" not in kind:
                texts.append(f"[{'image' if 'image' in kind else kind}]")
    for thought in map(values.mapping, thoughts if isinstance(thoughts, list) else ()):
        texts += [part for part in (thought.get("summary"), thought.get("content")) if isinstance(part, str)]
    text = "\n\n".join(text for text in texts if text.strip())
    # What was spoken stands beside its sound.
    return text or ("[audio]" if has_sound else "")


def _read_claude(value: Mapping[str, Any], limits: SessionsConfig) -> list[ParsedSession]:
    source_id = values.short(value.get("uuid"), 128)
    if source_id is None:
        raise Skipped("it has no id")
    document = Document("claude-ai", source_id, limits)
    document.info.add_title(values.one_line(value.get("name")))
    document.info.created_at = values.timestamp_of(value.get("created_at"))
    document.info.model = values.short(value.get("model"))
    for number, message in enumerate(map(values.mapping, value["chat_messages"]), 1):
        when, mark = values.timestamp_of(message.get("created_at")), values.short(message.get("uuid")) or ""
        content, location = message.get("content"), f"message {number}"
        blocks = [
            block for block in map(values.mapping, content if isinstance(content, list) else ()) if block
        ]
        if message.get("sender") == "human":
            references = tuple(_attachments(message))
            text = values.text_of(blocks) or values.text_of(message.get("text"))
            text = text or "\n".join(f"[{reference.target}]" for reference in references)
            fields = {"references": references} if references else {}
            document.prompt("", text, when, location, mark, **fields)
        elif message.get("sender") == "assistant":
            _add_claude(document, blocks or [{"type": "text", "text": message.get("text")}], when, mark)
        else:
            document.problem(location, "it has no sender that is known")
    document.interrupt("", None)
    return document.finished()


def _add_claude(document: Document, blocks: Iterable[Mapping[str, Any]], when: str | None, mark: str) -> None:
    for number, block in enumerate(blocks):
        call_id = values.short(block.get("tool_use_id") or block.get("id"), 256) or f"{mark} {number}"
        match block:
            case {"type": "text", "text": str(text)}:
                document.message("", "assistant", text, when, mark, mark)
            case {"type": "thinking", "thinking": str(text)}:
                document.thought("", text, when)
            case {"type": "tool_use"}:
                document.call("", call_id, values.short(block.get("name")), block.get("input"), when)
            case {"type": "tool_result"}:
                running = document.info.calls
                if call_id not in running and running:  # older exports do not say whose result it is
                    call_id = next(iter(running))
                failed = block.get("is_error") is True
                document.result("", call_id, block.get("content"), when, failed=failed)


def _attachments(message: Mapping[str, Any]) -> Iterator[Reference]:
    for field in ("attachments", "files"):
        files = message.get(field)
        for file in map(values.mapping, (files if isinstance(files, list) else [])[:_ATTACHMENTS]):
            text = file.get("extracted_content")
            kept = text if isinstance(text, str) and 0 < len(text) <= _ATTACHMENT else None
            yield Reference("text", values.one_line(file.get("file_name")) or "file", kept)

"""A prompt's content blocks as a message with references. A daemon that is here reads the text of files."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from port42_acp import images
from port42_acp.messages import Audio, Block, Contents, Image, Link, Resource, Text
from port42_client.wire import JsonObject
from port42_protocol.errors import InvalidParams

MOST = 16
"""References that a message may have."""

FILE_BYTES = 256 * 1024
"""Bytes that a referenced file may have."""

TEXT_CHARS = 262_144
"""Characters that the text of a resource may have."""

_TARGET_CHARS = 4096
_NOT_SUPPORTED = "text, an image, a resource_link or a resource with text: promptCapabilities says so"


def read(blocks: Sequence[Block], *, elsewhere: bool = False) -> tuple[str, list[JsonObject]]:
    """The message and its references. Blocks, also of many MiB, are read in the calling thread.

    A link stands in the message by its path or address; what it leads to is attached where it is a text file
    that is not too long, else an agent with tools can open it, as it can an image, which is kept as a file.
    `elsewhere`: the daemon is on another machine, which has no file of this one. Raises `InvalidParams`,
    `Refused`.
    """
    words: list[str] = []
    references: list[JsonObject] = []
    for index, block in enumerate(blocks):
        field = f"prompt[{index}]"
        match block:
            case Text(text):
                words.append(text)
            case Link(uri):
                _link(uri, words, references, elsewhere=elsewhere)
            case Resource(contents):
                _resource(field, contents, words, references, elsewhere=elsewhere)
            case Image() if elsewhere:
                raise InvalidParams.expecting(field, "no image: the agent is elsewhere")
            case Image(data, mime_type, uri):
                path = _path(uri or "")[0]
                # What an editor has open may not be saved.
                words.append(images.kept(field, data, mime_type) if data or path is None else path)
            case Audio():
                raise InvalidParams.expecting(field, _NOT_SUPPORTED, got="audio")
    message = "".join(words)
    if not message.strip():
        if not references:
            raise InvalidParams.expecting("prompt", "text that is not blank")
        message = ", ".join(str(reference["target"]) for reference in references)
    return message, references


def _link(uri: str, words: list[str], references: list[JsonObject], *, elsewhere: bool) -> None:
    path, fragment = _path(uri)
    if path is None:
        words.append(uri)
        if uri.startswith(("http://", "https://")) and len(uri) <= _TARGET_CHARS and len(references) < MOST:
            references.append({"type": "url", "target": uri})
        return
    words.append(f"{path}#{fragment}" if fragment else path)
    if any(reference["target"] == path for reference in references):
        return
    if len(references) < MOST and (text := _short_text(path)) is not None:
        if elsewhere:
            references.append({"type": "text", "target": path, "content": text})
        else:
            references.append({"type": "file", "target": path})


def _resource(
    field: str, contents: Contents, words: list[str], references: list[JsonObject], *, elsewhere: bool
) -> None:
    if contents.text is None:
        if _path(contents.uri)[0] is None:
            raise InvalidParams.expecting(field, _NOT_SUPPORTED, got="a resource of bytes")
        _link(contents.uri, words, references, elsewhere=elsewhere)
        return
    if len(contents.text) > TEXT_CHARS:
        expected = f"text of at most {TEXT_CHARS:,} characters"
        raise InvalidParams.expecting(f"{field}.resource.text", expected, got=f"{len(contents.text):,}")
    if len(references) >= MOST:
        raise InvalidParams.expecting(field, f"at most {MOST} resources in a prompt")
    target = (_path(contents.uri)[0] or contents.uri)[:_TARGET_CHARS] or "resource"
    words.append(target)
    references.append({"type": "text", "target": target, "content": contents.text})


def _path(uri: str) -> tuple[str | None, str]:
    """The path of a file's URI, or None, and the fragment, such as lines."""
    if uri.startswith("/"):
        return uri, ""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None, ""
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        return None, ""
    if len(path) > _TARGET_CHARS or not path.isprintable():
        return None, ""
    return str(PurePosixPath(path)), parts.fragment


def _short_text(path: str) -> str | None:
    """The text of a file that the daemon can attach: it refuses the message where it cannot."""
    try:
        # Not blocking: a FIFO without a writer would hold the thread for good. No terminal becomes ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(FILE_BYTES + 1)
        return data.decode() if len(data) <= FILE_BYTES else None
    except (OSError, ValueError):
        return None

"""Types of values with their constraints, and enumerations."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, json

# ``$`` alone would let a trailing newline through: Python's ``$`` matches before it.
_END = r"$(?!\n)"

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Of an agent's name, or a back end's."""
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Of a session's id."""

AgentName = Annotated[
    str,
    Meta(
        pattern=f"^{NAME_PATTERN}{_END}",
        description="an agent name: a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"
        " (one leading @ is stripped)",
    ),
]
SessionId = Annotated[
    str,
    Meta(
        pattern=f"^{ID_PATTERN}{_END}",
        description="a session id: a letter or digit, then up to 63 letters, digits, '_' or '-'",
    ),
]
ClientName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}" + _END,
        description="a client name: a letter or digit, then up to 31 letters, digits, '_' or '-'",
    ),
]
Folder = Annotated[
    str,
    Meta(
        pattern=r"^/[^\x00\n]{0,4095}" + _END,
        description="an absolute path of at most 4096 characters",
    ),
]
Title = Annotated[
    str,
    Meta(
        pattern=r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}" + _END,
        description="one line of 1 to 200 characters that is not blank",
    ),
]
Tag = Annotated[
    str,
    Meta(
        pattern=r"^[^\s,\x00-\x1f\x7f-\x9f\u2028\u2029]{1,32}" + _END,
        description="a tag: 1 to 32 characters without spaces or commas",
    ),
]
Tags = Annotated[
    tuple[Tag, ...],
    Meta(max_length=32, description="at most 32 tags, each of 1 to 32 characters without spaces or commas"),
]
Key = Annotated[
    str,
    Meta(min_length=1, max_length=128, description="text of 1 to 128 characters"),
]
Ref = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="'last', '@' and an agent's name for its last session, a session id, a unique prefix of"
        " 4 or more characters, or a title",
    ),
]
Pattern = Annotated[
    str,
    Meta(min_length=1, max_length=1000, description="what to search for, 1 to 1000 characters"),
]
HitLimit = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
Content = Annotated[str, Meta(description="text")]
Prompt = Annotated[str, Meta(min_length=1, pattern=r"^\s*\S", description="text that is not blank")]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1, description="a whole number from 0")]
RecordSeq = Annotated[int, Meta(ge=1, le=2**53 - 1, description="a whole number from 1")]
Depth = Annotated[int, Meta(ge=0, le=8, description="a whole number from 0 to 8")]
Days = Annotated[int, Meta(ge=0, le=36_500, description="a whole number of days from 0 to 36500")]
SessionLimit = Annotated[int, Meta(ge=1, le=500, description="a whole number from 1 to 500")]
MessageLimit = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Cursor = Annotated[str, Meta(min_length=1, max_length=200, description="a next_cursor from an earlier page")]
Target = Annotated[
    str,
    Meta(min_length=1, max_length=4096, description="an absolute path, a session's id, a URL, or a name"),
]
Text = Annotated[str, Meta(max_length=262_144, description="text of at most 262144 characters")]
BackendName = Annotated[
    str,
    Meta(
        pattern=f"^{NAME_PATTERN}{_END}",
        description="a back end's name: a letter or digit, then up to 63 letters, digits, '.', '_', '-'",
    ),
]
VersionText = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}" + _END, description="a version, at most 64 characters"),
]
Capability = Annotated[
    str,
    Meta(min_length=1, max_length=128, description="a method's name, or METHOD.PARAMETER"),
]
RequestId = Annotated[str | int, Meta(description="the id of a request: text or a whole number")]
ModelName = Annotated[str, Meta(min_length=1, max_length=200, description="a model's name")]
ModeId = Annotated[str, Meta(min_length=1, max_length=200, description="the id of a mode")]
Role = Literal["user", "assistant", "system", "error"]
RecordRole = Literal["user", "assistant", "system", "error", "event", "tool", "thought", "plan", "permission"]
ToolKind = Literal[
    "read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"
]
"""As in the Agent Client Protocol."""
State = Literal["active", "ended"]
CaptureTool = Literal["claude", "codex", "gemini", "copilot", "pi", "opencode", "llm", "aichat", "aider"]
"""Tools whose sessions can be captured; each is a table of ``[capture]`` in config.toml."""
Folders = Annotated[
    dict[Folder, AgentName],
    Meta(max_length=100, description="at most 100 absolute paths, each with the name of an agent"),
]
IndexState = Literal["ready", "rebuilding", "behind", "unusable"]
StartedBy = Literal["systemd", "launchd", "autostart", "hand"]
TurnStatus = Literal["recorded", "answered", "interrupted"]

_looking = Lock()
K = TypeVar("K")


def prepared(kind: K) -> K:
    """The type `kind`, once any thread may have msgspec convert or decode to it.

    msgspec looks into a type when it meets it first, and others see what it has found before it is done: two
    threads that do so at once end the process (seen with msgspec 0.22). A decoder that a module makes when it
    is imported does the same as this.
    """
    _look_into(kind)
    return kind


@cache
def _look_into(kind: Any) -> None:
    with _looking:
        json.Decoder(kind)

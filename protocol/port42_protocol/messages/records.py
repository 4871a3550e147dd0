"""What a session is kept as: its messages, what answered them, and the summary of it."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.types import RecordRole, State, Target, Text


class Reference(Struct, frozen=True):
    """Something to read beside a message.

    ``file``: `target` is an absolute path; ``session``: an id, its transcript; ``url``: what it answers to
    a GET; ``text``: `content` is it, and `target` what to call it (``stdin``).
    """

    type: Literal["file", "session", "url", "text"]
    target: Target
    content: Text | None = None


class ForkPoint(Struct, frozen=True):
    """Where a fork left its original: everything through `seq` is the original's."""

    session_id: str
    seq: int


class Source(Struct, frozen=True):
    """Where an imported session came from: the `format` it was read as, and its id there."""

    format: str
    id: str


class TurnRecord(Struct, frozen=True, kw_only=True):
    """What answered, recorded with the reply.

    `model` is what the back end said it used, else what it was asked for, which is `asked_model`.
    `persona` is the first 12 hex digits of the SHA-256 of the persona. `first_ms` is the time from the
    question being on the disk to the first text, `total_ms` to the end. `left_out` counts earlier messages
    that did not fit the model's budget.
    """

    backend: str
    model: str | None = None
    asked_model: str | None = None
    persona: str | None = None
    native_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_ms: int | None = None
    total_ms: int = 0
    left_out: int = 0


class Message(Struct, frozen=True, kw_only=True):
    """One line of a session: a message, or an event (`role` ``event``).

    Fields that have no value are left out.

    A reply (``assistant``) has its `status`, its `turn` and the seq of its `question`; a failed turn
    (``error``) has the `kind` of the failure and the seq of its `question`: later turns see neither of
    them, nor what was answered of it.

    An event says what changed: ``renamed`` has the new `title`, ``tagged`` all the `tags` there are now,
    ``pinned`` whether it is.
    """

    seq: int
    role: RecordRole
    content: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    timestamp: str
    status: Literal["complete", "interrupted"] | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    question: int | UnsetType = UNSET
    references: tuple[Reference, ...] | UnsetType = UNSET
    turn: TurnRecord | UnsetType = UNSET
    key: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET


class Summary(Struct, frozen=True):
    """What a list shows of a session. `message_count` counts user and assistant messages.

    A pinned session is exempt from `prune_sessions`; `forked_from` says whose fork it is.
    """

    session_id: str
    agent: str
    title: str | None
    state: State
    created_at: str
    last_activity: str
    message_count: int
    cwd: str | None
    tags: tuple[str, ...] = ()
    pinned: bool = False
    forked_from: ForkPoint | None = None

"""Transcripts: messages with the facts about their turns, the heading, the banner of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from port42_cli.plain_text import age, answered_by, local_time
from port42_cli.views import activities
from port42_cli.views.activities import Detail
from port42_cli.views.agents import backend
from port42_cli.views.parts import Block, Field, Fields, Line, Part, Span
from port42_cli.views.sessions import title
from port42_protocol.activity import describe, one_line, opened
from port42_protocol.counting import count
from port42_protocol.messages.agents import Agent
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Message,
    Record,
    Reference,
    Summary,
    ToolRecord,
    UserMessage,
)

_ROLES = {"user": "bold cyan", "assistant": "bold green", "error": "bold red"}


def heading(session: Summary, now: datetime) -> list[Part]:
    """The header of a transcript on a terminal."""
    facts = (
        f"@{session.agent}",
        count(session.message_count, "message"),
        session.state,
        f"last used {age(session.last_activity, now)}",
    )
    head = [(session.session_id, "bold"), ("  ", ""), *title(session)]
    return [Line(head, fit="ellipsis"), Line([(" · ".join(facts), "dim")]), Line("")]


def messages(records: Iterable[Record], detail: Detail = "folded") -> Iterator[Part]:
    """The records of a transcript, with a blank line after activities that follow one another."""
    after_activity = False
    for message in records:
        if after_activity and not isinstance(message, Activity):
            yield Line("")
        yield from record(message, detail)
        after_activity = isinstance(message, Activity) and detail == "folded"


def record(message: Record, detail: Detail = "folded") -> Iterator[Part]:
    """A message under its role, a reply as the Markdown that it is, with how its turn went; an activity in a
    line, and all of it with the `detail` ``full``.

    Scripts get ``[seq] role time``, with ``(author)`` of what another owner at the hub recorded and what was
    not well about it, and the text under it.
    """
    head = " ".join((f"[{message.seq}]", message.role, message.timestamp, *_author(message), *_flaw(message)))
    if isinstance(message, Activity):
        if detail != "hidden":
            yield from _activity(message, head, full=detail == "full")
        return
    if isinstance(message, EventRecord):
        content = (message.content or "") if detail == "full" else ""
        event = f"rolled back {count(message.prompts, 'prompt')}" if message.prompts else message.event
        yield Line(None, piped="\n".join((head, event, *([content] if content else []), "")))
        yield Line([(" ".join((event, *_author(message))), "italic dim"), _time(message), _turn(message)])
        yield from [Block(content)] if content else []
        return
    content = message.content if isinstance(message, Message) else ""
    yield Line(None, piped=f"{head}\n{content}\n")
    yield Line([*speaker(message.role, *_author(message)), _time(message), _turn(message)])
    yield Block(content, markdown=isinstance(message, AssistantMessage))
    for reference in message.references or () if isinstance(message, UserMessage) else ():
        yield Block(f"📎 {_reference(reference)}", style="dim")


def _activity(message: Activity, head: str, *, full: bool) -> Iterator[Part]:
    parts = [f"{name}:\n{text}" for name, text in opened(message)] if full else []
    yield Line(None, piped="\n".join((head, describe(message), *parts, "")))
    author = [(f" {name}", "dim") for name in _author(message)]
    yield Line([*activities.line(message), *author, _time(message)], fit="ellipsis")
    if full:
        yield from activities.parts(message)


def speaker(role: str, *author: str) -> list[Span]:
    """The line above a message."""
    return [(" ".join((role, *author)), _ROLES.get(role, "bold"))]


def outcome(reply: AssistantMessage) -> list[Span]:
    """The line under a reply that was shown while it came, below its speaker."""
    return [_time(reply), _turn(reply)]


def boot_banner(agent: Agent, session: Summary | None) -> list[Part]:
    """The banner of a conversation: agent, session and back end."""
    where: list[Span] = [("a new one, with your first message", "dim")]
    if session is not None:
        messages = count(session.message_count, "message")
        where = [(session.session_id, "bold"), (f"  {messages}  ", ""), *title(session)]
    fields = (
        Field("agent", agent.agent, shown=[(f"@{agent.agent}", "cyan")]),
        Field("session", True, shown=where),
        Field("back end", agent.backend, shown=backend(agent)),
    )
    return [Fields(fields, "port42", narrow=True)]


def _time(message: Record) -> Span:
    return (f"  {message.seq} · {local_time(message.timestamp)}", "dim")


def _turn(message: Record) -> Span:
    facts = [flaw.replace("_", " ") for flaw in _flaw(message)]
    if isinstance(message, AssistantMessage | EventRecord) and message.turn:
        facts.append(answered_by(message.turn))
    return ("".join(f" · {fact}" for fact in facts), "dim")


def _author(message: Record) -> list[str]:
    """Who recorded it, if that was another owner at the hub."""
    return [f"({one_line(message.author)})"] if message.author else []


def _flaw(message: Record) -> list[str]:
    """How its turn failed, if it did."""
    if isinstance(message, ErrorMessage) and message.kind:
        return [message.kind]
    if isinstance(message, ToolRecord) and message.state != "done":
        return [message.state]
    return (
        ["interrupted"] if isinstance(message, AssistantMessage) and message.status == "interrupted" else []
    )


def _reference(reference: Reference) -> str:
    size = count(len(reference.content or ""), "character")
    return f"{reference.type} {reference.target} ({size})".replace("\n", "␊")

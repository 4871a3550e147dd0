"""What a terminal is shown: the daemon's answers as rich renderables, and `show`, which prints them.

With `markdown` and `live` all that imports rich, and only when there is a terminal. Every text that
somebody else wrote goes through `visible` or `one_line`, and into `Text`, so that neither control
characters nor rich's own markup in it mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import to_builtins
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import age, answered_by, count, going_on, one_line, state, visible
from port42_cli.views.markdown import blocks
from port42_protocol.messages.agents import Agent
from port42_protocol.messages.records import Message, Reference, Summary, TurnRecord
from port42_protocol.messages.search import Hit
from port42_protocol.messages.sessions import ListedSession

_STATES = {"ready": "green", "none": "dim"}
_ROLES = {"user": "bold cyan", "assistant": "bold green", "error": "bold red"}


def show(renderable: RenderableType, *, to_stderr: bool = False) -> None:
    """Print, coloured and wrapped as the terminal takes it (``NO_COLOR`` is kept by rich)."""
    Console(stderr=to_stderr, highlight=False).print(renderable)


def sessions(listed: Sequence[ListedSession], now: datetime) -> RenderableType:
    """A row for each session, the short id first: it is what gets typed again."""
    table = _table("ID", "AGENT", "TITLE", "MESSAGES", "LAST USED")
    for one in listed:
        title = _title(one)
        if one.state == "ended":
            title.append(" (ended)", style="dim")
        table.add_row(
            Text(one.short_id, style="bold"),
            Text(f"@{one.agent}", style="cyan"),
            title,
            Text(f"{one.message_count:,}"),
            Text(age(one.last_activity, now), style="dim"),
        )
    return table


def hits(found: Sequence[Hit], now: datetime) -> RenderableType:
    """What was found under the session it was found in, the best one first, and how to go on with each."""
    by_session: dict[str, list[Hit]] = {}
    for hit in found:
        by_session.setdefault(hit.session.session_id, []).append(hit)
    parts: list[Text] = []
    for group in by_session.values():
        session = group[0].session
        facts = f"  @{session.agent} · {age(session.last_activity, now)}  "
        title = _title(session)
        parts.append(Text.assemble((session.session_id, "bold"), (facts, "cyan"), title, overflow="ellipsis"))
        parts += [_hit(one) for one in group]
        parts += [Text(f"  {going_on(session)}", style="dim", overflow="fold"), Text()]
    return Group(*parts)


def _hit(one: Hit) -> Text:
    """One line or a few of them, what was asked for in bold."""
    said = Text()
    place = 0
    for mark in one.marks:
        said.append(one_line(one.snippet[place : mark.start]))
        said.append(one_line(one.snippet[mark.start : mark.end]), style="bold yellow")
        place = mark.end
    said.append(one_line(one.snippet[place:]))
    return Text.assemble((f"  {one.seq} {one.role}: ", "dim"), said)


def agents(known: Sequence[Agent]) -> RenderableType:
    """A row for each agent: what answers for it, whether it could now, and why or by what."""
    table = _table("AGENT", "BACK END", "MODEL", "STATE", "SESSIONS", "DETAIL")
    for one in known:
        table.add_row(
            Text(f"@{one.agent}", style="cyan"),
            Text(one.backend, style="dim" if one.backend == "none" else ""),
            Text(one_line(one.model or "–")),
            Text(one.health.replace("_", " "), style=_STATES.get(one.health, "yellow")),
            Text(f"{one.session_count:,}"),
            Text(one_line(one.detail), style="dim", no_wrap=True, overflow="ellipsis"),
        )
    return table


def agent(one: Agent) -> RenderableType:
    """All that is known of an agent."""
    table = Table.grid(padding=(0, 2))
    rows = {
        "agent": Text(f"@{one.agent}", style="cyan"),
        "known from": Text(
            {"built-in": "Port42 itself", "config": "config.toml"}.get(one.source, "its sessions")
        ),
        "back end": _backend(one),
        "sessions": Text(f"{one.session_count:,}"),
        "last": Text(one.last_session or "–"),
        "persona": Text(visible(one.system or "–")),
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="dim"), value)
    return table


def overview(last: Sequence[ListedSession], fresh: Sequence[str], now: datetime) -> RenderableType:
    """Where each agent was left, who has not been spoken to, and what to type next."""
    parts: list[RenderableType] = []
    if last:
        table = _table("AGENT", "LAST SESSION", "TITLE", "MESSAGES", "LAST USED")
        for one in last:
            table.add_row(
                Text(f"@{one.agent}", style="cyan"),
                Text(one.session_id, style="bold"),
                _title(one),
                Text(f"{one.message_count:,}"),
                Text(age(one.last_activity, now), style="dim"),
            )
        parts += [table, Text()]
    if fresh:
        names = " ".join(f"@{name}" for name in fresh)
        parts += [Text.assemble(("Not spoken to yet: ", "dim"), (names, "cyan")), Text()]
    someone = last[0].agent if last else fresh[0] if fresh else "ai-engineer"
    next_steps = {f'port42 possess @{someone} "…"': "say something in a new session"}
    if last:
        next_steps[f"port42 possess @{someone} -c"] = "go on where you were"
    next_steps["port42 sessions"] = "everything there is"
    next_steps["port42 --help"] = "the other commands"
    steps = Table.grid(padding=(0, 2))
    for typed, meaning in next_steps.items():
        steps.add_row(Text(f"  {typed}", style="bold"), Text(meaning, style="dim"))
    return Group(*parts, steps)


def heading(session: Summary, now: datetime) -> RenderableType:
    """What stands over a transcript."""
    facts = (
        f"@{session.agent}",
        count(session.message_count, "message"),
        session.state,
        f"last used {age(session.last_activity, now)}",
    )
    return Group(
        Text.assemble((session.session_id, "bold"), "  ", _title(session), no_wrap=True, overflow="ellipsis"),
        Text(" · ".join(facts), style="dim"),
        Text(),
    )


def messages(page: Sequence[Message]) -> RenderableType:
    """A page of a transcript."""
    return Group(*(message(one) for one in page))


def boot_banner(agent: Agent, session: Summary | None) -> RenderableType:
    """What opens a conversation: whom one talks to, where, and what truly answers."""
    grid = Table.grid(padding=(0, 2))
    if session is None:
        where = Text("a new one, with your first message", style="dim")
    else:
        messages = count(session.message_count, "message")
        where = Text.assemble(
            (session.session_id, "bold"),
            f"  {messages}  ",
            _title(session),
            no_wrap=True,
            overflow="ellipsis",
        )
    grid.add_row(Text("agent", style="dim"), Text(f"@{agent.agent}", style="cyan"))
    grid.add_row(Text("session", style="dim"), where)
    grid.add_row(Text("back end", style="dim"), _backend(agent))
    return Panel(grid, title="port42", title_align="left", border_style="dim", expand=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        # What gets typed again must never be cut; titles and details may.
        whole = name not in {"TITLE", "DETAIL"}
        table.add_column(name, no_wrap=whole, justify="right" if name in {"MESSAGES", "SESSIONS"} else "left")
    return table


def _title(session: Summary) -> Text:
    title = Text(no_wrap=True, overflow="ellipsis")
    if session.pinned:
        title.append("📌 ")
    title.append(one_line(session.title or "(untitled)"), style="" if session.title else "dim")
    for tag in session.tags:
        title.append(f" #{one_line(tag)}", style="dim")
    return title


def message(one: Message) -> RenderableType:
    """A message under who said it; a reply as the Markdown it is, with how its turn went."""
    if one.role == "event":
        return Text.assemble((f"{one.event}", "italic dim"), _when(one))
    said = one.content if isinstance(one.content, str) else ""
    whole = blocks(said) if one.role == "assistant" else [Text(visible(said))]
    parts: list[RenderableType] = [Padding(part, (0, 0, 1, 2)) for part in whole]
    read = one.references if isinstance(one.references, tuple) else ()
    parts += [Padding(Text(f"📎 {_reference(each)}", style="dim"), (0, 0, 1, 2)) for each in read]
    return Group(Text.assemble((one.role, _ROLES.get(one.role, "bold")), _when(one), _went(one)), *parts)


def outcome(one: Message) -> Text:
    """What is said under a reply that was seen as it came."""
    return Text.assemble((f"{one.role}", "dim"), _when(one), _went(one))


def _when(one: Message) -> Text:
    return Text(f"  {one.seq} · {one.timestamp[:16].replace('T', ' ')}", style="dim")


def _went(one: Message) -> Text:
    """How the turn of a reply or a failure went."""
    facts = [one.kind.replace("_", " ")] if isinstance(one.kind, str) else []
    if one.status == "interrupted":
        facts.append("interrupted")
    if isinstance(one.turn, TurnRecord):
        facts.append(answered_by(to_builtins(one.turn)))
    return Text("".join(f" · {one_line(fact)}" for fact in facts), style="dim")


def _reference(one: Reference) -> str:
    return one_line(f"{one.type} {one.target} ({count(len(one.content or ''), 'character')})")


def _backend(agent: Agent) -> Text:
    if agent.backend == "none":
        return Text("none: messages are recorded, nothing answers", "yellow")
    model = f" · {one_line(agent.model)}" if agent.model else ""
    return Text.assemble(
        f"{agent.backend}{model} · ",
        (state(agent), _STATES.get(agent.health, "yellow")),
        (f" · {one_line(agent.detail)}", "dim"),
    )

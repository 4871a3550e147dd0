"""Agents, their back ends, and whether these are ready."""

from __future__ import annotations

from collections.abc import Sequence

from port42_cli.plain_text import advice, one_line, typed
from port42_cli.views.parts import Column, Field, Fields, Part, Span, Table, number
from port42_protocol.messages.agents import Agent, AgentList, ModelList
from port42_protocol.presets import ECHO

_HEALTH = {"ready": "green", "none": "dim"}
_SOURCES = {"built-in": "Port42 itself", "config": "config.toml"}


def agents(known: Sequence[Agent]) -> list[Part]:
    """A row for each agent. Scripts get name, back end, source, sessions, last session or nothing, health,
    model or nothing, and the detail of the health."""
    return [Table(known, _COLUMNS, _cells)]


def agent(known: Agent) -> list[Part]:
    """All facts about an agent; its persona, which may be long, is last."""
    fields = (
        Field("agent", known.agent, shown=[(f"@{known.agent}", "cyan")]),
        Field("source", known.source, "known from", _SOURCES.get(known.source, "its sessions")),
        Field("", True, "back end", backend(known)),
        Field("backend", known.backend, ""),
        Field("model", known.model or None, ""),
        Field("health", known.health, ""),
        Field("detail", known.detail, ""),
        Field("sessions", known.session_count, shown=f"{known.session_count:,}"),
        Field("last session", known.last_session or None),
        Field("persona", known.system or None, multiline=True),
    )
    return [Fields(fields)]


def backend(known: Agent) -> list[Span]:
    """An agent's back end, and whether it is ready."""
    if known.backend == "none":
        return [("none: messages are recorded without a reply", "yellow")]
    model = f" · {known.model}" if known.model else ""
    health = (state(known), _HEALTH.get(known.health, "yellow"))
    return [(f"{known.backend}{model} · ", ""), health, (f" · {advice(known.detail)}", "dim")]


def health(known: Agent) -> str:
    """The same in a plain line."""
    if known.backend == "none":
        return f"@{known.agent}: none, messages are recorded without a reply"
    facts = (known.backend, known.model, state(known), advice(known.detail))
    return f"@{known.agent}: {' · '.join(fact for fact in facts if fact)}"


def unlisted(offer: ModelList, model: str) -> str | None:
    """The line about a model that the back end does not list, if it lists any."""
    if offer.detail is not None or model in offer.models:
        return None
    # Imported here: lists of agents need no comparison.
    from difflib import get_close_matches

    near = get_close_matches(model, offer.models)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    return one_line(f"{offer.backend} does not list a model {model}{meant}")


def state(known: Agent) -> str:
    """An agent's health in words, and whether a key is used that is not in config.toml."""
    words = known.health.replace("_", " ")
    from_environment = known.source == "built-in" and known.backend not in {"none", ECHO}
    return f"{words}, by the key in the daemon's environment" if from_environment else words


def answering(known: AgentList) -> bool:
    """Whether anything but `ECHO` answers for an agent."""
    return any(agent.backend not in {"none", ECHO} for agent in known.agents)


def offers(known: AgentList) -> dict[str, str]:
    """Back ends of this machine that are not connected, each with the command that connects it."""
    connected = {agent.backend for agent in known.agents}
    agent = next((agent.agent for agent in known.agents if agent.backend == "none"), known.agents[0].agent)
    free = [name for name in known.available if name not in connected]
    return {name: typed(f"agents connect @{agent} {name}") for name in free}


def _state(known: Agent) -> list[Span]:
    return [(known.health.replace("_", " "), _HEALTH.get(known.health, "yellow"))]


def _cells(known: Agent) -> tuple[object, ...]:
    sessions = (known.session_count, known.last_session)
    return (known.agent, known.backend, known.source, *sessions, known.health, known.model, known.detail)


_COLUMNS: tuple[Column[Agent], ...] = (
    Column("AGENT", lambda agent: f"@{agent.agent}", "cyan"),
    Column("BACK END", lambda agent: [(agent.backend, "dim" if agent.backend == "none" else "")]),
    Column("MODEL", lambda agent: agent.model or "–", expendable=1),
    Column("STATE", _state),
    number("SESSIONS", lambda agent: agent.session_count, expendable=3),
    Column("DETAIL", lambda agent: agent.detail, "dim", fit="ellipsis", expendable=2),
)

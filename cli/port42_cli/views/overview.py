"""`port42` alone: each agent's last session, what could answer, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from port42_cli.plain_text import typed
from port42_cli.views import agents as agents_view
from port42_cli.views.parts import Column, Line, Part, Table
from port42_cli.views.sessions import AGENT, MESSAGES, SESSION_ID, TITLE, last_used
from port42_protocol.messages.agents import AgentList
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.presets import ECHO, PRESETS


def overview(
    last: Sequence[ListedSession], known: AgentList, keys: Sequence[str], now: datetime
) -> Iterator[Part]:
    """`last` has each agent's last session, `keys` the variables with API keys that only this shell has.

    Scripts get a line for each agent: its name, its last session and the time of that, or nothing.
    """
    unused = [agent.agent for agent in known.agents if not agent.last_session]
    if last:
        agent, last_session = AGENT._replace(expendable=0), SESSION_ID._replace(heading="LAST SESSION")
        columns = (agent, last_session, TITLE, MESSAGES, last_used(now))
        yield Table(last, columns, lambda session: (session.agent, session.session_id, session.last_activity))
        yield Line("")
    yield from (Line(None, piped=f"{name}\t\t") for name in unused)
    if unused:
        yield Line([("No session yet: ", "dim"), (" ".join(f"@{name}" for name in unused), "cyan")])
        yield Line("")
    if not agents_view.answering(known):
        yield from _to_connect(known, keys)
    yield Table(_steps(last, unused, known), _STEP, headings=False)


def _to_connect(known: AgentList, keys: Sequence[str]) -> Iterator[Part]:
    """What this machine has that could answer, each with the command that connects it."""
    steps = [(command, PRESETS.get(name, "")) for name, command in agents_view.offers(known).items()]
    steps += [("port42 daemon restart", f"has the daemon use this shell's {key}") for key in keys]
    if steps:
        yield Line("No agent answers yet. To connect what this machine has:", fit="fold")
    else:
        names = ", ".join(name for name in PRESETS if name not in {ECHO, "none"} and "-" not in name)
        yield Line(f"No agent answers yet, and none of these is on this machine: {names}.", fit="fold")
        steps = [(typed("agents connect --help"), "what can be connected")]
    yield Table(steps, _STEP, headings=False)
    yield Line("")


def _steps(last: Sequence[ListedSession], unused: Sequence[str], known: AgentList) -> list[tuple[str, str]]:
    names = [*(session.agent for session in last), *unused]
    agent = next((name for name in names if name != ECHO), "ai-engineer")
    steps = {typed(f'possess @{agent} "…"'): "say something in a new session"}
    if last:
        steps[typed(f"possess @{last[0].agent} -c")] = "continue its last session"
    for echo in known.agents:
        if echo.agent == echo.backend == ECHO:
            steps[typed(f'possess @{ECHO} "hello"')] = echo.detail
    steps |= {typed("sessions"): "list all sessions", "port42 --help": "see the other commands"}
    return [*steps.items()]


_STEP: tuple[Column[tuple[str, str]], ...] = (
    Column("", lambda step: f"  {step[0]}", "bold"),
    Column("", lambda step: step[1], "dim", fit="fold", expendable=1),
)

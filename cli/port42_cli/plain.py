"""What is shown, as text: one stable line for each thing when piped, and the words terminals share.

Pure: what comes in are the daemon's answers and the time, what goes out are strings. Piped text is
exact; `visible` and `one_line` are for terminals, which obey what they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from port42_cli.errors import DaemonError
    from port42_protocol import messages as m

# Control pictures (␛, ␇, …) for C0; a code point for C1, and for what turns the text's direction,
# with which a title could look like another one. Newline and tab are what they are.
_CONTROLS = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **{code: f"<U+{code:04X}>" for code in (*range(0x80, 0xA0), 0x2028, 0x2029)},
    **{code: f"<U+{code:04X}>" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F))},
    **{code: f"<U+{code:04X}>" for code in range(0x2066, 0x206A)},
}
_IN_TEXT = {code: shown for code, shown in _CONTROLS.items() if chr(code) not in "\n\t"}

_AGES = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (float("inf"), 86_400, "d"))


def visible(text: str) -> str:
    """`text` with its control characters made visible, so that a terminal cannot obey them."""
    return text.replace("\r\n", "\n").translate(_IN_TEXT)


def one_line(text: str) -> str:
    """As `visible`, for text that must stay on its line."""
    return text.translate(_CONTROLS)


def age(timestamp: str, now: datetime) -> str:
    """How long ago an RFC 3339 `timestamp` was: ``now``, ``5 s ago``, ``3 min ago``, ``12 d ago``."""
    seconds = (now - datetime.fromisoformat(timestamp)).total_seconds()
    if seconds < 1:
        return "now"  # or the clock was set back
    unit, name = next((unit, name) for below, unit, name in _AGES if seconds < below)
    return f"{int(seconds // unit)} {name} ago"


def count(number: int, thing: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def resuming(session_id: str, agent: str, messages: int) -> str:
    """The line that says which session goes on."""
    return f"🔄 Resuming session {session_id} for @{agent} ({count(messages, 'message')})"


def sessions(listed: tuple[m.ListedSession, ...]) -> Iterator[str]:
    """A line for each: id, agent, messages, last use, state and, last because it is text, title."""
    for one in listed:
        cells = (one.session_id, one.agent, str(one.message_count), one.last_activity, one.state)
        yield "\t".join((*cells, one.title or ""))


def agents(known: tuple[m.Agent, ...]) -> Iterator[str]:
    """A line for each: name, back end, where it is known from, sessions, last session or nothing."""
    for one in known:
        cells = (one.agent, one.backend, one.source, str(one.session_count))
        yield "\t".join((*cells, one.last_session or ""))


def message(one: m.Message) -> str:
    """A message with its number, who said it and when, over its text."""
    said = one.content if isinstance(one.content, str) else one.event
    return f"[{one.seq}] {one.role} {one.timestamp}\n{said}\n"


def status(daemon: m.DaemonStatus) -> Iterator[str]:
    """A ``name: value`` line for each fact about the daemon."""
    yield f"version: {daemon.version}"
    yield f"pid: {daemon.pid}"
    yield f"socket: {daemon.socket}"
    yield f"home: {daemon.home}"
    yield f"uptime: {daemon.uptime_seconds:.0f} s"
    yield f"sessions: {daemon.sessions}"
    yield f"connections: {daemon.connections}"
    if daemon.config_error:
        yield f"config error: {daemon.config_error}"


def overview(last: tuple[m.ListedSession, ...], fresh: list[str]) -> Iterator[str]:
    """A line for each agent: its last session and the time of it, or nothing."""
    for one in last:
        yield f"{one.agent}\t{one.session_id}\t{one.last_activity}"
    for name in fresh:
        yield f"{name}\t\t"


def recorded(agent: str, messages: int, *, briefly: bool = False) -> str:
    """What is said where nothing answers; not `briefly`, also why and what could."""
    done = f"Recorded ({count(messages, 'message')})."
    if briefly:
        return done
    return f"{done} No back end answers @{agent}; any program can, with append_message (see README.md)."


def problem(error: DaemonError, now: datetime) -> Iterator[str]:
    """What a person is told about an error of the daemon's: the error, then what to do about it."""
    explain = {
        "ambiguous_session": _ambiguous,
        "session_not_found": _not_found,
        "unknown_agent": _unknown_agent,
        "wrong_agent": _wrong_agent,
    }.get(error.kind, _as_it_came)
    try:
        yield from list(explain(error, now))
    except (KeyError, TypeError, ValueError):
        # Another version's daemon, whose error has other details: its own words always do.
        yield error.message


def _as_it_came(error: DaemonError, _: datetime) -> Iterator[str]:
    yield error.message


def _not_found(error: DaemonError, _: datetime) -> Iterator[str]:
    yield error.message
    yield "  Expected last, a session id, a unique prefix of 4 or more characters, or a title."
    yield "  To see them: port42 sessions"


def _ambiguous(error: DaemonError, now: datetime) -> Iterator[str]:
    candidates: list[dict[str, Any]] = error.data["candidates"]
    yield f"{error.data['ref']} fits several sessions; name one of them by its id:"
    width = max(len(one["session_id"]) for one in candidates)
    for one in candidates:
        last = age(one["last_activity"], now)
        title = one["title"] or "(untitled)"
        yield f"  {one['session_id']:{width}}  @{one['agent']}  {title}  ({last})"


def _unknown_agent(error: DaemonError, _: datetime) -> Iterator[str]:
    name = error.data["agent"]
    yield f"unknown agent @{name}"
    if near := error.data["suggestions"]:
        yield f"  Did you mean {' or '.join('@' + one for one in near)}?"
    yield f"  To make it known: port42 agents add {name}"


def _wrong_agent(error: DaemonError, _: datetime) -> Iterator[str]:
    owner, session_id = error.data["owner"], error.data["session_id"]
    yield f"session {session_id} belongs to @{owner}, not to @{error.data['agent']}"
    yield f"  To go on with it: port42 possess @{owner} --session {session_id}"

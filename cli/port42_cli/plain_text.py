"""Text for people: made safe for a terminal; sizes and times; the sentences that commands share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from port42_protocol.counting import count
from port42_protocol.errors import BackendFailed

if TYPE_CHECKING:
    from port42_client.errors import DaemonError
    from port42_protocol.messages.records import Summary, TurnRecord

# Beside C0 a terminal obeys C1, line separators, and what changes the direction of text.
_OBEYED = (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x2070))
# Control pictures (␛, ␇, …) for C0, a code point for the others. Newline and tab are what they are.
_ONE_LINE = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **{code: f"<U+{code:04X}>" for code in _OBEYED},
}
_MANY_LINES = {code: shown for code, shown in _ONE_LINE.items() if chr(code) not in "\n\t"}
_JSON = {code: f"\\u{code:04x}" for code in (0x7F, *_OBEYED)}

_AGES = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (float("inf"), 86_400, "d"))
program: ContextVar[str] = ContextVar("program", default="port42")
"""How commands that are shown begin: with the --host or --socket of the command that shows them."""

machine: ContextVar[str | None] = ContextVar("machine", default=None)
"""The other machine whose daemon is meant, if it is one."""

_COMMAND = re.compile(r"(?P<before>`|: )port42 (?P<words>[a-z@][^`\n]*)(?P<after>`|$)")

_NOT_TYPED = ("session_id", "at_seq")
"""Fields that a person named in another way, or not at all."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def visible(text: str) -> str:
    """`text` with its control characters made visible, so that a terminal cannot obey them."""
    return text.replace("\r\n", "\n").translate(_MANY_LINES)


def one_line(text: str) -> str:
    """As `visible`, for text that must stay on its line."""
    return text.translate(_ONE_LINE)


def visible_json(text: str) -> str:
    """As `visible`, for JSON, whose values stay the same. C0 is escaped in it already."""
    return text.translate(_JSON)


def age(timestamp: str, now: datetime) -> str:
    """How long ago an RFC 3339 `timestamp` was: ``now``, ``5 s ago``, ``3 min ago``; ``?`` of other text."""
    try:
        when = datetime.fromisoformat(timestamp)
        seconds = (now - (when if when.tzinfo else when.replace(tzinfo=UTC))).total_seconds()
    except (ValueError, OverflowError):
        return "?"
    if seconds < 1:
        return "now"  # or the clock was set back
    unit, name = next((unit, name) for below, unit, name in _AGES if seconds < below)
    return f"{int(seconds // unit)} {name} ago"


def local_time(timestamp: str, *, zone: bool = False) -> str:
    """``2026-11-23 12:00``, an RFC 3339 `timestamp` in this machine's zone, which is named if asked for.

    Other text is returned as it is. For screens; data keeps its UTC.
    """
    try:
        when = datetime.fromisoformat(timestamp)
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError, OSError):
        return timestamp
    return f"{when:%Y-%m-%d %H:%M %Z}" if zone else f"{when:%Y-%m-%d %H:%M}"


def size(number: int) -> str:
    """Bytes: ``512 B``, ``36.8 MiB``."""
    exponent = min(max(0, number.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{number / 1024**exponent:.1f} {_UNITS[exponent]}" if exponent else f"{number} B"


def latency(microseconds: int) -> str:
    """``24 µs``, ``1.2 ms``, ``5.2 s``, ``3 min``."""
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms" if microseconds < 999_500 else "1 s"
    seconds = microseconds / 1_000_000
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def duration(seconds: float) -> str:
    """``4 s``, ``12 min``, ``1 h 2 min``, ``3 d 4 h``."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def resuming(session_id: str, agent: str, messages: int) -> str:
    return f"🔄 Resuming session {session_id} for @{agent} ({count(messages, 'message')})"


def typed(words: str) -> str:
    """The command line of `words` that reaches the daemon which this command speaks to."""
    return f"{program.get()} {words}"


def advice(text: str) -> str:
    """A text of the daemon's or of the client's, whose commands, in backquotes or behind a colon at its end,
    reach that daemon. Those about the machine that they run on are for the other machine."""
    elsewhere = machine.get()
    pieces, position = [], 0
    for match in _COMMAND.finditer(text):
        pieces += [text[position : match.start()], match["before"]]
        if elsewhere and match["words"].startswith(("daemon ", "service ")):
            pieces.append(f"port42 {match['words']}{match['after']} on {elsewhere}")
        else:
            pieces.append(f"{typed(match['words'])}{match['after']}")
        position = match.end()
    return "".join(pieces) + text[position:]


def going_on(session: Summary) -> str:
    """The command that continues a session, by its id, which is unambiguous."""
    return typed(f"possess @{session.agent} -s {session.session_id}")


def to_go_on(agent: str, session_id: str) -> str:
    return f"  To continue it: {typed(f'possess @{agent} --session {session_id}')}"


def recorded(agent: str, messages: int, *, briefly: bool = False) -> str:
    """The line where nothing answers; not `briefly`, also why and how to change that."""
    done = f"Recorded ({count(messages, 'message')})."
    why = f"No back end answers @{agent}; what can be connected: {typed('agents connect --help')}"
    return done if briefly else f"{done} {why}"


def waiting(turns: int, machine: str | None = None) -> str:
    if machine is not None:
        return f"waiting: a turn of this session is under way on {machine}"
    return f"waiting: {count(turns, 'turn')} of this session before this one"


def detached(session_id: str) -> str:
    return f"Recorded. The turn continues in the daemon; to see it: {typed(f'follow {session_id}')}"


def answered_by(turn: TurnRecord) -> str:
    """Duration, tokens, model or back end, and mode, as far as they are known."""
    facts = [f"{turn.total_ms / 1000:.1f} s"] if turn.total_ms else []
    if turn.input_tokens is not None and turn.output_tokens is not None:
        facts.append(f"tokens: {turn.input_tokens:,} in, {turn.output_tokens:,} out")
    mode = [f"mode {turn.mode}"] if turn.mode else []
    return " · ".join((*facts, turn.model or turn.backend, *mode))


def problem(error: DaemonError, now: datetime) -> list[str]:
    """The lines about an error of the daemon: the error, then what to do."""
    try:
        return list(_problem(error, now))
    except (KeyError, TypeError, ValueError):
        return [error.message]  # another version's daemon, whose error has other details


def _problem(error: DaemonError, now: datetime) -> Iterator[str]:
    data = error.data
    if error.code == BackendFailed.code:  # its kind says how it failed
        yield f"@{data['agent']} did not answer ({error.kind.replace('_', ' ')}): {error.message}"
        again = typed(f"possess @{data['agent']} -s {data['session_id']} --retry")
        yield f"  To ask again: {again}"
        check = typed(f"agents test @{data['agent']}")
        yield f"  To check its back end: {check}"
    elif error.kind == "session_not_found":
        yield error.message
        yield "  Expected last, @AGENT, a session id, a unique prefix of 4 or more characters, or a title."
        yield f"  To see them: {typed('sessions')}"
    elif error.kind == "ambiguous_session":
        yield f"{data['ref']} fits several sessions; name one of them by its id:"
        width = max(len(session["session_id"]) for session in data["candidates"])
        for session in data["candidates"]:
            title, used = session["title"] or "(untitled)", age(session["last_activity"], now)
            yield f"  {session['session_id']:{width}}  @{session['agent']}  {title}  ({used})"
    elif error.kind == "unknown_agent":
        yield f"unknown agent @{data['agent']}"
        if near := data["suggestions"]:
            yield f"  Did you mean {' or '.join(f'@{name}' for name in near)}?"
        add = typed(f"agents add {data['agent']}")
        yield f"  To make it known: {add}"
    elif error.kind == "session_damaged":
        yield error.message
        yield f"  What can be done: {typed('doctor')}"
    elif error.kind == "wrong_agent":
        yield f"session {data['session_id']} belongs to @{data['owner']}, not to @{data['agent']}"
        yield to_go_on(data["owner"], data["session_id"])
    elif (field := data.get("field")) in _NOT_TYPED and error.message.startswith(f"{field}: "):
        yield error.message.removeprefix(f"{field}: ")
    else:
        yield advice(error.message)

"""What is shown, as text: one stable line for each thing when piped, and the words terminals share.

Pure: what comes in are the daemon's answers and the time, what goes out are strings. Piped text is
exact; `visible` and `one_line` are for terminals, which obey what they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from port42_protocol.errors import BackendFailed

if TYPE_CHECKING:
    from port42_client.errors import DaemonError
    from port42_protocol.messages.agents import Agent, AgentList
    from port42_protocol.messages.forks_and_trash import Pruned, SessionNode, TrashedSession
    from port42_protocol.messages.records import Message, Summary
    from port42_protocol.messages.search import Hit
    from port42_protocol.messages.sessions import ListedSession

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


def sessions(listed: tuple[ListedSession, ...]) -> Iterator[str]:
    """A line for each: id, agent, messages, last use, state with pin and tags if it has them, and, last
    because it is text, title."""
    for one in listed:
        marks = " ".join((one.state, *["pinned"] * one.pinned, *(f"#{tag}" for tag in one.tags)))
        cells = (one.session_id, one.agent, str(one.message_count), one.last_activity, marks)
        yield "\t".join((*cells, one.title or ""))


def hits(found: tuple[Hit, ...]) -> Iterator[str]:
    """``id:seq: text`` for each; a session's own title and tags have the seq 0."""
    for one in found:
        yield f"{one.session.session_id}:{one.seq}: {one.snippet}"


def going_on(session: Summary) -> str:
    """What to type to go on with a session: by its id, which nothing else can be taken for."""
    return f"port42 possess @{session.agent} -s {session.session_id}"


def index(status: dict[str, Any]) -> Iterator[str]:
    """A ``name: value`` line for each fact about the index."""
    yield f"complete: {'yes' if status['complete'] else 'no'}"
    yield f"sessions: {status['sessions']} ({status['sessions_behind']} still to be read)"
    yield f"messages: {status['messages']} ({status['records_behind']} records still to be read)"
    yield f"size: {status['bytes'] / 1e6:.1f} MB"


def to_go_on(agent: str, session_id: str) -> str:
    """What to type to go on with a session."""
    return f"  To go on with it: port42 possess @{agent} --session {session_id}"


def meant(session: Summary) -> str:
    """One session in a list of what is to go: id, agent, messages, last use, title."""
    cells = (session.session_id, session.agent, str(session.message_count))
    return "\t".join((*cells, session.last_activity, session.title or ""))


def tree(nodes: tuple[SessionNode, ...]) -> Iterator[str]:
    """A line for each, two spaces behind its parent: id, the seq it was forked at, agent and title."""
    depth: dict[str, int] = {}
    for one in nodes:
        depth[one.session_id] = 0 if one.parent is None else depth[one.parent] + 1
        at = "" if one.at_seq is None else str(one.at_seq)
        if one.session is not None:
            agent, title = one.session.agent, one.session.title or ""
        else:
            agent, title = "", "(in the trash)" if one.trashed else "(no longer exists)"
        yield "\t".join(("  " * depth[one.session_id] + one.session_id, at, agent, title))


def trash(found: tuple[TrashedSession, ...]) -> Iterator[str]:
    """A line for each: id, agent, messages, when it was deleted, bytes and, because it is text, title."""
    for one in found:
        cells = (one.session_id, one.agent, str(one.message_count), one.trashed_at, str(one.bytes))
        yield "\t".join((*cells, one.title or ""))


def pruning(preview: Pruned) -> Iterator[str]:
    """A line for each session that goes: where to, then as in `meant`."""
    for one in preview.trashed:
        yield f"to the trash\t{meant(one)}"
    for trashed in preview.deleted:
        yield f"for good\t{meant(trashed)}"
    if preview.more:
        yield "and more"


def agents(known: tuple[Agent, ...]) -> Iterator[str]:
    """A line for each: name, back end, where it is known from, sessions, last session or nothing, health,
    model or nothing and, last because it is text, the detail of its health."""
    for one in known:
        cells = (one.agent, one.backend, one.source, str(one.session_count), one.last_session or "")
        yield "\t".join((*cells, one.health, one.model or "", one.detail))


def agent(one: Agent) -> Iterator[str]:
    """A ``name: value`` line for each fact about an agent; its persona, which may be long, is last."""
    yield f"agent: {one.agent}"
    yield f"source: {one.source}"
    yield f"backend: {one.backend}"
    if one.model:
        yield f"model: {one.model}"
    yield f"health: {one.health}"
    yield f"detail: {one.detail}"
    yield f"sessions: {one.session_count}"
    if one.last_session:
        yield f"last session: {one.last_session}"
    if one.system:
        yield f"persona: {one.system}"


def health(one: Agent) -> str:
    """What answers for an agent, and whether it could now, in a line."""
    if one.backend == "none":
        return f"@{one.agent}: none, messages are recorded and nothing answers"
    model = f", {one.model}" if one.model else ""
    return f"@{one.agent}: {one.backend}{model}, {state(one)} ({one.detail})"


def state(one: Agent) -> str:
    """An agent's health in words; a key that nobody wrote into config.toml is said plainly."""
    words = one.health.replace("_", " ")
    served = one.source == "built-in" and one.backend != "none"
    return f"{words}, by the key in the daemon's environment" if served else words


def offers(known: AgentList) -> Iterator[str]:
    """What could be connected and is not, with what to type."""
    connected = {one.backend for one in known.agents}
    if free := [name for name in known.available if name not in connected]:
        someone = next((one.agent for one in known.agents if one.backend == "none"), known.agents[0].agent)
        yield f"Found here and not connected: {', '.join(free)}."
        yield f"To connect one: port42 agents connect @{someone} {free[0]}"


def message(one: Message) -> str:
    """A message with its number, who said it, when, and how its turn went if not well, over its text."""
    said = one.content if isinstance(one.content, str) else one.event
    went = "".join(f" {mark}" for mark in (one.status, one.kind) if mark and mark != "complete")
    return f"[{one.seq}] {one.role} {one.timestamp}{went}\n{said}\n"


def import_report(report: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """A line for each session that came in, then for each that did not, with why; last, how many."""
    for one in report["imported"]:
        said = count(one["messages"], "message")
        grown = "+" if one["change"] == "grown" else ""
        yield f"{one['session_id']}\t@{one['agent']}\t{grown}{said}\t{one['title'] or ''}"
    for one in report["skipped"]:
        yield f"skipped {one['source']}: {one['reason']}"
    new = sum(one["change"] == "new" for one in report["imported"])
    grown = len(report["imported"]) - new
    facts = [f"{new:,} new", f"{grown:,} grown", f"{report['unchanged']:,} here already"]
    would = "would be imported" if dry_run else "imported"
    yield f"{report['format']}: {', '.join(facts)}, {len(report['skipped']):,} skipped; {would}"


def overview(last: tuple[ListedSession, ...], fresh: list[str]) -> Iterator[str]:
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
    return f"{done} No back end answers @{agent}; to connect one: port42 agents connect @{agent} NAME"


def waiting(turns: int) -> str:
    """That somebody else is being answered in the session."""
    return f"waiting: {count(turns, 'turn')} of this session before this one"


def detached(session_id: str) -> str:
    """That a turn goes on by itself."""
    return f"Recorded. What answers goes on by itself; to see it: port42 follow {session_id}"


def answered_by(turn: dict[str, Any]) -> str:
    """What answered, how long it took and what it cost, as far as a `messages.TurnRecord` knows."""
    facts = [f"{turn['total_ms'] / 1000:.1f} s"]
    sent, got = turn.get("input_tokens"), turn.get("output_tokens")
    if sent is not None and got is not None:
        facts.append(f"{sent:,} + {got:,} tokens")
    facts.append(turn.get("model") or turn["backend"])
    return " · ".join(facts)


def problem(error: DaemonError, now: datetime) -> Iterator[str]:
    """What a person is told about an error of the daemon's: the error, then what to do about it."""
    explain = {
        "ambiguous_session": _ambiguous,
        "session_not_found": _not_found,
        "unknown_agent": _unknown_agent,
        "wrong_agent": _wrong_agent,
    }.get(error.kind, _as_it_came)
    if error.code == BackendFailed.code:
        explain = _no_reply  # its kind says how it failed
    try:
        yield from list(explain(error, now))
    except (KeyError, TypeError, ValueError):
        # Another version's daemon, whose error has other details: its own words always do.
        yield error.message


def _as_it_came(error: DaemonError, _: datetime) -> Iterator[str]:
    yield error.message


def _no_reply(error: DaemonError, _: datetime) -> Iterator[str]:
    agent, session_id = error.data["agent"], error.data["session_id"]
    yield f"@{agent} did not answer ({error.kind.replace('_', ' ')}): {error.message}"
    yield f"  To ask again: port42 possess @{agent} -s {session_id} --retry"
    yield f"  To look at what answers: port42 agents test @{agent}"


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

"""Creates forks of sessions, and finds the tree of forks that a session belongs to."""

from __future__ import annotations

from collections import defaultdict

from msgspec import UNSET, structs

from port42_daemon.agents import Agents
from port42_daemon.sessions.labels import require_title
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import FORKED, Header
from port42_protocol.errors import SessionNotFound, StorageFailed, WrongAgent
from port42_protocol.messages.events import MessageEvent
from port42_protocol.messages.forks_and_trash import Family, ForkSession, SessionNode, SessionTree
from port42_protocol.messages.records import EventRecord, ForkPoint, Summary
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.times import now

_MOST_NODES = 2000


class Lineage:
    """`fork_session` and `session_tree`."""

    def __init__(self, sessions: Sessions, agents: Agents) -> None:
        self._sessions = sessions
        self._agents = agents

    async def fork_session(self, request: ForkSession) -> Summary:
        """Create a session with the records of another, and make it its agent's last one."""
        require_title(request.title)
        if request.to_agent is not None:
            await self._agents.require(request.to_agent)
        session_id = await self._sessions.free_id(request.client)
        summary, seq, problem = await self._sessions.threads.files(self._fork, session_id, request)
        event = EventRecord(seq=seq, event=FORKED, timestamp=summary.created_at)
        self._sessions.events.publish(MessageEvent(summary.session_id, summary.agent, message=event))
        if problem is not None:
            raise problem
        return summary

    def _fork(self, session_id: str, request: ForkSession) -> tuple[Summary, int, StorageFailed | None]:
        original, footer = self._sessions.store.ends(request.session_id)
        if request.agent is not None and original.agent != request.agent:
            raise WrongAgent(original.id, request.agent, original.agent)
        seq = footer.last_seq if request.at_seq is None else request.at_seq
        header, event = _header(original, seq, session_id, request)
        summary = self._sessions.store.fork(request.session_id, seq, header, event)
        return summary, seq + 1, self._sessions.set_last(summary, seq + 1)

    async def session_tree(self, request: SessionTree) -> Family:
        """The tree: its root, and all direct and indirect forks of it."""
        await self._sessions.recovered()
        return await self._sessions.threads.index(self._family, request.session_id)

    # --- inside -------------------------------------------------------------------------------------

    def _family(self, session_id: str) -> Family:
        nodes = self._ancestors(session_id)
        first = next(reversed(nodes))
        level = list(nodes)
        while level and len(nodes) <= _MOST_NODES:
            forks = [row for row in self._sessions.catalogue.family(level) if row.session_id not in nodes]
            nodes |= {row.session_id: _node(row.session_id, row, row) for row in forks}
            level = [row.session_id for row in forks]
        ordered = _in_order(nodes, first)
        return Family(tuple(ordered[:_MOST_NODES]), len(ordered) <= _MOST_NODES)

    def _ancestors(self, session_id: str) -> dict[str, SessionNode]:
        """The session, what it was forked from, and so on to the first: the last in the dict."""
        nodes: dict[str, SessionNode] = {}
        following: str | None = session_id
        # Hand-edited headers may form a cycle.
        while following is not None and following not in nodes:
            family = self._sessions.catalogue.family([following])
            listed = next((row for row in family if row.session_id == following), None)
            known = listed or self._trashed(following)
            if known is None and not nodes:
                raise SessionNotFound(session_id)
            nodes[following] = _node(following, known, listed)
            following = nodes[following].parent
        return nodes

    def _trashed(self, session_id: str) -> Summary | None:
        try:
            return self._sessions.store.summary(session_id, trashed=True)
        except SessionNotFound:
            return None


def _header(original: Header, seq: int, session_id: str, request: ForkSession) -> tuple[Header, EventRecord]:
    """The header of the fork, and its first own record, which has the title that was asked for, if any."""
    began = now()
    header = structs.replace(
        original,
        id=session_id,
        agent=request.to_agent or original.agent,
        created_at=began,
        client=request.client,
        cwd=request.cwd or original.cwd,
        # A tool's metadata about the original need not be true of the fork.
        metadata={},
        forked_from=ForkPoint(original.id, seq),
        imported_from=None,
        parent=UNSET,
        generation=UNSET,
        hub_owner=UNSET,
    )
    title = request.title or UNSET
    return header, EventRecord(seq=0, event=FORKED, timestamp=began, title=title)


def _node(session_id: str, known: Summary | None, listed: ListedSession | None) -> SessionNode:
    origin = known.forked_from if known else None
    return SessionNode(
        session_id,
        origin.session_id if origin else None,
        origin.seq if origin else None,
        listed,
        trashed=known is not None and listed is None,
    )


def _in_order(nodes: dict[str, SessionNode], first: str) -> list[SessionNode]:
    """Depth-first: each node after its parent. The root has no parent."""
    forks: dict[str | None, list[SessionNode]] = defaultdict(list)
    for node in nodes.values():
        if node.session_id != first:
            forks[node.parent].append(node)
    ordered, waiting = [], [structs.replace(nodes[first], parent=None, at_seq=None)]
    while waiting:
        ordered.append(waiting.pop())
        sisters = sorted(forks[ordered[-1].session_id], key=_created, reverse=True)
        waiting += sisters
    return ordered


def _created(node: SessionNode) -> tuple[str, str]:
    return (node.session.created_at if node.session else "", node.session_id)

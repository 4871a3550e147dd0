"""The tree of a session's forks; the trash; sessions to be moved there or deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from port42_cli.plain_text import age, size
from port42_cli.views.parts import Column, Line, Node, Part, Span, Table, Tree
from port42_cli.views.sessions import AGENT, MESSAGES, SESSION_ID, TITLE, chosen
from port42_protocol.counting import count
from port42_protocol.messages.forks_and_trash import Pruned, SessionNode, TrashedSession


def tree(nodes: Sequence[SessionNode], current: str, now: datetime) -> list[Part]:
    """The family of the session `current`, which stands out.

    Scripts get a line for each, two spaces behind its parent: id, seq of the fork, agent, title.
    """
    return [Tree([_node(node, current, now) for node in nodes])]


def trash(trashed: Sequence[TrashedSession], now: datetime) -> list[Part]:
    """A row for each, with the id that `restore` takes. Scripts get its bytes, too."""
    deleted: Column[TrashedSession] = Column(
        "DELETED", lambda session: age(session.trashed_at, now), "dim", expendable=2
    )
    return [Table(trashed, (SESSION_ID, AGENT, TITLE, MESSAGES, deleted), _cells)]


def pruning(preview: Pruned, now: datetime) -> Iterator[Part]:
    """The sessions that go, and where to. Scripts get that in front of each."""
    if preview.trashed:
        yield Line([("To the trash:", "bold")])
        yield chosen(preview.trashed, now, label="to the trash")
    if preview.sub_agents:
        with_them = f"with {count(preview.sub_agents, 'session')} of sub-agents"
        yield Line(with_them, with_them)
    if preview.deleted:
        yield Line([("Deleted for good:", "bold red")])
        yield chosen(preview.deleted, now, label="for good")
    if preview.original_bytes:
        of_them = "with" if preview.deleted else "of sessions that were deleted for good earlier:"
        kept = f"{of_them} the originals that capture kept of them ({size(preview.original_bytes)})"
        yield Line(kept, kept)
    if preview.more:
        yield Line("and more", "and more")


def _cells(session: TrashedSession) -> tuple[object, ...]:
    deleted = (session.trashed_at, session.bytes)
    return (session.session_id, session.agent, session.message_count, *deleted, session.title)


def _node(node: SessionNode, current: str, now: datetime) -> Node:
    label: list[Span] = [(node.session_id, "bold" if node.session_id == current else "")]
    at = "" if node.at_seq is None else str(node.at_seq)
    if at:
        label.append((f"  at {at}", "dim"))
    if (session := node.session) is None:
        gone = "in the trash" if node.trashed else "not here"  # deleted for good, or not imported yet
        return Node(node.session_id, node.parent, [*label, (f"  {gone}", "yellow")], (at, "", f"({gone})"))
    label += [(f"  @{session.agent}", "cyan"), (f"  {session.title or '(untitled)'}", "")]
    label.append((f"  {count(session.message_count, 'message')} · {age(session.last_activity, now)}", "dim"))
    return Node(node.session_id, node.parent, label, (at, session.agent, session.title or ""))

"""The daemon as the tools use it: what only reads goes through its socket for reading. Blocks."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

from port42_client.client import Client, decode, given
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, Refused
from port42_client.wire import Event, JsonObject
from port42_mcp import quoted
from port42_mcp.depth import LIMIT
from port42_protocol import paths
from port42_protocol.errors import UnknownAgent
from port42_protocol.messages.agents import AgentList
from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import EventRecord, Record, Summary
from port42_protocol.messages.search import HitPage
from port42_protocol.messages.sessions import SessionPage, Transcript

CLIENT = "mcp"
"""The prefix of ids of sessions that agents begin."""

_AT_A_TIME = 100  # records in one request: a page of text seldom needs more


class Stopped(Exception):
    """The client that asked no longer waits for the answer."""


class Question:
    """A `Listener` for one turn: tells of its progress, refuses what needs a person, can be stopped.

    `stop` may be called from any thread, everything else by the one that waits for the answer. `on_progress`
    gets the characters of the answer so far, and what the agent does.
    """

    interval = None

    def __init__(self, on_progress: Callable[[int, str], None]) -> None:
        self._on_progress = on_progress
        self._held, self._watched = socket.socketpair()
        self._client: Client | None = None
        self._characters = 0

    def stop(self) -> None:
        self._held.close()

    def run(self, client: Client, params: JsonObject) -> Possessed:
        """Raises `Stopped`, with the turn ended and its reply so far kept, and what `Client.ask` raises."""
        self._client = client
        return decode(Possessed, client.ask("possess", params, listener=self))

    def close(self) -> None:
        self._watched.close()

    def fileno(self) -> int:
        """Can be read from once `stop` was called: the other end is closed."""
        return self._watched.fileno()

    def on_readable(self) -> None:
        raise Stopped  # closes the connection, and the turn ends with it

    def on_tick(self) -> None:
        """Does nothing: there is no `interval`."""

    def on_event(self, event: Event) -> None:
        match event["kind"]:
            case "text":
                self._characters += len(event["text"])
                self._on_progress(self._characters, "")
            case "tool" | "notice":
                self._on_progress(self._characters, event["text"])
            case "waiting":
                self._on_progress(self._characters, "waiting for another turn of the session")
            case "permission" if self._client is not None:
                self._on_progress(self._characters, f"refused: {event['text']}")
                refusal = {"session_id": event["session_id"], "permission_id": event["permission_id"]}
                self._client.notify("answer_permission", refusal)


class Source:
    """What is kept, and the agents. Each call has a connection of its own and may run in any thread.

    All raise `CommandError`.
    """

    def __init__(self, daemon: Daemon, depth: int, max_depth: int) -> None:
        """`depth` is how many agents asked one another until the agent that uses this."""
        self._daemon = daemon
        self._depth = depth
        self._max_depth = max_depth

    def search(self, query: str, agent: str | None, limit: int, cursor: str | None) -> str:
        with self._reader() as client:
            params = given(query=query, agent=agent, limit=limit, cursor=cursor)
            return quoted.hits(decode(HitPage, client.ask("search_sessions", params)))

    def sessions(  # noqa: PLR0913, PLR0917 - what a list can be narrowed by
        self,
        agent: str | None,
        folder: str | None,
        tag: str | None,
        pinned: bool | None,
        limit: int,
        cursor: str | None,
    ) -> str:
        with self._reader() as client:
            params = given(agent=agent, cwd=folder, tag=tag, pinned=pinned, limit=limit, cursor=cursor)
            return quoted.sessions(decode(SessionPage, client.ask("list_sessions", params)))

    def read(
        self, ref: str, agent: str | None, start: quoted.PageStart, last: int | None, detail: quoted.Detail
    ) -> str:
        """A page of the session that `ref` means; with `last`, from that many messages before its end on."""
        with self._reader() as client:
            head = decode(Summary, client.ask("find_session", given(ref=ref, agent=agent)))
            if last is not None:
                start = quoted.PageStart(_seq_before_last(client, head.session_id, last))
            page = quoted.page(lambda seq: _records(client, head.session_id, seq), start, detail)
            return quoted.session(head, page, start)

    def ask(self, agent: str, message: str, ref: str | None, question: Question) -> str:
        """The answer of `agent`, in the session that `ref` means or in a new one. Raises `Stopped`, too."""
        with closing(question):
            return self._ask(agent, message, ref, question)

    def _ask(self, agent: str, message: str, ref: str | None, question: Question) -> str:
        depth = self._depth + 1
        if depth > min(self._max_depth, LIMIT):
            raise Refused(
                f"agents may ask one another {self._max_depth} deep here, and this would be {depth}:"
                " answer without asking"
            )
        with self._daemon.client() as client:
            # Never waits for a turn: it may be the one in which the agent that asks is at work.
            params = {"agent": agent, "message": message, "depth": depth, "if_busy": "error", "stream": True}
            params |= {"client": CLIENT} | given(cwd=paths.current_folder())
            try:
                if ref is not None:
                    session = client.ask("find_session", {"ref": ref, "agent": agent})
                    params["session_id"] = session["session_id"]
                return _answer(agent, question.run(client, params))
            except DaemonError as error:
                if error.code != UnknownAgent.code:
                    raise
                known = decode(AgentList, client.ask("list_agents")).agents
                names = quoted.names([known_agent.agent for known_agent in known])
                raise Refused(f"there is no agent {agent}; there are {names}") from None

    def _reader(self) -> Client:
        return self._daemon.client(self._daemon.connect_for_reading)


def _answer(agent: str, done: Possessed) -> str:
    if done.status == "recorded":
        raise Refused(
            f"@{agent.removeprefix('@')} has no back end that answers, so the message was only recorded, in"
            f" {done.session_id}; a person can connect one with `port42 agents connect`"
        )
    text = quoted.answer(done.reply or "(no text)")
    cut = "It was interrupted. " if done.status == "interrupted" else ""
    return f"{text}\n{cut}To go on with this conversation: ask_agent with session={done.session_id!r}"


def _records(client: Client, session_id: str, after_seq: int) -> Iterator[Record]:
    params = {"session_id": session_id, "after_seq": after_seq, "limit": _AT_A_TIME, "events": True}
    for page in client.ask_pages("get_session", params):
        yield from decode(Transcript, page).messages


def _seq_before_last(client: Client, session_id: str, last: int) -> int:
    """The seq before the last so many messages."""
    end = decode(Transcript, client.ask("get_session", {"session_id": session_id, "last": last}))
    spoken = [record.seq for record in end.messages if not isinstance(record, EventRecord)]
    return spoken[0] - 1 if spoken else 0

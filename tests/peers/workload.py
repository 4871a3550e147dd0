"""A client that uses every verb, and remembers what it was told: what a test of the disk compares with.

client = Client("ai-muse", seed=1)            # sessions of an agent of its own, so that clients never meet
client.work(daemon, stop)                     # until `stop` is set or the daemon is gone
client.one(daemon.call)                       # one request; what is acknowledged is remembered
client.forget()                               # it was refused instead: may have been done or not
client.check(daemon.call)                     # the daemon has all that was acknowledged

A request that was not answered may have been carried out or not, but nothing between: `check` allows both.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

Call = Callable[..., Any]


@dataclass
class Session:
    """What is known of a session. `messages` are (seq, role, content)."""

    messages: list[tuple[int, str, str]] = field(default_factory=list)
    title: str | None = None
    tags: set[str] = field(default_factory=set)
    pinned: bool = False
    state: str = "active"
    trashed: bool = False


class Client:
    """One client, with an agent of its own."""

    def __init__(self, agent: str, seed: int = 0) -> None:
        self.agent = agent
        self.sessions: dict[str, Session] = {}
        self.uncertain: dict[str, Session] = {}
        """Sessions that a request was refused for, as they were before; no request is for them again."""
        self.last: str | None = None
        """The session used last; None while that is not certain."""
        self.acknowledged = self._maybe_forks = 0
        self.refused: list[str] = []
        """Errors that `work` was answered with: each of its requests can succeed."""
        self.unanswered: tuple[str, dict[str, Any]] | None = None
        self._random = random.Random(f"{agent}{seed}")
        self._number = 0

    # --- work -------------------------------------------------------------------------------------

    def work(self, daemon: Any, stop: threading.Event, done: Callable[[], object] = lambda: None) -> None:
        """Send request after request on one connection, until `stop` or the end of the daemon."""
        with contextlib.suppress(OSError), daemon.connect() as peer, peer.makefile("rb") as lines:

            def call(method: str, **params: Any) -> Any:
                request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                peer.sendall(json.dumps(request).encode() + b"\n")
                line = lines.readline()
                if not line.endswith(b"\n"):
                    raise ConnectionError("the daemon is gone")
                answer = json.loads(line)
                if "error" in answer:
                    self.refused.append(f"{method} {params}: {answer['error']}")
                    raise ConnectionError("refused")
                return answer["result"]

            while not stop.is_set():
                self.one(call)
                done()

    def one(self, call: Call) -> None:
        """One request. Where `call` raises, it stays `unanswered`."""
        method, params = self.next()
        self.unanswered = method, params
        result = call(method, **params)
        self.note(method, params, result)
        self.unanswered = None
        self.acknowledged += 1

    def forget(self) -> None:
        """The unanswered request was refused: what it was for may be changed by it, or not."""
        assert self.unanswered is not None
        method, params = self.unanswered
        name = params.get("session_id")
        if name is not None:
            self.uncertain[name] = self.sessions.pop(name, Session())
        self._maybe_forks += method == "fork_session"
        self.last = self.unanswered = None

    def next(self) -> tuple[str, dict[str, Any]]:
        """A verb and its params: one that can succeed."""
        here = [name for name, session in self.sessions.items() if not session.trashed]
        trashed = [name for name, session in self.sessions.items() if session.trashed]
        self._number += 1
        number, choose = self._number, self._random
        if not here:
            return "create_session", {"agent": self.agent, "session_id": f"{self.agent}-{number}"}
        name = choose.choice(here)
        mine = {"agent": self.agent, "session_id": name}
        text = f"{self.agent} {number} " + "x" * choose.choice([0, 40, 5_000])
        key = {"idempotency_key": f"{self.agent}/{number}"}
        role = choose.choice(["user", "assistant"])
        verbs: list[tuple[int, str, dict[str, Any]]] = [
            (4, "create_session", {"agent": self.agent, "session_id": f"{self.agent}-{number}"}),
            (12, "append_message", {**mine, "role": role, "content": text, **key}),
            (8, "possess", {**mine, "message": text, **key}),
            (3, "update_last_session", mine),
            (3, "rename_session", {**mine, "title": f"title {number}"}),
            (3, "tag_session", {**mine, "add": [f"t{number % 5}"], "remove": [f"t{(number + 1) % 5}"]}),
            (2, "pin_session", {**mine, "pinned": choose.random() < 0.5}),
            (2, "end_session", mine),
            *((3, "fork_session", mine) for _ in self.sessions[name].messages[:1]),
            (3, "delete_session", mine),
            *((4, "restore_session", {**mine, "session_id": name}) for name in trashed[:1]),
            (1, "get_session", mine),
            (1, "get_last_session", {"agent": self.agent}),
            (1, "find_session", {"agent": self.agent, "ref": name}),
            (1, "list_sessions", {"agent": self.agent, "limit": 20}),
            (1, "search_sessions", {"query": f"{number}", "agent": self.agent}),
            (1, "session_tree", {"session_id": name}),
            (1, "export_session", {"session_id": name, "format": "markdown"}),
            (1, "list_trash", {"agent": self.agent}),
            (1, "prune_sessions", {"agent": self.agent, "older_than_days": 1}),
            (1, "stats", {}),
            (1, "disk_usage", {}),
            (1, "get_index_status", {}),
            (1, "status", {}),
            (1, "list_agents", {}),
            (1, "check_home", {}),
        ]
        if self.last is None:
            verbs = [verb for verb in verbs if verb[1] != "get_last_session"]
        _, method, params = choose.choices(verbs, [weight for weight, _, _ in verbs])[0]
        return method, params

    def note(self, method: str, params: dict[str, Any], result: Any) -> None:
        """Remember what was acknowledged."""
        name = params.get("session_id", "")
        session = self.sessions.get(name, Session())
        if method == "create_session":
            self.sessions[name] = Session()
        elif method in {"append_message", "possess"}:
            role = params.get("role", "user")
            session.messages.append((result["seq"], role, params.get("content", params.get("message"))))
            session.state = "active"
        elif method == "rename_session":
            session.title = params["title"]
        elif method == "tag_session":
            session.tags = (session.tags - set(params["remove"])) | set(params["add"])
        elif method == "pin_session":
            session.pinned = params["pinned"]
        elif method == "end_session":
            session.state = "ended"
        elif method == "fork_session":
            forked = self.sessions[result["session_id"]] = copy.deepcopy(session)
            forked.title, forked.tags = result["title"], set(result["tags"])
            forked.pinned, forked.state = result["pinned"], result["state"]
        elif method in {"delete_session", "restore_session"}:
            session.trashed = method == "delete_session"
        self._note_last(method, name, result)

    def _note_last(self, method: str, name: str, result: Any) -> None:
        if method in {"create_session", "append_message", "possess", "update_last_session"}:
            self.last = name
        elif method == "fork_session":
            self.last = result["session_id"]
        elif method == "delete_session":
            self.last = result["last_session"]
        elif method == "restore_session":
            self.last = None

    # --- what must be there -------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        """Everything that was acknowledged is there, and nothing that was not asked for."""
        listed = _all(call, "list_sessions", self.agent)
        trashed = _all(call, "list_trash", self.agent)
        assert not listed.keys() & trashed.keys(), "a session is in two places"
        method, params = self.unanswered or ("", {})
        touched = params.get("session_id")
        for name, session in self.sessions.items():
            there = trashed if session.trashed else listed
            if name == touched and method in {"delete_session", "restore_session"}:
                there = listed | trashed
            assert name in there, f"{name} is missing after {method}"
            maybe = (method, params) if name == touched else ("", {})
            self._check_summary(session, there[name], *maybe)
            if name in listed:
                got = call("get_session", session_id=name, limit=10_000)["messages"]
                self._check_messages(session, got, *maybe)
        for name, session in self.uncertain.items():
            assert name in listed | trashed or not session.messages, f"{name} is missing"
            if name in listed and session.messages:
                got = call("get_session", session_id=name, limit=len(session.messages))["messages"]
                self._check_messages(session, got, "", {})
        self._check_nothing_more(listed | trashed, method, params)
        if self.last is not None and not self.unanswered:
            assert call("get_last_session", agent=self.agent)["session_id"] == self.last

    def _check_summary(self, session: Session, shown: dict[str, Any], method: str, params: Any) -> None:
        expected = {
            "title": {session.title} if session.title else {shown["title"]},
            "pinned": {session.pinned},
            "state": {session.state},
        }
        if method == "rename_session":
            expected["title"] = {shown["title"] if session.title is None else session.title, params["title"]}
        elif method == "pin_session":
            expected["pinned"].add(params["pinned"])
        elif method in {"append_message", "possess", "end_session"}:
            expected["state"] = {"active", "ended"}
        for name, values in expected.items():
            assert shown[name] in values, (name, shown, values)
        if method != "tag_session":
            assert set(shown["tags"]) == session.tags

    def _check_messages(self, session: Session, got: list[dict[str, Any]], method: str, params: Any) -> None:
        messages = [(message["seq"], message["role"], message["content"]) for message in got]
        count = len(session.messages)
        assert messages[:count] == session.messages, "a message that was acknowledged is missing or another"
        more = [content for _, _, content in messages[count:]]
        expected = [params.get("content", params.get("message"))] if method in _ADD else []
        assert more in ([], expected), "a message that nobody sent"

    def _check_nothing_more(self, there: dict[str, Any], method: str, params: Any) -> None:
        more = there.keys() - self.sessions.keys() - self.uncertain.keys()
        if method == "create_session":
            more -= {params["session_id"]}
        allowed = self._maybe_forks + (method == "fork_session")
        assert len(more) <= allowed, f"sessions that nobody began: {more}"

    def settle(self, call: Call) -> None:
        """After `check`: repeat the unanswered request where that does no harm, else look what it did."""
        if self.unanswered is None:
            return
        method, params = self.unanswered
        self.unanswered = None
        if "idempotency_key" in params or method in _REPEATABLE:
            self.note(method, params, call(method, **params))
        else:
            self._look_again(call)

    def _look_again(self, call: Call) -> None:
        """A creation, a fork or a move: as it turned out."""
        listed, trashed = (_all(call, method, self.agent) for method in ("list_sessions", "list_trash"))
        for name in listed | trashed:
            session = self.sessions.setdefault(name, Session())
            shown = (listed | trashed)[name]
            session.trashed = name in trashed
            session.title, session.tags = shown["title"], set(shown["tags"])
            session.pinned, session.state = shown["pinned"], shown["state"]
            if name in listed:
                got = call("get_session", session_id=name, limit=10_000)["messages"]
                session.messages = [(one["seq"], one["role"], one["content"]) for one in got]
        self.last = None


_ADD = {"append_message", "possess"}
_REPEATABLE = {"update_last_session", "rename_session", "tag_session", "pin_session", "end_session"}


def refusal(client: Client, daemon: Any) -> Any:
    """Make a request; gives the error that it was answered with."""
    try:
        client.one(daemon.call)
    except pytest.RpcFailed as error:
        return error
    return None


def _all(call: Call, method: str, agent: str) -> dict[str, dict[str, Any]]:
    """Every page of a list, by id."""
    sessions: dict[str, dict[str, Any]] = {}
    cursor = None
    while True:
        page = call(method, agent=agent, limit=500, cursor=cursor)
        for session in page["sessions"]:
            assert session["session_id"] not in sessions, "listed twice"
            sessions[session["session_id"]] = session
        cursor = page["next_cursor"]
        if cursor is None:
            return sessions

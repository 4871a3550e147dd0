"""What the tests of turns talk with: a connection that hears events, and an agent that says what it is told.

with Talk(daemon) as talk:
    asked = talk.send("possess", agent="tap", message="hello", stream=True)
    talk.event("started")                  # waits for it, and passes over others
    talk.answer(asked)                     # the whole response; `talk.events` has all that came before
tap = Tap(folder)                          # `tap.command` is an agent that says what the test writes
with tap.open() as say:                    # waits until the agent runs
    say("hel"); say("lo")                  # closing it is the end of the reply
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Talk:
    """One connection to a daemon."""

    def __init__(self, daemon: Any) -> None:
        self.peer: socket.socket = daemon.connect()
        self._lines = self.peer.makefile("rb")
        self._number = 0
        self._answers: dict[int, Any] = {}
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self.peer.close()

    def send(self, method: str, **params: Any) -> int:
        """Ask; gives the request's id."""
        self._number += 1
        asked = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.peer.sendall(json.dumps(asked).encode() + b"\n")
        return self._number

    def answer(self, number: int) -> Any:
        """The response to that request; events that come before it are kept in `events`."""
        while number not in self._answers:
            self._next()
        return self._answers.pop(number)

    def result(self, number: int) -> Any:
        """The result of that request, which must succeed."""
        answer = self.answer(number)
        assert "result" in answer, answer
        return answer["result"]

    def call(self, method: str, **params: Any) -> Any:
        """The result of a call that must succeed."""
        return self.result(self.send(method, **params))

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of that kind with these fields, among those not looked at yet; drops what was
        before it."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["kind"] == kind and fields.items() <= event.items():
                    return event
            self._next()

    def _next(self) -> None:
        line = self._lines.readline()
        assert line, "the daemon hung up"
        said = json.loads(line)
        if "method" in said:
            assert said["method"] == "session_event"
            self.events.append(said["params"])
        else:
            self._answers[said["id"]] = said


class Tap:
    """An agent that says what is written into its FIFO, until that is closed."""

    def __init__(self, folder: Path, name: str = "tap") -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        self.command = ["cat", str(self.path)]
        self.failing = ["sh", "-c", 'cat "$0"; echo "it broke" >&2; exit 3', str(self.path)]

    @contextmanager
    def open(self) -> Iterator[Callable[[str], None]]:
        """Opening a FIFO to write waits for its reader: when this returns, the agent runs."""
        with self.path.open("wb", buffering=0) as file:
            yield lambda text: (file.write(text.encode()), None)[1]


def configure(home: Path, **commands: list[str]) -> None:
    """Write a config.toml in which each name is an agent, answered by that command."""
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.toml").write_text(
        "".join(
            f'[agents.{name}]\nbackend = "{name}"\n\n'
            f'[backends.{name}]\ntype = "command"\ncommand = {json.dumps(command)}\n\n'
            for name, command in commands.items()
        )
    )


def texts(events: list[dict[str, Any]]) -> str:
    """All the text in events, in one."""
    return "".join(event["text"] for event in events if event["kind"] == "text")


def transcript(daemon: Any, session_id: str) -> list[dict[str, Any]]:
    """A session's messages."""
    messages: list[dict[str, Any]] = daemon.call("get_session", session_id=session_id, limit=10_000)[
        "messages"
    ]
    return messages


def outline(daemon: Any, session_id: str) -> list[tuple[str, str]]:
    """The roles and contents of a session's messages."""
    return [(one["role"], one["content"]) for one in transcript(daemon, session_id)]


def possess(daemon, agent, message, **more):
    return daemon.call("possess", agent=agent, message=message, **more)

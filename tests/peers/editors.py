"""Editors that start `port42 acp`: the SDK's client, and plain lines for what no client would send.

def test_x(editor):
    zed = editor("@ai-muse")                       # acp_editor.py with the SDK, initialized
    session_id = zed.call("new_session", cwd="/")["sessionId"]
    zed.prompt(session_id, "hello")                # the result of the turn
    zed.updates                                    # all that came so far, in order
    zed.until(lambda message: …)                   # waits for a message, and returns it
def test_y(lines):
    peer = lines("@ai-muse"); peer.send(b'…'); peer.receive()
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import acp_sdk
from peers.daemons import stop_daemon_of
from peers.processes import Child, Processes

_PATIENCE = 60.0
_EDITOR = Path(__file__).parent / "acp_editor.py"


class EditorError(Exception):
    """An error response, as the SDK has it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code, self.data = error["code"], error["data"]


def acp_agent(name: str, peer: str = "", *arguments: str) -> str:
    """The agent `name` for config.toml: the program ``acp_PEER.py`` here, or that of its own name."""
    program = str(Path(__file__).with_name(f"acp_{peer or name}.py"))
    return f"""
[agents.{name}]
backend = "{name}"
[backends.{name}]
type = "acp"
command = {json.dumps([sys.executable, "-S", "-B", program, *arguments])}
"""


REPEAT = """
[agents.repeat]
backend = "repeat"
[backends.repeat]
type = "command"
command = ["cat"]
"""
"""An agent for config.toml that is no ACP agent."""


def records_of(daemon: Any, session_id: str) -> list[dict[str, Any]]:
    """All records of a session."""
    records: list[dict[str, Any]] = daemon.call("get_session", session_id=session_id, events=True)["messages"]
    return records


def port42_command() -> list[str]:
    """The installed `port42`, else the package."""
    script = Path(sys.executable).with_name("port42")
    return [str(script)] if script.exists() else [sys.executable, "-m", "port42_cli"]


class Lines:
    """A process that is spoken with in lines of JSON."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.child.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def send(self, line: bytes) -> None:
        """Any line, without its end."""
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def receive(self) -> Any:
        """The next line, parsed; None at the end."""
        line = self._lines.get(timeout=_PATIENCE)
        return json.loads(line) if line else None


class Editor(Lines):
    """The SDK's client. Made initialized."""

    def __init__(self, child: Child) -> None:
        super().__init__(child)
        self._number = 0
        self._results: dict[int, Any] = {}
        self.messages: list[dict[str, Any]] = []
        self.initialized = self.call("initialize")

    def begin(self, method: str, **params: Any) -> int:
        """Call without waiting; `result` has the outcome."""
        self._number += 1
        self.send(json.dumps({"id": self._number, "method": method, "params": params}).encode())
        return self._number

    def result(self, number: int) -> Any:
        while number not in self._results:
            self._next()
        outcome = self._results.pop(number)
        if "error" in outcome:
            raise EditorError(outcome["error"])
        return outcome["result"]

    def call(self, method: str, **params: Any) -> Any:
        """The result. Raises `EditorError`."""
        return self.result(self.begin(method, **params))

    def new(self, cwd: str = "/tmp") -> str:
        """The id of a new session."""
        session_id: str = self.call("new_session", cwd=cwd)["sessionId"]
        return session_id

    def begin_prompt(self, session_id: str, *blocks: str | dict[str, Any]) -> int:
        prompt = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
        return self.begin("prompt", session_id=session_id, prompt=prompt)

    def prompt(self, session_id: str, *blocks: str | dict[str, Any]) -> Any:
        return self.result(self.begin_prompt(session_id, *blocks))

    def choose(self, option: str | None) -> None:
        self.send(json.dumps({"choose": option}).encode())

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [message["update"] for message in self.messages if "update" in message]

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message that is wanted, from those that come from now on."""
        while not wanted(message := self._next()):
            pass
        return message

    def until_text(self, text: str, kind: str = "agent_message_chunk") -> None:
        """Wait until the texts of that kind that came, joined, contain `text`."""
        while text not in texts(self.updates, kind):
            self._next()

    def _next(self) -> dict[str, Any]:
        message = self.receive()
        assert message is not None, "the editor ended"
        if "id" in message:
            self._results[message["id"]] = message
        else:
            self.messages.append(message)
        return message


def texts(updates: list[dict[str, Any]], kind: str = "agent_message_chunk") -> str:
    """The text of all chunks of a kind."""
    return "".join(update["content"].get("text", "") for update in updates if update["sessionUpdate"] == kind)


@pytest.fixture
def editor(home: Path, process: Processes) -> Iterator[Callable[..., Editor]]:
    """Starts `port42 acp` under the SDK's client."""

    def start(*words: str, **env: str) -> Editor:
        command = [acp_sdk.python(), str(_EDITOR), *port42_command(), "acp", *words]
        return Editor(process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | env))

    yield start
    stop_daemon_of(home)


@pytest.fixture
def lines(home: Path, process: Processes) -> Iterator[Callable[..., Lines]]:
    """Starts `port42 acp` with pipes."""

    def start(*words: str) -> Lines:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return Lines(process([*port42_command(), "acp", *words], **pipes))

    yield start
    stop_daemon_of(home)

"""A conversation at a terminal: lines in, turns through the daemon, until Ctrl-D."""

from __future__ import annotations

import gc
import os
import re
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from port42_cli import streams, terminal, views
from port42_cli.conversation.send import announce, go_on, mark_used, retry, send, show_reply, tell_outcome
from port42_cli.conversation.show import TurnResult
from port42_cli.views import agents, rich_printer, sessions, transcript
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import CommandError, Refused
from port42_protocol.messages.agents import GetAgent
from port42_protocol.messages.sessions import EndSession, FindSession, ListSessions

HELP = """\
/sessions      this agent's sessions
/switch REF    continue another one: last, an id, a prefix of 4 or more characters, a title
/retry         ask again what the last turn failed on
/agent         show the back end
/end           mark this session as ended, and quit
/help          this
Enter sends. Esc Enter, or \\ at the end of a line, begins another line.
Ctrl-C stops a reply or clears what is typed, Ctrl-D leaves, Ctrl-Z suspends.
//… sends a message that begins with a slash."""

# A path (/etc/hosts) is no command, and neither is anything after a space.
_COMMAND = re.compile(r"/([a-z]*)(?:\s+(.*))?", re.DOTALL)


def converse(client: Client, name: str, session_id: str | None, daemon: Daemon, if_busy: str) -> None:
    """Talk to the agent of that name, in that session or in one the first message begins."""
    gc.enable()  # a command starts without it, but this one may run for days
    agent = client.call(GetAgent(name))
    session = client.call(FindSession(session_id)) if session_id else None
    conversation = Conversation(client, agent.agent, session_id, if_busy)
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(_history(daemon.home)), multiline=True, key_bindings=_keys()
    )
    rich_printer.draw(transcript.boot_banner(agent, session), rich_printer.console(stderr=True))
    streams.notice("/help for help, Ctrl-D to quit")
    # Ctrl-D typed while a reply comes ends the conversation after it.
    with suppress(EOFError), terminal.ctrl_d(ends_input=False):
        while True:
            try:
                conversation.take(prompt.prompt(f"@{agent.agent} › ", prompt_continuation="  "))
            except CommandError as error:
                streams.failure(error)
            except KeyboardInterrupt:
                streams.notice("Interrupted. What was sent may have been recorded.")
    if conversation.session_id:
        onward = f"possess @{agent.agent} --session {conversation.session_id}"
        streams.notice(f"To continue: {daemon.typed()} {onward}")


class Conversation:
    """Handles input lines. `session_id` is None until a session begins.

    `take` raises `CommandError` when a line could not be carried out, EOFError when it ends the conversation.
    """

    def __init__(self, client: Client, agent: str, session_id: str | None, if_busy: str = "wait") -> None:
        self.session_id = session_id
        self._client = client
        self._agent = agent
        self._if_busy = if_busy
        self._explained = False

    def take(self, typed: str) -> None:
        command = _COMMAND.fullmatch(typed.strip())
        if typed.startswith("//"):
            self._send(typed[1:])
        elif command:
            self._command(command[1], (command[2] or "").strip())
        elif typed.strip():
            self._send(typed)

    def _command(self, name: str, rest: str) -> None:
        if name == "switch":
            self._switch(rest)
        elif name == "sessions":
            page = self._client.call(ListSessions(agent=self._agent))
            views.show(sessions.sessions(page.sessions, streams.now()))
        elif name == "retry":
            self._tell(retry(self._client, self._agent, self._begun("/retry"), show_reply()))
        elif name == "agent":
            streams.banner(agents.health(self._client.call(GetAgent(self._agent))))
        elif name == "end":
            self._end()
        elif name == "help":
            streams.banner(*HELP.splitlines())
        else:
            raise Refused(f"no command /{name}: /help lists them, //{name} sends it as a message")

    def _switch(self, ref: str) -> None:
        if not ref:
            raise Refused("/switch: expected a session: last, an id, a prefix or a title")
        session = go_on(self._client, self._agent, ref)
        self.session_id = mark_used(self._client, session)["session_id"]

    def _send(self, message: str) -> None:
        show = show_reply(with_others=self._if_busy == "follow")
        sending = partial(send, self._client, self._agent, message, self.session_id, show)
        self._tell(sending(if_busy=self._if_busy, on_begin=self._begin))

    def _begin(self, session_id: str) -> None:
        """Continue in this session, even if its first turn fails."""
        self.session_id = session_id
        announce(session_id)

    def _begun(self, command: str, advice: str = "") -> str:
        if self.session_id is None:
            raise Refused(f"{command}: no session has begun{advice}")
        return self.session_id

    def _tell(self, result: TurnResult) -> None:
        # Why nothing answers is worth saying once.
        tell_outcome(self._client, result, briefly=self._explained)
        self._explained = True

    def _end(self) -> None:
        session_id = self._begun("/end", "; Ctrl-D leaves")
        self._client.call(EndSession(session_id, self._agent))
        streams.banner(f"Ended {session_id}; a new message makes it active again.")
        raise EOFError


def _history(home: Path) -> Path:
    """The input history, readable by its owner only."""
    path = home / "history"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused(f"cannot write {path}: it is not a file")
            os.fchmod(file.fileno(), 0o600)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from None
    return path


def _keys() -> KeyBindings:
    keys = KeyBindings()
    # While the history is searched, Enter belongs to the search.
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def _send(event: KeyPressEvent) -> None:
        typed = event.current_buffer
        if typed.document.is_cursor_at_the_end and typed.text.endswith("\\"):
            typed.delete_before_cursor()
            typed.insert_text("\n")
        else:
            typed.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def _begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-z")
    def _suspend(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @keys.add("c-c", filter=typing)
    def _clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys

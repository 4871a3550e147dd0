"""The prompt of a conversation at a terminal: lines in, until Ctrl-D."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from port42_cli import streams, terminal
from port42_cli.conversation.slash import Conversation
from port42_cli.conversation.slash_completer import SlashCompleter
from port42_cli.plain_text import one_line
from port42_cli.views import rich_printer, transcript
from port42_client.errors import CommandError, Refused
from port42_protocol.messages.agents import GetAgent
from port42_protocol.messages.sessions import FindSession


def converse(talk: Conversation) -> None:
    """Talk to the agent, in the session or in one that the first message begins."""
    gc.enable()  # a command starts without it, but this one may run for days
    agent = talk.client.call(GetAgent(talk.agent))
    session = talk.client.call(FindSession(talk.session_id)) if talk.session_id else None
    talk.agent = agent.agent
    if talk.model and agent.backend != "none":
        agent = replace(agent, model=talk.model)
    prompt: PromptSession[str] = PromptSession(
        history=_history(talk.daemon.home),
        multiline=True,
        key_bindings=_keys(),
        completer=SlashCompleter(talk),
        complete_while_typing=False,  # Tab asks the daemon, and no other key waits for it
    )
    rich_printer.draw(transcript.boot_banner(agent, session), rich_printer.console(stderr=True))
    streams.notice("/help for help, Ctrl-D to quit")
    # Ctrl-D typed while a reply comes ends the conversation after it.
    with suppress(EOFError), terminal.ctrl_d(ends_input=False):
        _carry_out(talk.show_last_exchange)
        while True:
            draft, talk.draft = talk.draft, ""
            try:
                typed = prompt.prompt(_prompt(talk.agent), prompt_continuation="  ", default=draft)
            except KeyboardInterrupt:
                continue  # a signal, or the key where the terminal cannot draw: what was typed is cleared
            _carry_out(partial(talk.take, typed))
    if talk.session_id:
        onward = f"possess @{talk.agent} --session {talk.session_id}"
        streams.notice(f"To continue: {talk.daemon.typed()} {onward}")


def _carry_out(action: Callable[[], None]) -> None:
    """Whatever goes wrong is said, and the conversation continues."""
    try:
        action()
    except CommandError as error:
        streams.failure(error)
    except KeyboardInterrupt:
        streams.notice("Interrupted. What was sent may have been recorded.")


def _prompt(agent: str) -> StyleAndTextTuples:
    """With an empty line before it, between the turns."""
    return [("", "\n"), ("bold ansicyan", f"@{one_line(agent)} ›"), ("", " ")]


def _history(home: Path) -> History:
    """The input history, in a file that its owner alone can read; in memory where there is no home, because
    the daemon is on another machine."""
    path = home / "history"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused(f"cannot write {path}: it is not a file")
            os.fchmod(file.fileno(), 0o600)
    except FileNotFoundError:
        return InMemoryHistory()
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from None
    return FileHistory(path)


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

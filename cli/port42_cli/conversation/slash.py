"""A conversation: each line that is typed is a message or a command, which begins with a slash."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from port42_cli import plain_text, streams, views
from port42_cli.conversation import clipboard
from port42_cli.conversation.send import (
    CLIENT,
    announce,
    folder_for,
    go_on,
    mark_used,
    retry,
    send,
    show_reply,
    tell_outcome,
)
from port42_cli.conversation.show import TurnResult
from port42_cli.session_end import last_exchange, last_questions, last_reply
from port42_cli.views import agents, sessions, transcript
from port42_cli.views.parts import Column, Table
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, Refused
from port42_protocol.counting import count
from port42_protocol.messages.agents import Agent, GetAgent, ListModels
from port42_protocol.messages.forks_and_trash import ForkSession
from port42_protocol.messages.records import Record, UserMessage
from port42_protocol.messages.search import RenameSession
from port42_protocol.messages.sessions import EndSession, ListSessions

RunCommand = Callable[[Sequence[str]], None]
"""Runs a command of the program, given as its words. Raises `CommandError`."""

# A path (/etc/hosts) is no command, and neither is a slash before a space.
_COMMAND = re.compile(r"/([^\s/]+)(?:\s+(.*))?|/", re.DOTALL)

_WAYS_OUT = {"exit", "quit"}
"""Lines that leave, as in a shell: nobody means to ask a model that."""

_QUESTION_LINES = 20
"""Lines of a question that are shown again: it may have been a whole file that was pasted."""


@dataclass
class Conversation:
    """Handles input lines. `session_id` is None until a session begins.

    `take` raises `CommandError` when a line could not be carried out, EOFError when it ends the conversation.
    `draft` is what the next line begins with. `/fork` may change the `agent`; `model` and `mode`, where
    they are not its own, are asked for with each message.
    """

    client: Client
    daemon: Daemon
    run_command: RunCommand
    agent: str
    session_id: str | None
    if_busy: str = "wait"
    model: str | None = None
    mode: str | None = None
    draft: str = ""
    explained: bool = False

    def take(self, typed: str) -> None:
        stripped = typed.strip()
        if stripped.lower() in _WAYS_OUT:
            raise EOFError
        if command := _COMMAND.fullmatch(stripped):
            self._command(command[1] or "", (command[2] or "").strip())
        elif stripped.startswith("//") and _COMMAND.fullmatch(stripped[1:]):
            self._send(stripped[1:])
        elif stripped:
            self._send(typed)

    def show_last_exchange(self) -> None:
        """What was said last in the session, if there is one."""
        if self.session_id and (records := last_exchange(self.client, self.session_id)):
            streams.banner("")
            views.show(transcript.messages(_shortened(records)))

    def _command(self, name: str, rest: str) -> None:
        command = COMMANDS.get("exit" if name == "quit" else name.lower())
        if command is None:
            near = get_close_matches(name.lower(), COMMANDS)
            meant = f"; did you mean {' or '.join(f'/{other}' for other in near)}?" if near else ""
            raise Refused(
                f"no command /{name}{meant}",
                f"  Known: {' '.join(f'/{known}' for known in COMMANDS)}",
                f"  To send it as a message: //{name}",
            )
        if rest and not command.argument:
            raise Refused(f"/{name}: expected nothing behind it, got {rest!r}")
        if not rest and command.argument and not command.argument.startswith("["):
            raise Refused(f"/{name}: expected {command.argument}")
        command.run(self, rest)

    # --- sessions ---------------------------------------------------------------------------------

    def _new(self, _: str) -> None:
        self.session_id = None
        streams.banner("A new session begins with your next message.")

    def _switch(self, ref: str) -> None:
        if not ref:
            if not streams.can_draw():
                raise Refused("/switch: expected REF: this terminal cannot show sessions to choose from")
            # Imported here: a whole screen, which few conversations need.
            from port42_cli.picker.screen import pick

            if (picked := pick(self.daemon, self.agent)) is None:
                return
            ref = picked.session_id
        session = go_on(self.client, self.agent, ref)
        self.session_id = mark_used(self.client, session)["session_id"]
        self.show_last_exchange()

    def _list_sessions(self, _: str) -> None:
        page = self.client.call(ListSessions(agent=self.agent))
        views.show(sessions.sessions(page.sessions, streams.now()))
        if page.next_cursor:
            streams.notice(f"There are more: {plain_text.typed(f'sessions @{self.agent} -n 1000')}")

    def _rename(self, title: str) -> None:
        session = self.client.call(RenameSession(self._begun("rename"), title))
        streams.banner(f"{session.session_id}: {session.title}")

    def _fork(self, other: str) -> None:
        self._continue_in_fork(self._begun("fork"), to_agent=other or None)

    def _rewind(self, number: str) -> None:
        if not re.fullmatch("[1-9][0-9]{0,5}|", number, re.ASCII):
            raise Refused(f"/rewind: expected how many questions to take back, got {number!r}")
        turns = int(number or 1)
        session_id = self._begun("rewind")
        questions = last_questions(self.client, session_id, turns)
        if len(questions) < turns:
            raise Refused(
                f"/rewind: expected at most {len(questions)}, which is how many questions there are"
            )
        if questions[0].seq == 1:
            self._new("")  # a fork would have no record
        else:
            self._continue_in_fork(session_id, at_seq=questions[0].seq - 1)
            self.show_last_exchange()
        self._draft(questions[0].content)

    def _draft(self, question: str) -> None:
        """Have it changed and sent again, unless the terminal would obey a part of it."""
        if plain_text.visible(question) == question:
            self.draft = question
        else:
            streams.notice("The question has control characters, so it is not put on the line again.")

    def _end(self, _: str) -> None:
        session_id = self._begun("end", "; Ctrl-D leaves")
        self.client.call(EndSession(session_id, self.agent))
        streams.banner(f"Ended {session_id}; a new message makes it active again.")
        raise EOFError

    def _continue_in_fork(
        self, session_id: str, *, at_seq: int | None = None, to_agent: str | None = None
    ) -> None:
        fork = ForkSession(session_id, at_seq, to_agent, client=CLIENT, cwd=folder_for(self.client))
        session = self.client.call(fork)
        streams.banner(f"{session_id} stays as it is.")
        if session.agent != self.agent:
            self.agent, self.model, self.mode = session.agent, None, None
        self.session_id = session.session_id
        announce(session.session_id)

    # --- text -------------------------------------------------------------------------------------

    def _export(self, rest: str) -> None:
        session_id = self._begun("export")
        try:
            words = shlex.split(rest)
        except ValueError:
            raise Refused(f"/export: expected a file, and options of `port42 export`, got {rest!r}") from None
        if words and not words[0].startswith("-"):
            words.insert(0, "-o")
        elif not {"-o", "--output"} & set(words):
            words += ["-o", f"{session_id}.md"]
        self.run_command(["export", session_id, *words])

    def _copy(self, _: str) -> None:
        if not (reply := last_reply(self.client, self._begun("copy"))):
            raise Refused("/copy: the last question has no reply yet")
        streams.banner(clipboard.copy(reply))

    # --- the agent --------------------------------------------------------------------------------

    def _answered(self, command: str) -> Agent:
        """The agent, which has a back end. Raises `Refused`."""
        agent = self.client.call(GetAgent(self.agent))
        if agent.backend == "none":
            connect = plain_text.typed(f"agents connect @{self.agent} NAME")
            raise Refused(f"/{command}: no back end answers @{self.agent}", f"  To connect one: {connect}")
        return agent

    def _model(self, name: str) -> None:
        agent = self._answered("model")
        if name:
            self.model = None if name in {"-", agent.model} else name
        streams.banner(agents.health(agent))
        if self.model:
            streams.banner(f"In this conversation {self.model} is asked instead; /model - ends that.")
            self._warn_of_unlisted(self.model)

    def _warn_of_unlisted(self, model: str) -> None:
        """It may be asked all the same: servers know names that they do not list."""
        try:
            offer = self.client.call(ListModels(self.agent))
        except DaemonError:  # of an earlier version, which has no lists
            return
        if unlisted := agents.unlisted(offer, model):
            streams.notice(unlisted)

    def _mode(self, wish: str) -> None:
        agent = self._answered("mode")
        modes = [mode.id for mode in agent.modes or ()]
        if wish and wish != "-" and modes and wish not in modes:
            raise Refused(f"/mode: expected - or one of {', '.join(modes)}, got {wish}")
        if wish:
            self.mode = None if wish in {"-", agent.mode} else wish
        if self.mode:
            streams.banner(f"In this conversation the mode is {self.mode}; /mode - ends that.")
        elif agent.mode:
            streams.banner(f"The mode is {agent.mode}, the back end's own; there are {', '.join(modes)}.")
        else:
            streams.banner("The mode is the back end's own. An ACP agent's are known after a first turn.")

    def _show_agent(self, _: str) -> None:
        streams.banner(agents.health(self.client.call(GetAgent(self.agent))))

    # --- turns ------------------------------------------------------------------------------------

    def _send(self, message: str) -> None:
        show = show_reply(with_others=self.if_busy == "follow")
        streams.banner("")
        sending = partial(send, self.client, self.agent, message, self.session_id, show)
        asking = partial(sending, model=self.model, mode=self.mode)
        self._tell(asking(if_busy=self.if_busy, on_begin=self._begin))

    def _retry(self, _: str) -> None:
        session_id = self._begun("retry")
        streams.banner("")
        asking = partial(retry, self.client, self.agent, session_id, show_reply())
        self._tell(asking(model=self.model, mode=self.mode))

    def _begin(self, session_id: str) -> None:
        """Continue in this session, even if its first turn fails."""
        self.session_id = session_id
        announce(session_id)
        streams.banner("")

    def _begun(self, command: str, advice: str = "") -> str:
        if self.session_id is None:
            raise Refused(f"/{command}: no session has begun{advice}")
        return self.session_id

    def _tell(self, result: TurnResult) -> None:
        # Why nothing answers is worth saying once.
        tell_outcome(self.client, result, briefly=self.explained)
        self.explained = True

    def _leave(self, _: str) -> None:
        raise EOFError

    def _help(self, _: str) -> None:
        views.show([Table([*COMMANDS.items()], _HELP_COLUMNS, headings=False)])
        streams.banner(*_KEYS)


class Command(NamedTuple):
    """What stands behind its name (in brackets where it may be left out), and what it does."""

    argument: str
    help: str
    run: Callable[[Conversation, str], None]


COMMANDS = {
    "new": Command("", "begin another session with the next message", Conversation._new),
    "sessions": Command("", "list this agent's sessions", Conversation._list_sessions),
    "switch": Command(
        "[REF]",
        "continue another session: last, an id or 4 characters of it, a title; without REF, choose one",
        Conversation._switch,
    ),
    "rename": Command("TITLE", "give this session another title", Conversation._rename),
    "fork": Command(
        "[@AGENT]", "continue in a copy of this session, or let @AGENT do so", Conversation._fork
    ),
    "rewind": Command("[N]", "take back the last N questions (1), in a fork", Conversation._rewind),
    "retry": Command("", "ask again what the last turn failed on", Conversation._retry),
    "copy": Command("", "put the last reply on the clipboard", Conversation._copy),
    "export": Command(
        "[FILE]", "write this session to FILE, as .md, .html or .json (SESSION.md)", Conversation._export
    ),
    "agent": Command("", "show the back end", Conversation._show_agent),
    "model": Command(
        "[NAME]",
        "show the model, or ask another one in this conversation (-: the agent's)",
        Conversation._model,
    ),
    "mode": Command(
        "[ID]",
        "show the mode, or have the back end work in another one in this conversation (-: its own)",
        Conversation._mode,
    ),
    "end": Command("", "mark this session as ended, and leave", Conversation._end),
    "exit": Command("", "leave; so do exit, quit and Ctrl-D", Conversation._leave),
    "help": Command("", "show this", Conversation._help),
}

_HELP_COLUMNS: tuple[Column[tuple[str, Command]], ...] = (
    Column("", lambda row: f"/{row[0]} {row[1].argument}".rstrip(), "bold"),
    Column("", lambda row: row[1].help, fit="fold"),
)
_KEYS = (
    "Enter sends, Tab completes. Esc Enter, or \\ at the end of a line, begins another line.",
    "Ctrl-C stops a reply or clears what is typed, Ctrl-D leaves, Ctrl-Z suspends.",
    "//word sends a message that begins with /word.",
)


def _shortened(records: Iterable[Record]) -> Iterator[Record]:
    """The records with long questions cut."""
    for record in records:
        if isinstance(record, UserMessage):
            lines = record.content.split("\n")
            if (more := len(lines) - _QUESTION_LINES) > 0:
                cut = (*lines[:_QUESTION_LINES], f"… {count(more, 'more line')}")
                yield replace(record, content="\n".join(cut))
                continue
        yield record

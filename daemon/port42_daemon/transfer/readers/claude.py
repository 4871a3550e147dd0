"""Claude Code's transcripts: ``~/.claude/projects/<folder>/<session>.jsonl``, an entry a line.

The format is not documented; this is derived from files of Claude Code 1.0 to 2.1. A sub-agent has a file of
its own (``<session>/subagents/agent-<id>.jsonl``, before 2.1 ``agent-<id>.jsonl``) or entries that are
marked as a side chain. Entries name the one that they follow: two prompts that follow the same one are on
branches, of which Claude Code goes on with the later one (``/rewind``). Messages that the program itself
sends as the user are left out.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import UNSET, Raw, field

from port42_daemon.activity import update_tasks
from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import base, values
from port42_daemon.transfer.readers.base import SessionInfo, Skipped
from port42_daemon.transfer.readers.claude_entries import (
    Block,
    Entry,
    Usage,
    decoded,
    failure_of,
    is_human,
    is_late,
    original_of,
    text_of,
    usual,
)
from port42_daemon.transfer.readers.claude_words import (
    command_of,
    element,
    is_caveat,
    is_local,
    is_unknown_command,
    of_channel,
    plan_title,
    refusal,
    typed,
    typed_answers,
)
from port42_daemon.transfer.readers.files import json_value, whole
from port42_daemon.transfer.readers.line_reader import LineReader
from port42_protocol.encoding import encode

_CONTINUED = "This session is being continued from a previous conversation that ran out of context."
_NO_CONTENT = "(no content)"
"""What the program writes where the model said nothing."""
_STARTING = ("Skill", "SlashCommand")
"""Tools with which the model itself runs a command."""
_SUB_AGENTS = 1000
_AGENT = "agent-"
_OWN_AGENTS = ("acompact-", "aprompt_suggestion-")
"""How ids of sub-agents begin that the program runs for itself: to sum up, and to suggest the next prompt."""
_ASIDE = ("aside_question-", "<system-reminder>This is a side question from the user")
"""How the id of one begins that answers a question aside, and the question, behind a copy of the session."""
_ID = 200
"""Characters of an id that are used."""
_QUEUED, _HELD, _LONG = 50, 20, 64 * 1024
"""Limits of queued messages, of entries that are held back, and of the length of each."""


class State(base.State):
    """`uuids` are the latest of the file's own entries, `chains` sub-agents by the uuids of their entries."""

    file_name: str = ""
    first_id: str = ""
    latest_id: str = ""
    description: str | None = None
    uuids: dict[str, None] = field(default_factory=dict)
    chains: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)
    """Summaries by the uuid of their last entry, which is in this file or in another."""
    followed: dict[str, str] = field(default_factory=dict)
    """The latest prompt that follows an entry, by the entry's uuid: their uuids."""
    shell: str = ""
    """The uuid of a command that the person ran, until its output comes."""
    named: str | None = None
    titled: str | None = None
    summarised: str | None = None
    planned: str | None = None
    usage: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Tokens of a model's message: each of its parts has an entry with the usage so far."""
    queue: list[str] = field(default_factory=list)
    handed: dict[str, int] = field(default_factory=dict)
    """Queued messages that were added already: two kinds of entries report each."""
    absorbed: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Queued messages, their locations and times, that go to the model with a tool's result: the entry that a
    fork has, too, comes behind that."""
    command: tuple[str, str, str | None, str, str] | None = None
    """A session's slash command, its time, location and uuid, until it is known who replies to it."""
    is_local: bool = False
    """Whether that has the name of a command of the program's."""
    is_started: bool = False
    """Whether the model has just run a command: its entry, as if it was typed, follows."""
    caveat: bool = False
    warmups: dict[str, None] = field(default_factory=dict)
    asides: dict[str, None] = field(default_factory=dict)
    """Sub-agents whose question was read."""
    begun: bool = False
    early: dict[str, tuple[str, str, str, str | None]] = field(default_factory=dict)
    """Results that stand before their calls, by their ids: session, block, details, and time."""
    held: list[tuple[str, str]] = field(default_factory=list)
    """Locations and entries that came before the first prompt."""
    tasks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The plan's steps and their states, by their ids."""


class Reader(LineReader):
    """Reads one file."""

    format = "claude"
    state_type = State
    entry_type = Entry
    usual = staticmethod(usual)
    state: State

    def take_path(self, path: Path) -> None:
        """A sub-agent's description is in a file beside its own."""
        if not path.name.startswith(_AGENT):
            return
        try:
            data, _ = whole(path.with_suffix(".meta.json"), 64 * 1024)
            self.state.description = values.one_line(values.mapping(json_value(data)).get("description"))
        except Skipped:
            pass

    def take(self, entry: Entry, location: str) -> None:
        """A terminal session writes its first prompt behind the reply to it, which is therefore held back."""
        state = self.state
        if not state.begun and entry.type in ("assistant", "user", "attachment"):
            prompt = entry.type == "user" and entry.is_meta is not True
            line = encode(entry) if not prompt and (state.held or is_late(entry)) else b""
            if line and len(state.held) < _HELD and len(line) < _LONG:
                state.held.append((location, line.decode()))
                return
            state.begun = True
            if entry.type != "user" or entry.parent_uuid:
                self._take_first()
        self._take(entry, location)
        if state.begun and state.held:
            self._take_first()

    def take_held(self) -> None:
        self._take_first()
        self._end_early()
        self._end_absorbed()
        self._end_command()

    def has_held(self) -> bool:
        return bool(self.state.held or self.state.early or self.state.absorbed or self._has_words())

    def _take_first(self) -> None:
        """Take in what came before the first prompt."""
        held, self.state.held = self.state.held, []
        self.state.begun = self.state.begun or bool(held)
        for location, line in held:
            self._take(msgspec.json.decode(line, type=Entry), location)

    def _take(self, entry: Entry, location: str) -> None:
        uuid = (entry.uuid or "")[:_ID]
        if uuid and (uuid in self.state.uuids or uuid in self.state.chains):
            return  # a copy, of which Claude Code takes one, too
        key = self._key(entry)
        if key and self._is_left_out(key, entry):
            return
        match entry.type:
            case "user":
                self._take_user(key, entry, location)
            case "assistant":
                self._take_assistant(key, entry, location)
            case _:
                self._take_other(entry, location)
        if entry.forked_from is None and entry.request_session_id is None:
            return
        if (original := original_of(entry)) is not None:
            info = self.state.sessions[key]
            info.forked_from, info.shared = original, info.records

    def _is_left_out(self, key: str, entry: Entry) -> bool:
        """Whether it is of a sub-agent that the program runs for itself, or an entry of the parent's before a
        question aside."""
        if key in self.state.warmups or key.startswith(_OWN_AGENTS):
            return True
        if not key.startswith(_ASIDE[0]) or key in self.state.asides:
            return False
        is_copy = entry.type != "user" or not text_of(entry.message.content).startswith(_ASIDE[1])
        if not is_copy:
            values.remember(self.state.asides, key, None)
        return is_copy

    def _take_other(self, entry: Entry, location: str) -> None:
        match entry.type:
            case "queue-operation":
                self._take_queued(entry, location)
            case "attachment":
                self._take_attachment(entry, location)
            case "summary":
                leaf = values.short(entry.leaf_uuid) or ""
                values.remember(self.state.summaries, leaf, values.one_line(entry.summary) or "")
                self._retitle()
            case "custom-title":
                self.state.named = values.one_line(entry.custom_title) or self.state.named
                self._retitle()
            case "ai-title":
                self.state.titled = values.one_line(entry.ai_title) or self.state.titled
                self._retitle()

    def _key(self, entry: Entry) -> str:
        """The session that an entry belongs to: "" or a sub-agent's."""
        state, own = self.state, self.state.sessions[""]
        uuid, session_id = (entry.uuid or "")[:_ID], entry.session_id and entry.session_id[:256]
        if session_id and session_id != state.latest_id:
            state.latest_id = session_id
            # Archived files have other names, and the file of a resumed session contains several ids.
            state.file_name = state.file_name or own.source_id
            state.first_id = state.first_id or session_id
            state.has_own_id = state.has_own_id or session_id == state.file_name
            own.source_id = state.file_name if state.has_own_id else state.first_id
        agent = entry.agent_id and values.short(entry.agent_id)
        file_name = state.file_name or own.source_id
        if file_name.startswith(_AGENT):
            agent = agent or file_name.removeprefix(_AGENT)
        elif entry.is_sidechain is not True:
            if own.cwd is None:
                own.cwd = values.folder(entry.cwd)
            values.remember(state.uuids, uuid)
            if uuid in state.summaries:
                self._retitle()
            return ""
        key = agent or state.chains.get(values.short(entry.parent_uuid) or "") or uuid or "sub-agent"
        values.remember(state.chains, uuid, key)
        if key not in state.sessions:
            if len(state.sessions) > _SUB_AGENTS:
                raise Skipped(f"it has more than {_SUB_AGENTS:,} sub-agents")
            parent = session_id or own.source_id
            state.sessions[key] = SessionInfo(f"{parent}/{key}", parent=parent)
            started = [call.title for call in own.calls.values() if call.name in ("Task", "Agent")]
            state.sessions[key].add_title(started[0] if len(started) == 1 else state.description)
        info = state.sessions[key]
        info.cwd = info.cwd or values.folder(entry.cwd)
        return key

    def _retitle(self) -> None:
        """A title that a person gave comes first, then those of the program."""
        state, info = self.state, self.state.sessions[""]
        # A summary at the beginning may belong to another session.
        own = [text for leaf, text in state.summaries.items() if text and leaf in state.uuids]
        state.summarised = own[-1] if own else state.summarised
        for title in (state.planned, *own, state.summarised, state.titled, state.named):
            info.add_title(title)

    def _take_user(self, key: str, entry: Entry, location: str) -> None:
        state, when = self.state, values.timestamp_of(entry.timestamp)
        content = entry.message.content
        if isinstance(content, list):
            results = [block for block in content if block.type == "tool_result"]
            for block in results:
                self._take_result(key, block, entry.tool_use_result, when)
            if len(results) == len(content):
                return
        text = content if isinstance(content, str) else text_of(content)
        is_started, state.is_started = state.is_started, False
        if (entry.is_meta is True and of_channel(text) is None) or is_caveat(text):
            # The expansion of a slash command, or the caveat before local ones.
            state.caveat = is_caveat(text)
            follows = state.command is not None and entry.parent_uuid == state.command[4]
            self._end_command(answered=not state.caveat, expanded=follows and not text.startswith("<"))
        elif entry.is_compact_summary is True or text.startswith(_CONTINUED):
            self.event(key, COMPACTED, when, content=self.bounded(text))
        elif "<local-command-std" in text[:40]:
            state.command = None
        elif text.startswith(("<bash-input>", "<bash-std")):
            self._take_shell(key, text, when, (entry.uuid or "unknown")[:_ID])
        elif (entry.origin is None or is_human(values.mapping(entry.origin))) and not (
            is_started and command_of(text)
        ):
            words = typed(text) if isinstance(content, str) else text_of(content, typed, pictures=True)
            if key == "" and words and entry.parent_uuid is not UNSET:
                self._take_branch(entry, when)
            self._take_words(key, text, words, (when, location, (entry.uuid or "")[:_ID]))

    def _take_branch(self, entry: Entry, when: str | None) -> None:
        """A prompt that follows what another one followed takes that one back."""
        uuid, parent = (entry.uuid or "")[:_ID], (entry.parent_uuid or "")[:_ID]
        before = self.state.followed.get(parent, uuid)
        values.remember(self.state.followed, parent, uuid)
        if before != uuid:
            self._end_command()
            self._end_early()
            prompts = self.state.sessions[""].prompts
            if before in prompts:
                self.roll_back("", len(prompts) - prompts.index(before), when)

    def _take_shell(self, key: str, text: str, when: str | None, uuid: str) -> None:
        """A command that the person ran, or what it printed."""
        command = element(text, "bash-input")
        if command is not None:
            self.state.shell = uuid
            self.call(key, uuid, "bash", {"command": command.strip()}, when, kind="execute")
        elif self.state.shell:
            printed = [element(text, "bash-stdout"), element(text, "bash-stderr")]
            self.result(key, self.state.shell, "\n".join(filter(None, printed)), when)
            self.state.shell = ""

    def _take_words(self, key: str, text: str, words: str, where: tuple[str | None, str, str]) -> None:
        """What a person typed: `words` are `text` without the program's elements."""
        state = self.state
        if (command := command_of(text)) is not None:
            self._end_command()
            state.command, state.is_local = (key, command, *where), is_local(command)
            return
        if is_unknown_command(words):
            # A person may quote it to the model.
            known = state.caveat or state.command
            state.command, state.is_local = None if known else (key, words, *where), False
        elif key and words == "Warmup" and not self.state.sessions[key].first_mark:
            state.warmups[key] = None  # of version 2.0: the program starts them to fill the model's cache
        elif words:
            self._end_command()
            self._end_early()
            if key == "" and not self.state.sessions[""].first_mark and (plan := plan_title(words)):
                state.planned = values.one_line(plan)
                self._retitle()
            self.prompt(key, words, *where)
        state.caveat = False

    def _has_words(self) -> bool:
        """Whether there is a slash command with arguments, which count though nobody replies."""
        command = self.state.command
        return command is not None and command[1][0] == "/" and " " in command[1] and not self.state.is_local

    def _end_command(self, *, answered: bool = False, expanded: bool = False) -> None:
        """`expanded`: the model was told what the command means."""
        counts = expanded or (answered and not self.state.is_local) or self._has_words()
        command, self.state.command = self.state.command, None
        if command is not None and counts:
            self.prompt(*command)

    def _take_result(self, key: str, block: Block, details: Raw, when: str | None) -> None:
        """Newer versions write a result before its call now and then."""
        call_id, early = (block.tool_use_id or "unknown")[:256], self.state.early
        if call_id in self.state.sessions[key].calls or len(early) >= _HELD:
            self._end_call_of(key, call_id, block, details, when)
            return
        held = encode(block).decode()
        if len(held) + len(bytes(details)) < _LONG:
            early[call_id] = (key, held, bytes(details).decode(), when)
        else:
            self._end_call_of(key, call_id, block, details, when)

    def _end_early(self) -> None:
        """Add the results whose calls are not there: the file's beginning may have been cut off."""
        for call_id in list(self.state.early):
            self._end_with_early(call_id)

    def _end_with_early(self, call_id: str) -> None:
        if (early := self.state.early.pop(call_id, None)) is not None:
            key, block, details, when = early
            result = msgspec.json.decode(block, type=Block)
            self._end_call_of(key, call_id, result, Raw(details.encode()), when)

    def _end_call_of(self, key: str, call_id: str, block: Block, details: Raw, when: str | None) -> None:
        call, content = self.state.sessions[key].calls.get(call_id), block.content
        if isinstance(content, str) and content.startswith("<persisted-output>"):
            # A long output is in a file; what the program kept of it is in the details.
            content = values.mapping(decoded(details)).get("stdout") or content
        output, words = refusal(content)
        self.result(key, call_id, output, when, failed=block.is_error is True)
        if call is not None and call.name == "AskUserQuestion" and not words:
            words = typed_answers(decoded(details))
        if words:
            self.message(key, "user", words, when)
        if call is not None and call.name in _STARTING:
            self.state.is_started = True
        if call is not None and call.name in {"TaskCreate", "TaskUpdate", "TaskList"}:
            tasks = self.state.tasks
            if len(bytes(details)) < _LONG and update_tasks(tasks, decoded(details)):
                steps = [{"content": step, "status": state} for step, state in tasks.values()]
                self.plan(key, steps, when)

    def _take_assistant(self, key: str, entry: Entry, location: str) -> None:
        when = values.timestamp_of(entry.timestamp)
        message = entry.message
        content = message.content
        model = values.short(message.model)
        uuid = (entry.uuid or "")[:_ID]
        if entry.is_api_error_message is True or model == "<synthetic>":
            self._take_failure(key, entry, (when, location, uuid))
            return
        self.state.is_started = False
        if self.state.command or self.state.absorbed:
            self._end_command(answered=True)
            self._end_absorbed()
        info = self.state.sessions[key]
        info.model = model or info.model
        if message.usage is not None:
            self._count(info, message.usage, (message.id or "")[:_ID])
        if not isinstance(content, list):
            self.message(key, "assistant", content or "", when, location, uuid)
            return
        for block in content:
            kind = block.type or ""
            if kind == "text" and block.text != _NO_CONTENT:
                self.message(key, "assistant", block.text or "", when, location, uuid)
            elif kind == "thinking":
                self.thought(key, block.thinking or "", when)
            elif kind in {"tool_use", "server_tool_use", "mcp_tool_use"}:
                self._take_call(key, block, when)
            elif kind.endswith("_tool_result"):
                self._take_result(key, block, Raw(b"null"), when)

    def _take_failure(self, key: str, entry: Entry, where: tuple[str | None, str, str]) -> None:
        text = text_of(entry.message.content)
        if text.strip() != "No response requested.":
            self.message(key, "error", text, *where, kind=failure_of(entry))

    def _take_call(self, key: str, block: Block, when: str | None) -> None:
        name, given, call_id = values.short(block.name), block.input, (block.id or "unknown")[:256]
        self.call(key, call_id, name, given, when)
        self._end_with_early(call_id)
        if name == "TodoWrite":
            self.plan(key, values.mapping(given).get("todos"), when)

    def _count(self, info: SessionInfo, usage: Usage, message_id: str) -> None:
        sent = (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        sent += usage.cache_read_input_tokens or 0
        received = usage.output_tokens or 0
        if not sent and not received and usage == Usage():
            return
        before = self.state.usage.pop(message_id, None)
        if before is None:
            info.add_tokens(sent, received)
        else:
            info.add_tokens(max(sent - before[0], 0), max(received - before[1], 0))
            sent, received = max(sent, before[0]), max(received, before[1])
        values.remember(self.state.usage, message_id, (sent, received))

    def _take_queued(self, entry: Entry, location: str) -> None:
        """Text typed during a reply. `remove` sends it to the model; `popAll` returns it to the input."""
        content, queue = values.text_of(entry.content), self.state.queue
        match entry.operation:
            case "enqueue":
                queue.append(content[:_LONG])
                del queue[:-_QUEUED]
            case "popAll":
                queue.clear()
            case "dequeue" if queue:  # an ordinary entry follows
                queue.pop(0)
            case "remove" if queue:
                queued = content if content in queue else queue[0]
                queue.remove(queued)
                when = values.timestamp_of(entry.timestamp)
                if entry.reason == "absorbed_mid_turn":
                    self.state.absorbed.append((queued, location, when))
                else:
                    self._hand_over(queued, "queue-operation", (when, location, ""))

    def _take_attachment(self, entry: Entry, location: str) -> None:
        attachment = values.mapping(entry.attachment)
        is_prompt = attachment.get("commandMode", "prompt") == "prompt"
        if (
            attachment.get("type") == "queued_command"
            and is_prompt
            and is_human(values.mapping(attachment.get("origin")))
        ):
            content = attachment.get("prompt")
            text = values.text_of(content)[:_LONG]
            absorbed = next((queued for queued in self.state.absorbed if queued[0] == text), None)
            if absorbed is not None:
                self.state.absorbed.remove(absorbed)
            where = (values.timestamp_of(entry.timestamp), location, (entry.uuid or "")[:_ID])
            self._hand_over(content, "attachment", where, is_alone=absorbed is None)

    def _end_absorbed(self) -> None:
        """Add the absorbed messages that no attachment reported."""
        absorbed, self.state.absorbed = self.state.absorbed, []
        for text, location, when in absorbed:
            self._hand_over(text, "queue-operation", (when, location, ""))

    def _hand_over(
        self, content: object, kind: str, where: tuple[str | None, str, str], *, is_alone: bool = True
    ) -> None:
        """Add a queued message, unless the other kind of entry reported it before.

        `is_alone`: the other kind may still come.
        """
        handed, text = self.state.handed, values.text_of(content)
        identity = blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
        other = f"{'attachment' if kind == 'queue-operation' else 'queue-operation'} {identity}"
        if handed.get(other, 0) > 0:
            handed[other] -= 1
            return
        if is_alone:
            values.remember(handed, f"{kind} {identity}", handed.get(f"{kind} {identity}", 0) + 1)
        self.message("", "user", values.text_of(content, typed, pictures=True), *where)

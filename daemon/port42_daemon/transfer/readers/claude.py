"""Claude Code's transcripts: ``~/.claude/projects/<folder>/<session>.jsonl``, an entry a line.

The format is not documented; this is derived from files of Claude Code 1.0 to 2.1. Texts of the user and the
model are imported, each once, but not reasoning, tool calls and their results, sub-agents, and messages that
the program itself sends as the user.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession, SubAgent
from port42_daemon.transfer.readers.files import Lines, json_objects
from port42_protocol.messages.records import TurnRecord, UserMessage

# Elements that the program adds to the user's text or replaces it with.
_PROGRAM = (
    r"(?:system-reminder|ide_[a-z_]{1,40}|local-command-[a-z]{1,20}|bash-[a-z]{1,20}|user-memory-input"
    r"|new-diagnostics|task-notification|teammate-message|post-tool-use-hook|user-prompt-submit-hook)"
)
_OPENING = re.compile(rf"\s*<({_PROGRAM})(?:\s[^<>]{{0,500}})?>")
_CLOSING = re.compile(rf"</({_PROGRAM})>\s*\Z")
_INTERRUPTED = re.compile(r"\s*\[Request interrupted by user[^\]\n]{0,40}\]\s*")
_UNKNOWN_COMMAND = re.compile(r"Unknown (?:skill|slash command|command): \S{1,200}\s*")
_PLAN = re.compile(r"Implement the following plan:\s{1,20}(?:#{1,6}\s)?([^\n]{1,400})")
_CONTINUED = "This session is being continued from a previous conversation that ran out of context."
# Commands of the program itself, to which no model replies.
_LOCAL = (
    " add-dir agents bashes clear compact config context cost doctor exit export help hooks ide login logout"
    " mcp memory model permissions plugin privacy-settings quit release-notes rename resume rewind status"
    " statusline tasks terminal-setup theme todos upgrade usage vim "
)
_QUEUED, _REMEMBERED = 50, 100_000
"""Limits of queued messages and of remembered ids, against hostile files."""
_INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_ERRORS = {
    "rate_limit": "rate_limit",
    "overloaded": "rate_limit",
    "authentication_failed": "needs_auth",
    "invalid_request": "refused",
}


def read(lines: Lines, source_id: str) -> ParsedSession:
    """The session of one file; `source_id` is the file's name. Raises `Skipped`."""
    if source_id.startswith("agent-"):
        raise SubAgent
    reader = _Reader(ParsedSession(source_id))
    for location, entry in json_objects(lines, reader.session):
        reader.take(entry, location)
    return reader.finished()


class _Reader:
    def __init__(self, session: ParsedSession) -> None:
        self.session = session
        self._ids: dict[str, None] = {}
        self._uuids: set[int] = set()
        self._summaries: dict[int, str] = {}
        """Summaries, by the hash of the uuid of their last entry, which is in this file or in another."""
        self._named: str | None = None
        self._usage: dict[str, tuple[int, int]] = {}
        self._queue: deque[str] = deque(maxlen=_QUEUED)
        self._handed: Counter[tuple[str, int]] = Counter()
        """Queued messages that were added already: two kinds of entries report each."""
        self._command: tuple[str, str | None, str] | None = None
        """A slash command, its time and location, until it is known whether a model replies to it."""
        self._caveat = False
        self._sidechain = False

    def take(self, entry: Mapping[str, Any], location: str) -> None:
        if len(self._uuids) < _REMEMBERED:
            self._uuids.add(hash(str(entry.get("uuid"))))
        if entry.get("isSidechain") is True:
            self._sidechain = True
            return
        match entry.get("type"):
            case "user":
                self._take_user(entry, location)
            case "assistant":
                self._take_assistant(entry, location)
            case "queue-operation":
                self._take_queued(entry, location)
            case "attachment":
                self._take_attachment(entry, location)
            case "summary" if len(self._summaries) < _REMEMBERED:
                summary = values.one_line(entry.get("summary"))
                self._summaries[hash(str(entry.get("leafUuid")))] = summary or ""
            case "custom-title":
                self._named = values.one_line(entry.get("customTitle")) or self._named
                self.session.add_title(self._named)
            case "ai-title":
                self.session.add_title(values.one_line(entry.get("aiTitle")))

    def finished(self) -> ParsedSession:
        session = self.session
        self._end_command(answered=bool(self._command and " " in self._command[0]))
        # Archived files have other names, and the file of a resumed session contains several ids.
        if self._ids and session.source_id not in self._ids:
            session.source_id = next(iter(self._ids))
        if self._sidechain and not session.marks and not session.problems:
            raise SubAgent
        session.finished()
        # A summary at the beginning may belong to another session.
        own = [summary for leaf, summary in self._summaries.items() if leaf in self._uuids and summary]
        session.titles.update(own)
        session.title = self._named or session.title or (own[-1] if own else self._plan())
        return session

    def _plan(self) -> str | None:
        """The heading of a plan to implement: the text before it is the same in many sessions."""
        prompts = (record.content for record in self.session.records if isinstance(record, UserMessage))
        plan = _PLAN.match(next(prompts, ""))
        return values.one_line(plan[1]) if plan else None

    def _begin(self, entry: Mapping[str, Any]) -> str | None:
        """The time of an entry of the session."""
        self.session.cwd = self.session.cwd or values.folder(entry.get("cwd"))
        identity = values.short(entry.get("sessionId"), 256)
        if identity and len(self._ids) < _REMEMBERED:
            self._ids[identity] = None
        self.session.mark = values.short(entry.get("uuid")) or ""
        return values.timestamp_of(entry.get("timestamp"))

    def _take_user(self, entry: Mapping[str, Any], location: str) -> None:
        when = self._begin(entry)
        content = values.mapping(entry.get("message")).get("content")
        if entry.get("isMeta") is True:
            # The expansion of a slash command, or the caveat before local ones.
            self._caveat = "<local-command-caveat>" in values.text_of(content)
            self._end_command(answered=not self._caveat)
            return
        text = values.text_of(content)
        if entry.get("isCompactSummary") is True or text.startswith(_CONTINUED) or not _is_human(entry):
            return
        if "<local-command-std" in text[:40]:
            self._command = None
            return
        if (command := _command(text)) is not None:
            self._end_command(answered=False)
            self._command = (command, when, location)
            return
        words = values.text_of(content, _typed, pictures=True)
        if _UNKNOWN_COMMAND.fullmatch(words) and (self._caveat or self._command):
            self._command = None
        elif words:
            self._end_command(answered=False)
            self.session.add_message("user", words, when, location)
        self._caveat = False

    def _end_command(self, *, answered: bool) -> None:
        command, self._command = self._command, None
        if command is not None and answered and f" {command[0][1:].split(' ')[0]} " not in _LOCAL:
            self.session.add_message("user", *command)

    def _take_assistant(self, entry: Mapping[str, Any], location: str) -> None:
        when = self._begin(entry)
        message = values.mapping(entry.get("message"))
        text = values.text_of(message.get("content"))
        model = values.short(message.get("model"))
        if entry.get("isApiErrorMessage") is True or model == "<synthetic>":
            if text.strip() != "No response requested.":
                kind = _ERRORS.get(str(entry.get("error")), "crashed")
                self.session.add_message("error", text, when, location, kind=kind)
            return
        self._end_command(answered=True)
        turn = TurnRecord(backend="claude", model=model)
        self.session.add_message("assistant", text, when, location, turn=turn)
        self._count(message)

    def _count(self, message: Mapping[str, Any]) -> None:
        """Each part of a reply has an entry with the usage so far; the last one is complete."""
        usage, identity = values.mapping(message.get("usage")), str(message.get("id"))
        if not usage:
            return
        sent = sum(values.count(usage.get(name)) or 0 for name in _INPUT_TOKENS)
        received = values.count(usage.get("output_tokens")) or 0
        before = self._usage.pop(identity, (0, 0))
        if len(self._usage) >= _REMEMBERED:
            self._usage.clear()
        self._usage[identity] = (max(sent, before[0]), max(received, before[1]))
        self.session.add_tokens(max(sent - before[0], 0), max(received - before[1], 0))

    def _take_queued(self, entry: Mapping[str, Any], location: str) -> None:
        """Text typed during a reply. `remove` sends it to the model; `popAll` returns it to the input."""
        content = values.text_of(entry.get("content"))
        match entry.get("operation"):
            case "enqueue":
                self._queue.append(content)
            case "popAll":
                self._queue.clear()
            case "dequeue" if self._queue:  # an ordinary entry follows
                self._queue.popleft()
            case "remove" if self._queue:
                queued = content if content in self._queue else self._queue[0]
                self._queue.remove(queued)
                self._hand_over(queued, entry, location)

    def _take_attachment(self, entry: Mapping[str, Any], location: str) -> None:
        attachment = values.mapping(entry.get("attachment"))
        is_prompt = attachment.get("commandMode", "prompt") == "prompt" and _is_human(attachment)
        if attachment.get("type") == "queued_command" and is_prompt:
            self._hand_over(attachment.get("prompt"), entry, location)

    def _hand_over(self, content: object, entry: Mapping[str, Any], location: str) -> None:
        """Add a queued message, unless the other kind of entry reported it before."""
        kind, identity = str(entry.get("type")), hash(values.text_of(content))
        other = ("attachment" if kind == "queue-operation" else "queue-operation", identity)
        if self._handed[other] > 0:
            self._handed[other] -= 1
            return
        self._handed[kind, identity] += 1
        when = self._begin(entry)
        text = values.text_of(content, _typed, pictures=True)
        self.session.add_message("user", text, when, location)


def _is_human(entry: Mapping[str, Any]) -> bool:
    """False for what the program itself sent, such as the end of a task, if the version marks that."""
    return values.mapping(entry.get("origin")).get("kind") in (None, "human")


def _command(text: str) -> str | None:
    """A slash command as it was typed, with its arguments."""
    name = _element(text, "command-name") if text.lstrip().startswith("<command-") else None
    if name is None:
        return None
    return f"/{name.strip().removeprefix('/')} {_element(text, 'command-args') or ''}".strip()


def _element(text: str, name: str) -> str | None:
    _, opened, rest = text.partition(f"<{name}>")
    inner, closed, _ = rest.partition(f"</{name}>")
    return inner if opened and closed else None


def _typed(text: str) -> str:
    """The text without the program's elements."""
    if _INTERRUPTED.fullmatch(text):
        return ""
    begin, end = 0, len(text)
    while opening := _OPENING.match(text, begin, end):
        closed_at = text.find(f"</{opening[1]}>", opening.end(), end)
        if closed_at < 0 or opening[1] == "task-notification":  # the path of its output follows it
            return ""
        begin = closed_at + len(opening[1]) + 3
    while closing := _CLOSING.search(text, max(begin, end - 60), end):
        start = text.rfind(f"<{closing[1]}>", begin, end)
        if start < 0:
            break
        end = start
    return text if (begin, end) == (0, len(text)) else text[begin:end].strip()

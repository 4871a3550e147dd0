"""Gemini CLI's chats: ``~/.gemini/tmp/<project>/chats/session-<time>-<id>.jsonl``, a change a line.

The first line is the session; then come messages, which are written again when their tool calls have ended,
and ``{"$set": {…}}``, with all messages after a resume or a compression; ``{"$rewindTo": ID}`` takes back
that message and those after it. Older chats are one JSON document,
``session-<time>-<id>.json``. A sub-agent has a file of its own, ``chats/<session>/<id>.jsonl``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from port42_daemon.config import SessionsConfig
from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import base, values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped, SubAgent
from port42_daemon.transfer.readers.files import LINE_BYTES, whole
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_daemon.transfer.readers.line_reader import LineReader, read_whole

# What the program tells the model as the user.
_CONTEXT = re.compile(
    r"\s*(?:<(?:session|hook)_context>|System: Potential loop detected\.|\[System: You previously "
    r"|Here is (?:the|a summary of changes in the) user's editor context\b)"
)
_REFERENCED = re.compile(r"--- Content from referenced (?:files|context) ---\n")
_REFERENCED_END = "--- End of content ---"
_OUR_SHELL = "I ran the following shell command:\n"
_SNAPSHOT = re.compile(r"\s*<state_snapshot>")
_OUTPUT = re.compile(
    r"\A<untrusted_context>\n(?:Output: )?|\n?(?:Process Group PGID: \d{1,10}\n)?</untrusted_context>\Z"
)
_FAILED = re.compile(r"\nExit Code: (?!0\b)\d{1,5}")
_LAST_CHANCE = re.compile(r"You have [^\n]{1,200} You have one final chance to complete the task")
_ENDED = ("success", "error", "cancelled")
_REMEMBERED = 1000
"""Messages and tool calls whose ids are kept, so that one that is written again is not added again."""


class Entry(Struct, rename="camel"):
    """The fields of a line that are used."""

    session_id: Any = None
    start_time: Any = None
    kind: Any = None
    directories: Any = None
    summary: Any = None
    id: Any = None
    timestamp: Any = None
    type: Any = None
    content: Any = None
    display_content: Any = None
    thoughts: Any = None
    tool_calls: Any = None
    tokens: Any = None
    model: Any = None
    messages: Any = None
    set: Any = field(default=None, name="$set")
    rewind_to: Any = field(default=None, name="$rewindTo")


class State(base.State):
    """`messages` are the ids of those that were added, `counted` of those whose tokens were.

    `calls` are those of tool calls.
    """

    folder: str | None = None
    above: str = ""
    messages: dict[str, None] = field(default_factory=dict)
    counted: dict[str, None] = field(default_factory=dict)
    calls: dict[str, None] = field(default_factory=dict)


class Reader(LineReader):
    """Reads one file."""

    format = "gemini"
    state_type = State
    entry_type = Entry
    state: State

    def take_path(self, path: Path) -> None:
        """The project's folder is in a file beside ``chats``; a sub-agent's file is in its parent's."""
        chats = next((parent for parent in path.parents if parent.name == "chats"), None)
        if chats is None:
            return
        self.state.above = path.parent.name if path.parent != chats else ""
        try:
            data, _ = whole(chats.parent / ".project_root", 4096)
            self.state.folder = values.folder(data.decode(errors="replace").strip())
        except Skipped:
            pass

    def take(self, entry: Entry, location: str) -> None:
        if entry.session_id is not None:
            self._take_header(entry)
        if isinstance(entry.rewind_to, str):
            self._rewind_to(entry.rewind_to)
        change = values.mapping(entry.set)
        self._retitle(change.get("summary"))
        messages = change.get("messages")
        if isinstance(messages, list):
            self._take_all([_message(message) for message in messages], location)
        for message in entry.messages if isinstance(entry.messages, list) else ():
            self._take_message(_message(message), location)  # a whole chat in one line
        self._take_message(entry, location)

    def _take_header(self, entry: Entry) -> None:
        info, state = self.state.sessions[""], self.state
        info.source_id = values.short(entry.session_id, 128) or info.source_id
        info.created_at = info.created_at or values.timestamp_of(entry.start_time)
        folders = entry.directories if isinstance(entry.directories, list) else []
        info.cwd = info.cwd or state.folder or (values.folder(folders[0]) if folders else None)
        self._retitle(entry.summary)
        if entry.kind == "subagent":
            info.parent = state.above or None
            if info.parent is None:
                raise SubAgent

    def _take_all(self, messages: list[Entry], location: str) -> None:
        """The chat's messages anew: those behind the last one that is known were not there before."""
        known = [at for at, message in enumerate(messages) if str(message.id) in self.state.messages]
        for message in messages[known[-1] + 1 if known else 0 :]:
            # After a compression the program lets the model thank for its summary.
            if message.type != "gemini" or message.model is not None:
                self._take_message(message, location)

    def _rewind_to(self, key: str) -> None:
        """Of a message that it does not know the program takes back all; that also may be one of long ago."""
        known, prompts = list(self.state.messages), self.state.sessions[""].prompts
        since = set(known[known.index(key) :] if key in known else prompts)
        self.roll_back("", sum(prompt in since for prompt in prompts), None)

    def _retitle(self, title: object) -> None:
        self.state.sessions[""].add_title(values.one_line(title))

    def _take_message(self, message: Entry, location: str) -> None:
        when, key = values.timestamp_of(message.timestamp), values.short(message.id, 128)
        if not isinstance(message.type, str) or key is None:
            return
        is_new = key not in self.state.messages
        if is_new:
            values.remember(self.state.messages, key, limit=_REMEMBERED)
        match message.type:
            case "user" if is_new:
                self._take_user(message.display_content or message.content, when, location, key)
            case "gemini" | "qwen":  # earlier versions of Qwen Code wrote the same files
                self._take_tokens(values.mapping(message.tokens), key)
                if is_new:
                    self._take_reply(message, when, location, key)
                elif self.state.sessions[""].ends_with_reply:
                    self.usage("", None)
                calls = message.tool_calls if isinstance(message.tool_calls, list) else ()
                for call in map(values.mapping, calls):
                    self._take_call(call, when)
            case "error" if is_new and isinstance(message.content, str):
                self.message("", "error", message.content, when, location, key)

    def _take_user(self, content: object, when: str | None, location: str, key: str) -> None:
        text = _text(content)
        if _SNAPSHOT.match(text):
            self.event("", COMPACTED, when, content=self.bounded(text))
        elif text.startswith(_OUR_SHELL):
            self._take_shell(text, when, key)
        elif not _LAST_CHANCE.match(text):
            self.prompt("", _typed(text), when, location, key)

    def _take_shell(self, text: str, when: str | None, key: str) -> None:
        """A command that the person ran, as the model is told of it."""
        command, _, result = text.removeprefix(_OUR_SHELL).partition("\n```\n\n")
        output = result.partition("```\n")[2].removesuffix("\n```")
        self.call("", key, "shell", {"command": command.removeprefix("```sh\n")}, when, kind="execute")
        self.result("", key, output, when)

    def _take_reply(self, message: Entry, when: str | None, location: str, key: str) -> None:
        info = self.state.sessions[""]
        info.model = values.short(message.model) or info.model
        for thought in map(values.mapping, message.thoughts if isinstance(message.thoughts, list) else ()):
            parts = [thought.get("subject"), thought.get("description")]
            self.thought("", "\n".join(part for part in parts if isinstance(part, str) and part), when)
        self.message("", "assistant", _text(message.content), when, location, key)

    def _take_tokens(self, tokens: Mapping[str, Any], key: str) -> None:
        """They may be known only when the message is written again."""
        sent, received = values.count(tokens.get("input")), values.count(tokens.get("output"))
        if sent is not None and received is not None and key not in self.state.counted:
            values.remember(self.state.counted, key, limit=_REMEMBERED)
            sent += values.count(tokens.get("tool")) or 0
            self.state.sessions[""].add_tokens(sent, received + (values.count(tokens.get("thoughts")) or 0))

    def _take_call(self, call: Mapping[str, Any], when: str | None) -> None:
        call_id, status = values.short(call.get("id"), 256), values.short(call.get("status"))
        if call_id is None or status not in _ENDED or call_id in self.state.calls:
            return
        values.remember(self.state.calls, call_id, limit=_REMEMBERED)
        name, given = values.short(call.get("name")), call.get("args")
        self.call("", call_id, name, given, when, title=values.one_line(call.get("description")))
        ended, output = values.timestamp_of(call.get("timestamp")) or when, _output(call)
        if status == "cancelled":
            self.interrupt("", max(filter(None, (when, ended)), default=None))
        else:
            failed = status == "error" or (isinstance(output, str) and bool(_FAILED.search(output[-100:])))
            self.result("", call_id, output, ended, failed=failed)
        if name == "write_todos":
            todos = values.mapping(given).get("todos")
            steps = map(values.mapping, todos if isinstance(todos, list) else ())
            plan = [{"content": step.get("description"), "status": step.get("status")} for step in steps]
            self.plan("", plan, ended)


def read(chunks: Iterable[bytes], path: Path, limits: SessionsConfig) -> list[ParsedSession]:
    """The chat in a JSON document. Raises `Skipped`."""
    reader = Reader(path.stem, limits)
    reader.take_path(path)
    document = JsonDocument(chunks, LINE_BYTES)

    def lines() -> Iterator[bytes | None]:
        yield from document.items()
        yield bytes(document.rest)

    return read_whole(reader, lines())


def _message(value: object) -> Entry:
    try:
        return msgspec.convert(value, Entry)
    except msgspec.ValidationError:
        return Entry()


def _text(content: object) -> str:
    """The text of a message: a string, or parts as in Gemini's API.

    It is without thoughts, the results of tools, and what the program adds.
    """
    texts = []
    for part in content if isinstance(content, list) else [content]:
        fields = values.mapping(part)
        text = part if isinstance(part, str) else fields.get("text")
        data = values.mapping(fields.get("inlineData") or fields.get("fileData"))
        if isinstance(text, str):
            if fields.get("thought") is not True and not _CONTEXT.match(text):
                texts.append(text)
        elif data:
            texts.append(f"[{values.one_line(data.get('mimeType'), 100) or 'file'}]")
    return "\n\n".join(text for text in texts if text.strip())


def _typed(text: str) -> str:
    """The text without the files that it names, which older versions put behind it."""
    if not (begun := _REFERENCED.search(text)):
        return text
    return (text[: begun.start()].rstrip() + text[begun.end() :].partition(_REFERENCED_END)[2]).strip()


def _output(call: Mapping[str, Any]) -> object:
    """What the model was told, without the marks around it."""
    parts = call.get("result")
    outputs = []
    for part in map(values.mapping, parts if isinstance(parts, list) else ()):
        response = values.mapping(values.mapping(part.get("functionResponse")).get("response"))
        output = response.get("output", response.get("error", response or part.get("text")))
        outputs.append(_OUTPUT.sub("", output) if isinstance(output, str) else output)
    return outputs[0] if len(outputs) == 1 else outputs or None

"""Codex's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl``, an item a line.

Newer lines are ``{timestamp, type, payload}`` (`session_meta`, `turn_context`, `response_item`, `event_msg`,
`compacted`; codex-rs/protocol); older ones are the payloads themselves. The first versions, of spring 2025,
wrote one JSON document, ``rollout-<time>-<id>.json``; it was only read about. The items of the model's
API are read; the events that repeat them, and messages that Codex itself sends as the user, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from port42_daemon import activity
from port42_daemon.config import SessionsConfig
from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import base, values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped, SubAgent
from port42_daemon.transfer.readers.files import (
    BOM,
    LINE_BYTES,
    json_value,
    json_values,
    lines,
    opened,
    stem,
    whole,
)
from port42_daemon.transfer.readers.line_reader import LineReader, read_whole
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Location

_PROGRAM = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|permissions instructions|turn_aborted|INSTRUCTIONS"
    r"|user_action|user_shell_command|skill|subagent_notification|agent_message_board_notification"
    r"|goal_context|codex_internal_context|additional_context|extension_context|external_\w{1,100}"
    r"|hook_prompt|recommended_plugins)\b|# AGENTS\.md instructions"
    r"|Warning: (?:The maximum number of unified exec processes|apply_patch was requested via))"
)
_SHELL = re.compile(
    r"\s*<user_shell_command>\s*<command>\n?(.*?)\n?</command>\s*<result>\n?(.*)\n</result>", re.DOTALL
)
_CONTEXT = "<environment_context>"
_FOLDER = re.compile(r"(?:<cwd>|Current working directory:)([^<\n]{1,4096})")
_ATTACHED = re.compile(
    r"\s*##? (?:Context from my IDE setup|Files (?:mentioned|pasted) by the user|In app browser"
    r"|Referenced chats with Codex|My request(?: for Codex)?):"
)
"""How texts begin before which an editor, or Codex's application, put what is open there."""
_REQUEST = re.compile(r"^## My request(?: for Codex)?:", re.MULTILINE)
_FILES = re.compile(r"^## ([^\n:]{1,200}): [/\\A-Za-z~]", re.MULTILINE)
_BROWSER = re.compile(r"\s*<in-app-browser-context\b[^<>]{0,500}>")
_BROWSER_END = "</in-app-browser-context>"
_IMAGE_TAG = re.compile(r"\s*</?image\b[^<>]{0,500}>\s*")
_EMPTY_IMAGE = re.compile(r"\s*<image\b[^<>]{0,500}>\s*</image>\s*")


DOCUMENT = re.compile(rb'\s*\{\s*"session"\s*:\s*\{.{0,65536}?\},\s*"items"\s*:', re.DOTALL)
"""The beginning of a session that is one JSON document."""
_HEAD = 65_536
_SUMMARY = "Another language model started to solve this problem and produced a summary"
_SUMMARY_LENGTH = 200
_ATTACHMENTS = 20
_NAMES = 100_000
_ID_LENGTH = len("01a2187b-30ea-7073-8e50-5cf02dde04f3")
_ROLLOUT = re.compile(r"rollout-[\dT-]{19}-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}")
_FAILED = ("unsupported call: ", "apply_patch verification failed: ")
_ABORTED = "\naborted by user"
_EXIT = re.compile(r"(?:Exit code:|exited with code) (-?\d{1,9})\b")
_TIMED = re.compile(r"Wall time: [\d.]{1,20} seconds\nOutput:")
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: ([^\n]{1,500})$", re.MULTILINE)


class Payload(Struct):
    """The fields of an item or event that are used."""

    type: Any = None
    id: Any = None
    timestamp: Any = None
    cwd: Any = None
    source: Any = None
    parent_thread_id: Any = None
    forked_from_id: Any = None
    history_base: Any = None
    subagent_history_start_ordinal: Any = None
    model: Any = None
    role: Any = None
    content: Any = None
    summary: Any = None
    name: Any = None
    namespace: Any = None
    call_id: Any = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    output: Any = None
    message: Any = None
    info: Any = None
    item: Any = None
    error: Any = None
    thread_name: Any = None
    num_turns: Any = None
    revised_prompt: Any = None
    result: Any = None
    tools: Any = None


class Entry(Payload):
    """A line, which is of the older form where it has no `payload`."""

    payload: Payload | None = None
    ordinal: Any = None


class State(base.State):
    """`tokens` are the session's totals, `reported` those of the latest report, which may be a review's own.

    `announced` is the id of the reply that an event told of before its item, in files that have such events.
    """

    has_meta: bool = False
    own_from: int | None = None
    """The ordinal of a sub-agent's first line of its own: those before it are a copy of its parent's."""
    tokens: tuple[int, int] | None = None
    reported: tuple[int, int] | None = None
    announced: str | None = None
    summary: str = ""
    """The beginning of that of the latest compaction."""
    held: tuple[str, str | None, str] | None = None
    """A text that no event told of: the summary of a compaction, if that is what comes next."""


class Reader(LineReader):
    """Reads one file, whose name ends with the session's id: its first line may be missing."""

    format = "codex"
    state_type = State
    entry_type = Entry
    state: State
    _names: Mapping[str, str] = MappingProxyType({})

    def take_path(self, path: Path) -> None:
        """Titles of all sessions are in one file beside the folder of the rollouts."""
        info = self.state.sessions[""]
        if not self.state.has_meta and _ROLLOUT.fullmatch(info.source_id):
            info.source_id = info.source_id[-_ID_LENGTH:]
        self._names = _names_beside(path)
        self._name_session()

    def _name_session(self) -> None:
        info = self.state.sessions[""]
        info.add_title(self._names.get(info.source_id))

    def take(self, entry: Entry, location: str) -> None:
        item = entry.payload or entry
        info = self.state.sessions[""]
        when = values.timestamp_of(entry.timestamp)
        if entry.type != "token_usage_record" and item.type != "token_count":
            self._end_held(is_summary=entry.type == "compacted")
        if entry.type == "session_meta" or self.state.line == 1:
            self._take_meta(item, when)
        if self._is_copy(entry, when):
            if item.type == "token_count":  # its own totals may begin with these
                sent, received = _tokens(values.mapping(item.info).get("total_token_usage"))
                if sent is not None and received is not None:
                    self.state.tokens = (sent, received)
            return
        match entry.type:
            case "turn_context":
                info.model = values.short(item.model) or info.model
                info.cwd = info.cwd or values.folder(item.cwd)
            case "compacted":
                self._take_summary(item.message if isinstance(item.message, str) else "", when)
            case "event_msg":
                self._take_event(item, when, location)
            case _:
                self._take_item(item, when, location)

    def _is_copy(self, entry: Entry, when: str | None) -> bool:
        """Whether a line of a sub-agent's is its parent's."""
        info, start = self.state.sessions[""], self.state.own_from
        if info.parent is None:
            return False
        if start is not None and (ordinal := values.count(entry.ordinal)) is not None:
            return ordinal < start
        return when is not None and info.created_at is not None and when < info.created_at

    def _end_held(self, *, is_summary: bool) -> None:
        held, self.state.held = self.state.held, None
        if held is not None and not is_summary:
            self.message("", "assistant", *held)

    def take_held(self) -> None:
        self._end_held(is_summary=False)

    def has_held(self) -> bool:
        return self.state.held is not None

    def _take_meta(self, meta: Payload, when: str | None) -> None:
        # A fork's file has the original's meta after its own: the first one counts.
        if self.state.has_meta:
            return
        self.state.has_meta = True
        info = self.state.sessions[""]
        info.source_id = values.short(meta.id, 128) or info.source_id
        info.created_at = values.timestamp_of(meta.timestamp) or when
        info.cwd = values.folder(meta.cwd)
        info.forked_from = values.short(meta.forked_from_id, 128)
        info.has_only_new = isinstance(meta.history_base, dict)
        self.state.own_from = values.count(meta.subagent_history_start_ordinal)
        self._name_session()
        if isinstance(meta.source, str | dict) and "subagent" in meta.source:
            started = values.mapping(
                values.mapping(values.mapping(meta.source).get("subagent")).get("thread_spawn")
            )
            info.parent = values.short(meta.parent_thread_id or started.get("parent_thread_id"), 128)
            if info.parent is None:
                raise SubAgent

    def _take_event(self, event: Payload, when: str | None, location: str) -> None:
        match event.type:
            case "token_count":
                self._take_tokens(event, when)
            case "turn_aborted":
                self.interrupt("", when)
            case "thread_rolled_back":
                self.roll_back("", values.count(event.num_turns) or 0, when)
            case "thread_name_updated":
                self.state.sessions[""].add_title(values.one_line(event.thread_name))
            case "error" if isinstance(event.message, str):
                self.message("", "error", event.message, when, location)
            case "task_complete" if event.error:
                self.message("", "error", _failure(event.error), when, location)
            case "item_completed":
                item = values.mapping(event.item)
                told = item.get("id") if item.get("type") == "AgentMessage" else self.state.announced
                self.state.announced = values.short(told) or ""

    def _take_item(self, item: Payload, when: str | None, location: str) -> None:
        call_id = values.short(item.call_id or item.id, 256) or "unknown"
        match item.type:
            case "message":
                self._take_message(item, when, location)
            case "reasoning":
                self.thought(
                    "", activity.text_of(item.summary or None) or activity.text_of(item.content), when
                )
            case "function_call" | "custom_tool_call" | "tool_search_call":
                self._take_call(item, call_id, when)
            case "local_shell_call":
                self.call("", call_id, "local_shell", item.action, when, kind="execute")
            case "web_search_call":
                self.call("", call_id, "web_search", item.action, when, kind="fetch")
                self.result("", call_id, None, when)
            case "image_generation_call":
                self.call("", call_id, "image_generation", {"prompt": item.revised_prompt}, when)
                self.result("", call_id, "[image]" if item.result else None, when)
            case "agent_message" if self.state.sessions[""].parent:
                # What another agent asks of this one, where it is not encrypted, behind who asks whom.
                text = values.text_of(item.content)
                self.prompt("", text.partition("\nPayload:\n")[2] or text, when, location)
            case "function_call_output" | "custom_tool_call_output" | "tool_search_output":
                output, failed = _result(item.output or item.tools)
                self.result("", call_id, output, when, failed=failed)

    def _take_message(self, item: Payload, when: str | None, location: str) -> None:
        info, text = self.state.sessions[""], values.text_of(item.content)
        if item.role == "assistant":
            self.state.held = (text, when, location)
            if self.state.announced is None or values.short(item.id) in {None, self.state.announced}:
                self._end_held(is_summary=False)
        elif item.role == "user":
            if info.cwd is None and text.lstrip().startswith(_CONTEXT) and (folder := _FOLDER.search(text)):
                # Before September 2025 only this text had the folder.
                info.cwd = values.folder(folder[1].strip())
            if shell := _SHELL.match(text):
                self._take_shell(shell[1], shell[2], when, location)
            elif text.startswith(_SUMMARY):
                # As the model is told it; the summary itself may have come before.
                if not self.state.summary or self.state.summary not in text:
                    self._take_summary(text, when)
            else:
                self.prompt("", values.text_of(item.content, _typed, pictures=True), when, location)

    def _take_summary(self, text: str, when: str | None) -> None:
        """The summary of a compaction."""
        self.event("", COMPACTED, when, content=self.bounded(text))
        self.state.summary = text.removeprefix(_SUMMARY).strip()[:_SUMMARY_LENGTH]

    def _take_shell(self, command: str, result: str, when: str | None, call_id: str) -> None:
        """A command that the person ran, as the model is told of it."""
        output, failed = _result(result)
        self.call("", call_id, "shell", {"command": command}, when, kind="execute")
        self.result("", call_id, output, when, failed=failed)

    def _take_call(self, item: Payload, call_id: str, when: str | None) -> None:
        given, fields = item.input or item.arguments, {}
        name = "tool_search" if item.type == "tool_search_call" else values.short(item.name)
        server = values.short(item.namespace) or ""
        if server.startswith("mcp__"):
            name = f"{server}__{name}"
        if isinstance(item.arguments, str):
            try:
                given = msgspec.json.decode(item.arguments)
            except (msgspec.DecodeError, RecursionError):
                given = item.arguments
        patch = values.mapping(given).get("input") if isinstance(given, dict) else given
        if name == "apply_patch" and isinstance(patch, str) and (paths := _PATCHED.findall(patch[:65_536])):
            fields = {"title": ", ".join(paths[:4]), "locations": tuple(map(Location, paths))}
        self.call("", call_id, name, given, when, **fields)
        if name == "update_plan":
            self.plan("", values.mapping(given).get("plan"), when)

    def _take_tokens(self, event: Payload, when: str | None) -> None:
        """Totals of the session so far, repeated with every change of a rate limit.

        Those of a review begin at 0, and the session's own come again after it.
        """
        facts, info, before = values.mapping(event.info), self.state.sessions[""], self.state.tokens
        sent, received = _tokens(facts.get("total_token_usage"))
        if sent is None or received is None or (sent, received) in {before, self.state.reported}:
            return
        self.state.reported = (sent, received)
        last_sent, last_received = _tokens(facts.get("last_token_usage"))
        if before is None or sent < before[0]:  # a fork's totals begin with those of its original
            before = (sent - (last_sent or sent), received - (last_received or received))
        else:
            self.state.tokens = (sent, received)
        self.state.tokens = self.state.tokens or (sent, received)
        info.add_tokens(max(sent - before[0], 0), max(received - before[1], 0))
        # Versions that report after the reply do so once more after the last one.
        if info.ends_with_reply:
            self.usage("", when)


def is_document(path: Path) -> bool:
    with opened(path) as file:
        return DOCUMENT.match(file.read(_HEAD).removeprefix(BOM)) is not None


def read(path: Path, limits: SessionsConfig) -> list[ParsedSession]:
    """The session in a JSON document; its items have no times. Raises `Skipped`."""
    data, _ = whole(path, LINE_BYTES)
    document = values.mapping(json_value(data.removeprefix(BOM)))
    session, items = document.get("session"), document.get("items")
    if not isinstance(session, dict) or not isinstance(items, list):
        raise Skipped("it is not a session of Codex")
    reader = Reader(stem(path), limits)
    reader.take_path(path)
    return read_whole(reader, map(encode, [session, *items]))


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    counts = values.mapping(usage)
    return values.count(counts.get("input_tokens")), values.count(counts.get("output_tokens"))


def title_beside(path: Path) -> str | None:
    """The title of the session in a rollout, whose name ends with its id."""
    return _names_beside(path).get(stem(path)[-_ID_LENGTH:])


def _names_beside(path: Path) -> Mapping[str, str]:
    for folder in path.parents[:6]:
        index = folder / "session_index.jsonl"
        if index.is_file():
            return _names(index, index.stat().st_mtime_ns)
    return {}


@lru_cache(maxsize=4)
def _names(index: Path, _mtime_ns: int) -> dict[str, str]:
    """The latest name of each session."""
    with suppress(Skipped):
        return names_in(islice(lines(index), _NAMES))
    return {}


def names_in(index: Iterable[bytes | None]) -> dict[str, str]:
    """The latest name of each session that lines of ``session_index.jsonl`` have."""
    names: dict[str, str] = {}
    for line in index:
        with suppress(Skipped):
            for entry in json_values(line or b"{}"):
                fields = values.mapping(entry)
                key, name = values.short(fields.get("id"), 128), values.one_line(fields.get("thread_name"))
                if key and name:
                    names[key] = name
    return names


def _failure(error: Any) -> str:
    """The message, which may be the body of a server's response."""
    text: Any = values.mapping(error).get("message")
    try:
        body = values.mapping(values.mapping(msgspec.json.decode(text)).get("error"))
    except (msgspec.DecodeError, TypeError, RecursionError):
        body = {}
    message = body.get("message") or text
    return message if isinstance(message, str) else "the turn failed"


def _result(output: Any) -> tuple[Any, bool]:
    """A command's output without what Codex puts before it, and whether it failed."""
    if isinstance(output, dict) and "content" in output:
        return output["content"], output.get("success") is False
    if not isinstance(output, str):
        is_timed = isinstance(output, list) and _TIMED.fullmatch(values.text_of(output[:1]))
        return output[1:] if is_timed else output, False
    if output.startswith('{"output":'):
        try:
            value = values.mapping(msgspec.json.decode(output))
        except (msgspec.DecodeError, RecursionError):
            return output, False
        return value.get("output"), values.mapping(value.get("metadata")).get("exit_code") not in (0, None)
    head, separator, _ = output[:1000].partition("\nOutput:\n")
    if not separator or not head.startswith(("Chunk ID:", "Exit code:", "Wall time:")):
        return output, output.startswith(_FAILED) or output.endswith(_ABORTED)
    code = _EXIT.search(head)
    return output[len(head) + len(separator) :], code is not None and code[1] != "0"


def _typed(text: str) -> str:
    """The text without the tags around images, what Codex adds, and what is open in an editor."""
    if _IMAGE_TAG.fullmatch(text):
        return ""
    is_program = _PROGRAM.match(text) is not None
    if is_program or _ATTACHED.match(text):
        request = _REQUEST.search(text)
        if request is None:
            # Files alone are what the person sent.
            names = _FILES.findall(text) if text.lstrip().startswith("# Files") else []
            return "\n".join(f"[{name}]" for name in names[:_ATTACHMENTS])
        text = text[request.end() :].strip()
    if browser := _BROWSER.match(text):
        text = text[browser.end() :].partition(_BROWSER_END)[2].strip()
    while image := _EMPTY_IMAGE.match(text):
        text = text[image.end() :]
    return text

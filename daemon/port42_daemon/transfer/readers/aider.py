"""aider's history: ``.aider.chat.history.md`` in a project's folder, to which each start appends a chat.

The person's lines begin with ``####`` and end with two spaces, as a model's headings do not; the program's
begin with ``>``; all others are the model's. Messages have no times: each gets that of its chat's start. Of
what the program says, the model, the folder, the files that it changed and the tokens are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped
from port42_daemon.transfer.readers.files import LINE_BYTES, lines_of, opened

NAME = ".aider.chat.history.md"
HEADING = b"# aider chat started at "
_STARTED = re.compile(r"# aider chat started at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\s*")
_TO_MODEL = re.compile(r"/(?:ask|code|architect|context) ")
_COMMAND = re.compile(r"/[a-z-]{1,40}(?:\s|$)|!")
_EDITED = "Applied edit to "
_FOLDER = "Cur working dir: "
_MODEL = re.compile(r"(?:Main model|Model): (\S{1,200})")
_TOKENS = re.compile(r"Tokens: (\d{1,9}(?:\.\d)?)(k?) sent, .{0,80}?(\d{1,9}(?:\.\d)?)(k?) received\b")
_ANSWER = re.compile(r"\(Y\)es/\(N\)o[^\[]{0,80}\[[^\]]{0,20}\]: ")
"""In a question of the program's, which is repeated when the answer is none."""
_THINKS = re.compile(r"^<(thinking-content-[0-9a-f]{8,64})>$", re.MULTILINE)
_BLANK = "<blank>"


def conversations(path: Path) -> Iterator[tuple[str, str]]:
    """Where in the file each chat is, for `read`, or the reason why it cannot be read."""
    begin, position = -1, 0
    with opened(path) as file:
        for end, line, _ in lines_of(file, LINE_BYTES):
            if line is None:
                raise Skipped("it has a line of more than 16 MiB")
            if line.startswith(HEADING):
                if begin >= 0:
                    yield _span(begin, position)
                begin = position
            position = end
    if begin >= 0:
        yield _span(begin, position)


def _span(begin: int, end: int) -> tuple[str, str]:
    return f"{begin}-{end}", "" if end - begin <= LINE_BYTES else "it is longer than 16 MiB"


def read(path: Path, span: str, limits: SessionsConfig) -> list[ParsedSession]:
    """One chat. Raises `Skipped`."""
    begin, _, end = span.partition("-")
    with opened(path) as file:
        file.seek(int(begin))
        text = file.read(int(end) - int(begin)).decode(errors="replace").replace("\r\n", "\n")
    heading, _, chat = text.partition("\n")
    started = _STARTED.fullmatch(heading)
    if started is None:
        raise Skipped("it does not say when it began")
    document = Document("aider", started[1], limits)
    # The time is that of the clock on the wall.
    document.info.created_at = values.timestamp_of(
        datetime.fromisoformat(started[1]).astimezone().isoformat()
    )
    document.info.cwd = values.folder(str(path.parent)) if path.is_absolute() else None
    lines = chat.split("\n")
    # A hook of git's may have taken off the spaces.
    end = "  " if any(line.startswith("#### ") and line.endswith("  ") for line in lines) else ""
    chat_so_far = _Chat(document)
    for number, (kind, group) in enumerate(groupby(lines, partial(_kind, end=end)), 1):
        chat_so_far.add(kind, list(group), f"part {number}")
    sessions = document.finished()
    # Several projects may have been begun in the same second.
    prompt = next(record for record in sessions[0].records if getattr(record, "content", ""))
    document.info.source_id += f" {values.one_line(getattr(prompt, 'content', ''), 100)}"
    return sessions


def _kind(line: str, end: str) -> str:
    """Whose line it is; the person's end with `end`."""
    if line.startswith("#### ") and line.endswith(end):
        return "user"
    # The model's own quotations look the same; those of its edits, ``>>>>>>> REPLACE``, do not.
    return "program" if line.startswith("> ") or line == ">" else "model"


class _Chat:
    """Adds the parts of one chat."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._repeated: list[str] = []
        """What the program may write as the person's words again: the question behind ``/ask``, and in the
        architect's mode the plan, which it gives to the editing model."""

    def add(self, kind: str, group: list[str], location: str) -> None:
        match kind:
            case "user":
                lines = [line.removeprefix("#### ").rstrip() for line in group]
                text = "\n".join(line for line in lines if not _ANSWER.search(line) and line != _BLANK)
                self._add_prompt(text, location)
            case "model":
                text = "\n".join(group)
                if text.strip():
                    self._repeated = [_words(text)]
                    _add_reply(self._document, text, location)
            case _:
                for line in group:
                    _add_note(self._document, line.removeprefix("> ").strip(), location)

    def _add_prompt(self, text: str, location: str) -> None:
        to_model = _TO_MODEL.match(text)
        if _words(text) in self._repeated or (not to_model and _COMMAND.match(text)):
            return
        self._repeated = [_words(text[to_model.end() :])] if to_model else []
        self._document.prompt("", text, None, location)


def _words(text: str) -> str:
    return " ".join(text.split())


def _add_note(document: Document, note: str, location: str) -> None:
    """What the program said."""
    if note.startswith(_EDITED):
        _add_edit(document, note.removeprefix(_EDITED), location)
    elif model := _MODEL.match(note):
        document.info.model = model[1]
    elif tokens := _TOKENS.match(note):
        document.info.add_tokens(_count(*tokens.group(1, 2)), _count(*tokens.group(3, 4)))
        document.usage("", None)
    elif note.startswith(_FOLDER):
        document.info.cwd = values.folder(note.removeprefix(_FOLDER)) or document.info.cwd


def _count(number: str, unit: str) -> int:
    """aider rounds those from 1,000 on."""
    return round(float(number) * (1000 if unit else 1))


def _add_reply(document: Document, text: str, location: str) -> None:
    """The reply, without the thoughts that stand in it as elements of their own."""
    position, reply = 0, []
    while opening := _THINKS.search(text, position):
        end = text.find(f"\n</{opening[1]}>", opening.end())
        if end < 0:
            break
        reply.append(text[position : opening.start()])
        document.thought("", text[opening.end() : end].strip(), None)
        position = end + len(opening[0]) + 2
    document.message("", "assistant", "".join([*reply, text[position:]]).strip(), None, location)


def _add_edit(document: Document, name: str, location: str) -> None:
    document.call("", f"{location} {name}", "edit", {"path": name}, None)
    document.result("", f"{location} {name}", None, None)

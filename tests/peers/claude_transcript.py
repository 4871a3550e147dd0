"""Claude Code's transcripts as it writes them, entry by entry, and what is read of them."""

from __future__ import annotations

import json

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import claude
from port42_daemon.transfer.readers.base import ParsedSession
from port42_daemon.transfer.readers.line_reader import read_whole
from port42_protocol.messages.records import Message

LIMITS = SessionsConfig()
SESSION = "7d0c1b9e-0000-4000-8000-00000000000a"


class File:
    """A transcript that grows entry by entry, as Claude Code writes one."""

    def __init__(self, session_id=SESSION):
        self.session_id = session_id
        self.entries = []

    def add(self, kind, **fields):
        number = len(self.entries) + 1
        self.entries.append(
            {
                "type": kind,
                "uuid": f"{self.session_id[-1]}{number}",
                "sessionId": self.session_id,
                "cwd": "/home/ada/boat",
                "timestamp": f"2026-02-03T04:05:{number:02}.000Z",
                **fields,
            }
        )
        return self

    def user(self, content, **fields):
        return self.add("user", message={"role": "user", "content": content}, **fields)

    def assistant(self, *parts, answer="m", model="claude-x", usage=None, **fields):
        content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
        message = {"id": answer, "model": model, "content": content, "usage": usage or {}}
        return self.add("assistant", message=message, **fields)

    def queue(self, operation, content=None, **fields):
        content = {"content": content} if content else {}
        return self.add("queue-operation", operation=operation, **content, **fields)

    def queued_command(self, prompt, mode="prompt"):
        return self.add(
            "attachment", attachment={"type": "queued_command", "prompt": prompt, "commandMode": mode}
        )

    def lines(self):
        return [json.dumps(entry).encode() for entry in self.entries]

    def read_all(self, name=SESSION, *, ended=True) -> list[ParsedSession]:
        return read_whole(claude.Reader(name, LIMITS), self.lines(), ended=ended)

    def read(self, name=SESSION, *, ended=True) -> ParsedSession:
        return self.read_all(name, ended=ended)[0]


def parts(*texts):
    return [{"type": "text", "text": text} for text in texts]


def texts(session):
    return [(record.role, record.content) for record in session.records if isinstance(record, Message)]


def slash(name, args=""):
    return f"<command-message>{name}</command-message>\n<command-name>/{name}</command-name>\n<command-args>{args}</command-args>"  # noqa: E501


def tool(call_id, name="Bash", **given):
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id, content, **fields):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def activities(session):
    return [record for record in session.records if not isinstance(record, Message)]

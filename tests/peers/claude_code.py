"""Sessions of Claude Code, written as it writes them."""

from __future__ import annotations

import json
import uuid


class Transcript:
    """A session of Claude Code, as it writes it."""

    def __init__(self, folder, cwd="/home/ada/work"):
        self.id = str(uuid.uuid4())
        self.path = folder / cwd.replace("/", "-") / f"{self.id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._cwd, self._last, self._second = cwd, None, 0

    def add(self, role, content, **fields):
        self._second += 1
        minute, second = divmod(self._second, 60)
        entry = {
            "parentUuid": self._last,
            "isSidechain": False,
            "userType": "external",
            "cwd": self._cwd,
            "sessionId": self.id,
            "version": "2.1.0",
            "type": role,
            "message": {"role": role, "content": content},
            "uuid": str(uuid.uuid4()),
            "timestamp": f"2026-11-20T10:{minute:02}:{second:02}.000Z",
            **fields,
        }
        self._last = entry["uuid"]
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def user(self, text):
        self.add("user", text)

    def assistant(self, *blocks):
        self.add(
            "assistant",
            [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks],
        )

"""Sessions of Claude Code, written as it writes them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime


class Transcript:
    """A session of Claude Code, as it writes it."""

    def __init__(self, folder, cwd="/home/ada/work"):
        self.id = str(uuid.uuid4())
        self.path = folder / cwd.replace("/", "-") / f"{self.id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._cwd, self._last, self._second = cwd, None, 0

    @property
    def lines(self) -> int:
        return self._second

    def resume(self, session_id: str) -> None:
        """Go on with an earlier session, in its file."""
        self.id = session_id
        self.path = self.path.with_name(f"{session_id}.jsonl")
        lines = self.path.read_text().splitlines()
        self._second, self._last = len(lines), json.loads(lines[-1])["uuid"]

    def add(self, role, content, **fields):
        self._second += 1
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
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
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

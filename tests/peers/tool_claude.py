"""Answers as Claude Code does: in stream-json on stdout, and in the file of the session in FOLDER.

tool_claude.py FOLDER --session-id ID, or --resume ID, which fails where there is no such file
"""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path


class Session:
    """Writes each message into the file and onto stdout."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.id = session_id
        self.path = folder / str(Path.cwd()).replace("/", "-") / f"{session_id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, role: str, content: object) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {
            "type": role,
            "message": {"role": role, "content": content},
            "sessionId": self.id,
            "cwd": str(Path.cwd()),
            "version": "2.1.0",
            "isSidechain": False,
            "uuid": str(uuid.uuid4()),
            "timestamp": at,
        }
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def say(self, role: str, *blocks: dict[str, object]) -> None:
        self.write(role, list(blocks))
        print(json.dumps({"type": role, "message": {"role": role, "content": blocks}}), flush=True)


def main() -> None:
    folder, how, session_id = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    session = Session(folder, session_id)
    if how == "--resume" and not session.path.exists():
        sys.exit(f"No conversation found with session ID: {session_id}")
    words = sys.stdin.read()
    print(json.dumps({"type": "system", "subtype": "init", "session_id": session_id}), flush=True)
    session.write("user", words)
    call_id = f"toolu_{uuid.uuid4().hex[:8]}"
    session.say("assistant", {"type": "thinking", "thinking": f"thinking of {words}", "signature": ""})
    session.say("assistant", {"type": "text", "text": f"Let me look at {words}."})
    call = {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": f"ls {words}"}}
    session.say("assistant", call)
    session.say("user", {"type": "tool_result", "tool_use_id": call_id, "content": f"{words}.py"})
    session.say("assistant", {"type": "text", "text": f"Done with {words}."})
    result = {"type": "result", "subtype": "success", "is_error": False, "result": f"Done with {words}."}
    print(json.dumps(result | {"session_id": session_id, "usage": {}}), flush=True)


if __name__ == "__main__":
    main()

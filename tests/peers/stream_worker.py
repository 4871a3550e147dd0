"""Writes ROUNDS of text, tool call and result, PAUSE seconds each, in the stream-json of Claude Code."""

from __future__ import annotations

import json
import sys
import time


def say(**entry: object) -> None:
    print(json.dumps(entry), flush=True)


def message(role: str, *blocks: dict[str, object]) -> None:
    say(type=role, message={"role": role, "content": blocks})


def main() -> None:
    rounds, pause = int(sys.argv[1]), float(sys.argv[2])
    say(type="system", subtype="init", session_id="native-1", model="m")
    for number in range(rounds):
        message("assistant", {"type": "thinking", "thinking": f"thought {number}"})
        message("assistant", {"type": "text", "text": f"text {number}."})
        call = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"command": f"run {number}"}}
        message("assistant", call)
        time.sleep(pause)
        message("user", {"type": "tool_result", "tool_use_id": f"t{number}", "content": f"result {number}"})
    message("assistant", {"type": "text", "text": "the end"})
    say(type="result", subtype="success", is_error=False, result="the end", session_id="native-1", usage={})


if __name__ == "__main__":
    main()

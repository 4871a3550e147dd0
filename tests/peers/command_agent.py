"""A program behind `command`, in one of several manners: `python command_agent.py MANNER …`.

The manners of plain text: echo, slow, fails, flood, deaf, environment. Of Claude Code's stream:
unknown, late, lingers, crash, cut, stubborn, session, long.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ID = "0c1c4c3e-5b1e-4f0c-9f43-6a2f5c8f7a11"


def say(text: str) -> None:
    print(text, end="", flush=True)


def line(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def begin(session_id: str = ID) -> None:
    line(type="system", subtype="init", session_id=session_id, model="mock-1")


def text(piece: str) -> None:
    delta = {"type": "text_delta", "text": piece}
    line(type="stream_event", event={"type": "content_block_delta", "delta": delta}, parent_tool_use_id=None)


def result(**more: Any) -> None:
    line(**{"type": "result", "subtype": "success", "is_error": False, "stop_reason": "end_turn"} | more)


def wait() -> None:
    while True:
        signal.pause()


def echo() -> None:
    say(f"you said: {sys.stdin.read()}\n")


def slow() -> None:
    for number in range(300):
        say(f"tick {number} ")
        signal.sigtimedwait([], 0.2)


def fails() -> None:
    print("loading\nError: 429 Too Many Requests\n    at somewhere (file:1)", file=sys.stderr)
    sys.exit(3)


def flood() -> None:
    for _ in range(64):
        sys.stderr.write("x" * 65536 + "\n")
    sys.stderr.write(f"the key is {os.environ.get('SECRET_KEY')}\n")
    sys.exit(int(sys.argv[2]))


def deaf() -> None:
    os.close(0)
    say("I never listen\n")


def environment() -> None:
    said = {
        "environ": dict(os.environ),
        "argv": sys.argv[2:],
        "cwd": str(Path.cwd()),
        "stdin": sys.stdin.read(),
    }
    say(json.dumps(said))


def unknown() -> None:
    for noise in ("not json", "[]", "1", "null", "{}", '{"type": 7}', '{"type": "result', "[" * 5000):
        print(noise)
    sys.stdout.buffer.write(b'{"type": "\xff"}\n')
    line(type="rate_limit_event", rate_limit_info={"status": "allowed"})
    line(type="stream_event", event=[])
    line(type="stream_event", event={"type": "content_block_delta", "delta": {"text": 5}})
    line(type="assistant", message={"content": "a string where an array was"})
    line(type="user", message={"content": [7, {"tool_use_id": []}]})
    begin("--not-an-id")
    text("known")
    result(usage={"input_tokens": "many", "output_tokens": -3})


def late() -> None:
    begin()
    text("in time")
    result()
    text(", too late")
    result(is_error=True, result="changed my mind")
    sys.exit(1)


def lingers() -> None:
    held = os.open(sys.argv[2], os.O_WRONLY)
    begin()
    text("whole")
    result()
    wait()
    os.close(held)


def crash() -> None:
    begin()
    text("half a re")
    os.kill(os.getpid(), signal.SIGKILL)


def cut() -> None:
    begin()
    text("half a re")


def stubborn() -> None:
    """It and its child do not mind INT and TERM."""
    held = os.open(sys.argv[2], os.O_WRONLY)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Ignored signals are inherited.
    subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, pass_fds=[held])
    begin()
    text("up")
    wait()


def session() -> None:
    """`session FOLDER new|resume ID`: keeps what it was told in FOLDER, as a tool with sessions does."""
    folder, how, number = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    kept = folder / number
    if how == "resume" and not kept.exists():
        errors = [f"No conversation found with session ID: {number}"]
        result(subtype="error_during_execution", is_error=True, session_id=ID, errors=errors)
        sys.exit(1)
    told = sys.stdin.read()
    with kept.open("a") as file:
        file.write(f"<{told}>")
    begin(number)
    text(kept.read_text())
    result()


def long() -> None:
    begin()
    piece = "y" * 65536
    for _ in range(17 * 16):
        say(piece)
    say("\n")
    result()
    wait()


if __name__ == "__main__":
    globals()[sys.argv[1]]()

"""The model server of npm's @copilotkit/aimock: OpenAI's and Anthropic's protocol on one port, offline."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.processes import MARK, Processes

VERSION = "1.43.0"
_ROOT = Path(__file__).resolve().parents[2]
_NPM = _ROOT / ".work" / "npm"

FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "hello"}, "response": {"content": "hello from a server we did not write"}},
    {
        "match": {"userMessage": "think"},
        "response": {"content": "I thought.", "reasoning": "Let me think about that."},
    },
    {
        "match": {"userMessage": "weather"},
        "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Bath"}}]},
    },
    {
        "match": {"userMessage": "busy"},
        "response": {"error": {"message": "Too many at once", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "this will be cut long before its end is reached"},
        "truncateAfterChunks": 5,
        "latency": 50,  # without it the pieces go with the connection
        "chunkSize": 4,
    },
    {"match": {"userMessage": "long"}, "response": {"content": "too lo", "finishReason": "length"}},
    {"match": {"systemMessage": "You are Ada"}, "response": {"content": "I am Ada"}},
    {"match": {"turnIndex": 2}, "response": {"content": "that was the third"}},
]


@contextlib.contextmanager
def running(*, key: str | None = None, answers: list[dict[str, Any]] = FIXTURES) -> Iterator[str]:
    """The server's address, ``http://127.0.0.1:PORT``. With `key` it wants that one. Skips without node."""
    command = program()
    environ = {name: os.environ[name] for name in ("PATH", "HOME", MARK) if name in os.environ}
    if key is not None:
        environ["AIMOCK_API_KEYS"] = key
    with tempfile.NamedTemporaryFile("w", suffix=".json") as fixtures:
        json.dump({"fixtures": answers}, fixtures)
        fixtures.flush()
        with Processes() as process:
            server = process(
                [command, "-p", "0", "-f", fixtures.name, "--strict"],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            shown = []
            for line in server.stdout:
                shown.append(line)
                if address := re.search(r"listening on (http://\S+)", line):
                    yield address[1]
                    break
            else:
                pytest.fail("aimock did not start:\n" + "".join(shown))


def program() -> Path:
    """The server's program, put into ``.work/npm`` at first use."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm, for the model server of @copilotkit/aimock")
    server = _NPM / "node_modules" / ".bin" / "llmock"
    _NPM.mkdir(parents=True, exist_ok=True)
    with (_NPM / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not server.exists():
            command = [npm, "install", "--prefix", str(_NPM), "--no-audit", "--no-fund", "--silent"]
            done = subprocess.run(
                [*command, f"@copilotkit/aimock@{VERSION}"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"npm cannot install @copilotkit/aimock: {done.stderr.strip()[-200:]}")
    return server

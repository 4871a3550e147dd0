"""Claude's agent for ACP, the real one, from npm: Claude Code behind it, any Anthropic server before it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "0.101.0"
_FOLDER = Path(__file__).resolve().parents[2] / ".work" / "npm-acp"


def claude_agent() -> list[str]:
    """The command that runs it, put into ``.work/npm-acp`` at first use. Skips where it cannot be had."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs node and npm, for @agentclientprotocol/claude-agent-acp")
    program = _FOLDER / "node_modules" / ".bin" / "claude-agent-acp"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not program.exists():
            command = [npm, "install", "--prefix", str(_FOLDER), "--no-audit", "--no-fund", "--silent"]
            package = f"@agentclientprotocol/claude-agent-acp@{VERSION}"
            done = subprocess.run([*command, package], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot install {package}: {done.stderr.strip()[-200:]}")
    return [node, str(program)]

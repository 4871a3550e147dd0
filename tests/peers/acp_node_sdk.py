"""ACP's TypeScript SDK from npm, of which editors are made, with the editor in ``acp_editor.mjs``."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION, ZOD_VERSION = "2.4.0", "4"
_FOLDER = Path(__file__).resolve().parents[2] / ".work" / "npm-acp-sdk"


def editor() -> list[str]:
    """The command that runs it, before the agent's; the SDK is put into ``.work`` at first use.

    Skips where it cannot be had.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs node and npm, for @agentclientprotocol/sdk")
    sdk = _FOLDER / "node_modules" / "@agentclientprotocol" / "sdk"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (sdk / "package.json").exists():
            command = [npm, "install", "--prefix", str(_FOLDER), "--no-audit", "--no-fund", "--silent"]
            packages = [f"@agentclientprotocol/sdk@{VERSION}", f"zod@{ZOD_VERSION}"]
            done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot install {packages[0]}: {done.stderr.strip()[-200:]}")
    return [node, str(Path(__file__).with_name("acp_editor.mjs")), str(sdk)]

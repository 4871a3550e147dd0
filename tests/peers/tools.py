"""Real tools, put into ``.work`` at first use: Claude Code, `llm`, acpx, the MCP inspector and others."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLAUDE_VERSION = "2.1.197"
INSPECTOR_VERSION = "2.12.0"
ACPX_VERSION = "0.1.15"  # the last one for Node 20
TYPINGS_VERSION = "1.13.1"
LLM_VERSION, ECHO_VERSION = "0.36", "0.5"
PYLN_VERSION = "26.6.9"
_WORK = Path(__file__).resolve().parents[2] / ".work"


def claude() -> str:
    """Claude Code's program. Skips as `_npm_program`; its scripts bring the program itself."""
    package = f"@anthropic-ai/claude-code@{CLAUDE_VERSION}"
    return _npm_program("npm-claude", "claude", package, "Claude Code", scripts=True)


def inspector() -> str:
    """The MCP inspector's program. Skips as `_npm_program`."""
    package = f"@modelcontextprotocol/inspector@{INSPECTOR_VERSION}"
    return _npm_program("npm-inspector", "mcp-inspector", package, "the MCP inspector")


def acpx() -> str:
    """The program of `acpx`, an ACP client. Skips as `_npm_program`."""
    return _npm_program("npm-acpx", "acpx", f"acpx@{ACPX_VERSION}", "acpx")


def openrpc_typings() -> str:
    """OpenRPC's own generator of types. Skips as `_npm_program`."""
    package = f"@open-rpc/typings@{TYPINGS_VERSION}"
    return _npm_program("npm-openrpc", "open-rpc-typings", package, "OpenRPC's generator")


def _npm_program(folder_name: str, name: str, package: str, called: str, *, scripts: bool = False) -> str:
    """The path of an npm package's program. Skips without node and npm, or when npm cannot have it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"needs node and npm, for {called}")
    folder = _WORK / folder_name
    program = folder / "node_modules" / ".bin" / name
    options = ["--no-audit", "--no-fund", "--silent", *([] if scripts else ["--ignore-scripts"])]
    with _alone(folder):
        if not program.exists():
            _install(npm, "install", "--prefix", str(folder), *options, package)
    return str(program)


def llm() -> str:
    """The program of `llm`, with the model ``echo``. Skips when pip cannot have it."""
    folder = _WORK / "llm"
    program = folder / "bin" / "llm"
    with _alone(folder):
        if not program.exists():
            # Our pip installs there, too: one of its own would take longer than what is installed.
            _install(sys.executable, "-m", "venv", "--without-pip", str(folder))
            pip = [sys.executable, "-m", "pip", "--python", str(folder), "-q", "--disable-pip-version-check"]
            _install(*pip, "install", f"llm=={LLM_VERSION}", f"llm-echo=={ECHO_VERSION}")
    return str(program)


def pyln() -> str:
    """Core Lightning's client, its module of the transport. Skips when pip cannot have it."""
    folder = _WORK / "pyln"
    module = folder / "pyln" / "client" / "lightning.py"
    with _alone(folder):
        if not module.exists():
            pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            _install(*pip, "--no-deps", "--target", str(folder), f"pyln-client=={PYLN_VERSION}")
    return str(module)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Tests run in several processes; one installs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot be installed: {' '.join(command[-2:])}: {done.stderr.strip()[-200:]}")

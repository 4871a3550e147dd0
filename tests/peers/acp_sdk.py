"""The echo agent of ACP's own Python SDK, which we did not write: the example that its sdist ships."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

VERSION = "0.12.1"
_WORK = Path(__file__).resolve().parents[2] / ".work" / "acp-sdk"


def echo_agent() -> list[str]:
    """The command that runs it, put into ``.work/acp-sdk`` at first use. Skips where it cannot be had."""
    venv = _WORK / f"python{sys.version_info.major}.{sys.version_info.minor}"
    source = _WORK / f"agent_client_protocol-{VERSION}"
    ready = venv / f"ready-{VERSION}"
    _WORK.mkdir(parents=True, exist_ok=True)
    with (_WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not ready.exists():
            package = f"agent-client-protocol=={VERSION}"
            pip = [sys.executable, "-m", "pip", "--python", str(venv), "-q", "--disable-pip-version-check"]
            _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
            _run(*pip, "install", package)
            _run(*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", str(_WORK), package)
            with tarfile.open(source.with_name(f"{source.name}.tar.gz")) as sdist:
                sdist.extractall(_WORK, filter="data")
            ready.touch()
    return [str(venv / "bin" / "python"), str(source / "examples" / "echo_agent.py")]


def python() -> str:
    """The Python that has the SDK."""
    return echo_agent()[0]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ACP's Python SDK cannot be installed: {done.stderr.strip()[-200:]}")

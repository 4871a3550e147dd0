"""Everything that must be green: lint, types, layers, then the tests against the built wheel.

Runs with any Python >= 3.11 and nothing installed; what it needs goes into `.work`. The first Python
does everything; the newest CPython found on the machine, where that is another one, runs what may differ
from one Python to the next. While the tests run, which often wait, the other tools run beside them.
With the word ``bench`` it runs the benchmarks instead: they, too, must meet what people install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"

WORKERS = "4"
"""Test processes: two for each of the two cores they are meant for. With five a run took longer."""

ON_THE_NEWEST = (
    *("tests/protocol", "tests/golden", "tests/contract/test_store_sessions.py"),
    *("tests/daemon/rpc", "tests/daemon/test_main.py", "tests/e2e/test_jsonrpc_specification.py"),
)
"""Where a Python shows: annotations and codec, loop and sockets, the store, the installed daemon.

The rest (terminals, services, faults, other programs) is about the machine and ours: once is enough.
"""

CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports",))


def main() -> None:
    """Exit with the status of the first thing that is not green."""
    first, *newer = _pythons()
    wheel = _build(_venv(first))
    if sys.argv[1:2] == ["bench"]:
        venv = _environment(first, wheel, "dev,docs")
        sys.exit(_run_tool(venv, "python", "-m", "benchmarks", *sys.argv[2:]))
    with ThreadPoolExecutor(3) as beside:
        # At once: pip is busy with one core, and waits for the network.
        newest = [beside.submit(_environment, python, wheel, "test") for python in newer[-1:]]
        venv = _environment(first, wheel, "dev,docs")
        beside.submit(_prepare, venv)
        checks = beside.submit(_check, venv)
        status = _pytest(venv)
        status = _finished(checks) or status
        for environment in newest:
            options = ("-p", "no:cacheprovider", "-m", "not once", *ON_THE_NEWEST)
            status = status or _pytest(environment.result(), *options)
    sys.exit(status)


def _pytest(venv: Path, *options: str) -> int:
    """The whole suite, or what is named, on both cores."""
    # A process that has run out of tests takes some of another's: else the last one works alone for a minute.
    return _run_tool(venv, "pytest", "-q", "-n", WORKERS, "--dist", "worksteal", *options)


def _check(venv: Path) -> tuple[int, str]:
    """All the other tools; gives the first bad status, or 0, and what they showed."""
    first, shown = 0, []
    for tool, *arguments in CHECKS:
        began = time.monotonic()
        done = subprocess.run(
            [str(venv / "bin" / tool), *arguments],
            cwd=ROOT,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        shown.append(f"\n=== {tool} {' '.join(arguments)} ({venv.name})\n{done.stdout}")
        shown.append(f"=== {tool}: exit {done.returncode}, {time.monotonic() - began:.0f} s\n")
        first = first or done.returncode
    return first, "".join(shown)


def _prepare(venv: Path) -> None:
    """Install what tests use beside Port42; a test that is earlier waits for it."""
    command = [venv / "bin" / "python", "-m", "peers.prepare"]
    subprocess.run(command, cwd=ROOT / "tests", env=_environ(), stdin=subprocess.DEVNULL, check=False)


def _finished(checks: Future[tuple[int, str]]) -> int:
    status, shown = checks.result()
    print(shown, end="", flush=True)
    return status


def _run_tool(venv: Path, tool: str, *arguments: str) -> int:
    """Run one tool of an environment from the root; gives its exit status."""
    print(f"\n=== {tool} {' '.join(arguments)} ({venv.name})", flush=True)
    began = time.monotonic()
    command = [str(venv / "bin" / tool), *arguments]
    status = subprocess.run(
        command, cwd=ROOT, env=_environ(), stdin=subprocess.DEVNULL, check=False
    ).returncode
    print(f"=== {tool}: exit {status}, {time.monotonic() - began:.0f} s", flush=True)
    return status


def _environ() -> dict[str, str]:
    """The tests must meet the wheel, not the sources: nothing of the root is on the path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _build(venv: Path) -> Path:
    dist = WORK / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    _run(venv / "bin" / "pip", "wheel", *QUIET, "--no-deps", "-w", dist, ROOT)
    (wheel,) = dist.glob("port42d-*.whl")
    return wheel


def _venv(python: Path) -> Path:
    """The virtual environment of `python`, made where there is none."""
    venv = WORK / f"python{_version(python)}"
    if not (venv / "bin" / "pip").exists():
        _run(python, "-m", "venv", venv)
    return venv


def _environment(python: Path, wheel: Path, extras: str) -> Path:
    """A virtual environment of `python` with the wheel and the tools, made or brought up to date."""
    venv = _venv(python)
    if (venv / "bin" / "port42").exists():
        _run(venv / "bin" / "pip", "uninstall", *QUIET, "--yes", "port42d")  # of the same version, maybe
    _run(venv / "bin" / "pip", "install", *QUIET, f"{wheel}[{extras}]")
    return venv


def _pythons() -> list[Path]:
    """This Python, then every newer CPython on PATH or kept by pyenv, one for each minor version."""
    found: dict[tuple[int, int], Path] = {}
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    folders = [Path(folder) for folder in os.get_exec_path()] + sorted(kept.glob("3.*/bin"))
    own = sys.version_info[:2]
    for folder in folders:
        for name in folder.glob("python3.*"):
            if (match := re.fullmatch(r"python3\.(\d+)", name.name)) and (3, int(match[1])) > own:
                version = (3, int(match[1]))
                if version not in found and _works(name, version):
                    found[version] = name
    return [Path(sys.executable), *(found[version] for version in sorted(found))]


def _works(python: Path, version: tuple[int, int]) -> bool:
    # A pyenv shim is there for every version and runs for some.
    say = "import sys, venv; print(sys.implementation.name, *sys.version_info[:2])"
    said = subprocess.run([python, "-c", say], capture_output=True, text=True, check=False)
    return said.stdout.split() == ["cpython", *map(str, version)]


def _version(python: Path) -> str:
    say = "import sys; print('{}.{}'.format(*sys.version_info))"
    return subprocess.run([python, "-c", say], capture_output=True, text=True, check=True).stdout.strip()


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL)


QUIET = ("-qq", "--disable-pip-version-check")  # errors only: some settings bring a warning for each package

if __name__ == "__main__":
    main()

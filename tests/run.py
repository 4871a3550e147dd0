"""Everything that must be green: lint, types, floors, then the tests against the built wheel.

Runs with any Python >= 3.11 and nothing installed; what it needs goes into `.work`. The first Python
does everything; the newest CPython found on the machine, where that is another one, runs what may differ
from one Python to the next.
With the word ``bench`` it runs the benchmarks instead: they, too, must meet what people install.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"

ON_THE_NEWEST = (
    *("tests/protocol", "tests/golden", "tests/contract/test_store.py", "tests/daemon"),
    *(f"--ignore=tests/daemon/{room}" for room in ("store", "backends", "exports", "imports")),
    *("tests/e2e/test_jsonrpc_specification.py", "tests/cli/test_app.py"),
)
"""Where a Python shows: annotations and codec, loop and sockets, the store, the installed command.

The rest (terminals, services, faults, other programs) is about the machine and ours: once is enough.
"""


def main() -> None:
    """Stop at the first thing that is not green, with its exit status."""
    wheel = _build()
    first, *newer = _pythons()
    venv = _environment(first, wheel)
    if sys.argv[1:2] == ["bench"]:
        step(venv, "python", "-m", "benchmarks", *sys.argv[2:])
        return
    step(venv, "ruff", "check", ".")
    step(venv, "ruff", "format", "--check", ".")
    step(venv, "mypy")
    step(venv, "lint-imports")
    pytest(venv)
    for python in newer[-1:]:
        pytest(_environment(python, wheel), "-p", "no:cacheprovider", "-m", "not once", *ON_THE_NEWEST)


def pytest(venv: Path, *options: str) -> None:
    """The whole suite, or what is named, on both cores."""
    step(venv, "pytest", "-q", "-n", "2", *options)


def step(venv: Path, tool: str, *arguments: str) -> None:
    """Run one tool of an environment from the root, and stop if it is not content."""
    print(f"\n=== {tool} {' '.join(arguments)} ({venv.name})", flush=True)
    began = time.monotonic()
    # The tests must meet the wheel, not the sources: nothing of the root is on the path.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(venv / "bin" / tool), *arguments], cwd=ROOT, env=clean, check=False)
    print(f"=== {tool}: exit {done.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    if done.returncode:
        sys.exit(done.returncode)


def _build() -> Path:
    dist = WORK / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    builder = WORK / "builder"
    if not (builder / "bin" / "pip").exists():
        _run(sys.executable, "-m", "venv", builder)
    _run(builder / "bin" / "pip", "wheel", *QUIET, "--no-deps", "-w", dist, ROOT)
    (wheel,) = dist.glob("port42-*.whl")
    return wheel


def _environment(python: Path, wheel: Path) -> Path:
    """A virtual environment of `python` with the wheel and the tools, made or brought up to date."""
    venv = WORK / f"python{_version(python)}"
    if not (venv / "bin" / "pip").exists():
        _run(python, "-m", "venv", venv)
    _run(venv / "bin" / "pip", "install", *QUIET, f"{wheel}[dev]")
    _run(venv / "bin" / "pip", "install", *QUIET, "--no-deps", "--force-reinstall", wheel)
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


QUIET = ("-q", "--disable-pip-version-check")

if __name__ == "__main__":
    main()

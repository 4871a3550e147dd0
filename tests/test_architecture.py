"""ARCHITECTURE.md says what is: its layers are the linter's, and a request passes the modules it names."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
SOURCES = (
    "cli/port42_acp",
    "cli/port42_cli",
    "cli/port42_mcp",
    "cli/port42_client",
    "daemon/port42_daemon",
    "protocol/port42_protocol",
)


def names(text):
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


# --- layers -----------------------------------------------------------------------------------------


def test_the_table_of_layers_is_the_linters_contract():
    """Rows from the top down; the modules of a layer are in backticks in the second column."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract.get("exhaustive"))
    enforced = [set(re.split(r" [:|] ", layer)) for layer in contract["layers"]]
    rows = ARCHITECTURE.partition("| layer | modules | what it knows |\n")[2].partition("\n\n")[0]
    described = [set(names(row.split("|")[2])) for row in rows.splitlines()[1:]]
    assert described == enforced


# --- one request ------------------------------------------------------------------------------------

TRACER = """
import atexit, os, runpy, sys, threading, time
own, calls, last = tuple(os.environ["TRACED"].split(":")), [], {}

def note(frame, event, _):
    # 1 is CO_OPTIMIZED: a function, not the body of a module or class that is imported.
    if event == "call" and frame.f_code.co_flags & 1:
        # Only a change of module is kept: the same one calls itself all the time.
        path, thread = frame.f_code.co_filename, threading.current_thread().name
        # The index is written behind what happens, at times of its own.
        if last.get(thread) != path and path.startswith(own) and thread != "indexer":
            last[thread] = path
            calls.append((time.monotonic_ns(), path))

def write():
    sys.setprofile(None)
    with open(f"{os.environ['TRACE']}.{os.getpid()}", "w") as file:
        file.writelines(f"{at} {path}\\n" for at, path in calls)

atexit.register(write)
threading.setprofile(note)
sys.setprofile(note)
sys.argv[:] = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def traced(home, process):
    """Runs a command, and the daemon before it, with a trace; gives the files in the order of first calls."""
    folders = [str(Path(importlib.import_module(Path(name).name).__file__).parent) + "/" for name in SOURCES]
    env = os.environ | {"TRACED": ":".join(folders), "TRACE": str(home.parent / "trace")}
    command = [sys.executable, "-c", TRACER]

    def run(words):
        daemon = process([*command, "port42_daemon", "--ready-fd", "1"], env=env, stdout=subprocess.PIPE)
        assert daemon.stdout.readline() == b"ready\n"
        # There is a session, caches are filled and modules imported: that is not what is described.
        for typed in (["rpc", "create_session", "agent=ai-engineer", "session_id=cli-1"], words):
            subprocess.run([*command, "port42_cli", *typed], env=env, check=True, capture_output=True)
        began = time.monotonic_ns()
        subprocess.run([*command, "port42_cli", *words], env=env, check=True, capture_output=True)
        ended = time.monotonic_ns()
        daemon.terminate()
        assert daemon.wait(60) == 0
        calls: list[tuple[int, str]] = []
        for trace in home.parent.glob("trace.*"):
            lines = [line.split(" ", 1) for line in trace.read_text().splitlines()]
            here = [(int(at), path) for at, path in lines if began <= int(at) <= ended]
            if trace.suffix == f".{daemon.pid}":
                # Until it accepts this connection it has to do with the end of the one before.
                here = list(itertools.dropwhile(lambda call: not call[1].endswith("/rpc/server.py"), here))
            calls += here
        calls.sort()
        return list(dict.fromkeys(path for _, path in calls))

    return run


def source(name):
    """The one file that a name such as `rpc/connection.py` means, as it is installed here."""
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    matches = [path for path in files if path.as_posix().endswith(f"/{name}")]
    assert len(matches) == 1, f"{name} is {matches}"
    (path,) = matches
    package = next(folder for folder in SOURCES if path.is_relative_to(ROOT / folder))
    installed = Path(importlib.import_module(Path(package).name).__file__).parent
    return str(installed / path.relative_to(ROOT / package))


def test_a_request_passes_the_modules_that_the_text_names_in_that_order(traced):
    """The section's first paragraph: first a command in backticks, then the modules as they are entered."""
    section = re.search(r"^## One request.*\n\n((?:.+\n)+)", ARCHITECTURE, re.MULTILINE)
    command, *others = names(section[1])
    modules = [name for name in others if name.endswith(".py")]
    assert command.startswith("port42 ")
    assert len(modules) >= 8
    called = traced(shlex.split(command.replace("\n", " "))[1:])
    files = [source(name) for name in modules]
    order = [path for path in called if path in files]
    shown = json.dumps(called, indent=1)
    assert [modules[files.index(path)] for path in order] == modules, shown


# --- the tests' tree ----------------------------------------------------------------------------------

TREES = {
    "tests/acp": "cli/port42_acp",
    "tests/cli": "cli/port42_cli",
    "tests/client": "cli/port42_client",
    "tests/daemon": "daemon/port42_daemon",
    "tests/mcp_server": "cli/port42_mcp",
    "tests/protocol": "protocol/port42_protocol",
}


@pytest.mark.parametrize("tests", TREES)
def test_the_tests_of_a_package_are_in_the_folder_of_its_name(tests):
    for path in (ROOT / tests).rglob("test_*.py"):
        package = ROOT / TREES[tests] / path.parent.relative_to(ROOT / tests)
        assert (package / "__init__.py").exists() or package == ROOT / TREES[tests], path


@pytest.mark.parametrize(("package", "most"), [("daemon/port42_daemon", 10), ("cli/port42_cli", 8)])
def test_few_modules_lie_beside_the_packages(package, most):
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= most, modules


# --- subjects -----------------------------------------------------------------------------------------


def modules(*folders):
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_few_modules_are_so_small_that_they_may_have_no_subject_of_their_own():
    small = [
        str(path.relative_to(ROOT))
        for path in modules("cli", "daemon", "protocol")
        if path.name != "__init__.py" and len(path.read_text().splitlines()) <= 40
    ]
    assert len(small) <= 12, small


def test_the_cli_has_a_name_for_what_the_daemon_answers():
    """Of the protocol's types, or of those in `wire.py` that are used where decoding costs too much."""
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in modules("cli")
        for line in path.read_text().splitlines()
        if "dict[str, Any]" in line
    ]
    assert len(lines) <= 15, lines

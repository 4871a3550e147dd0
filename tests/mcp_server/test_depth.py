"""How deep an agent was asked: its own environment says it, or, where a client cleaned that, those above."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from port42_mcp.depth import current_depth

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of others")
CODE = "import os; from port42_mcp.depth import current_depth; print(current_depth(os.environ))"
CLEANED = "import subprocess, sys; print(subprocess.check_output(sys.argv[1:], env={}, text=True), end='')"


@pytest.mark.parametrize(
    ("value", "depth"),
    [("0", 0), ("3", 3), ("8", 8), ("9", 8), ("", 8), ("-1", 8), ("x", 8), ("9" * 5000, 8)],
)
def test_the_variable_says_it_and_what_nobody_wrote_is_the_deepest(value, depth):
    assert current_depth({"PORT42_DEPTH": value}, pid=1) == depth


def test_a_persons_agent_is_not_deep():
    assert current_depth({}, pid=1) == 0


@on_linux
def test_where_the_client_cleaned_the_environment_its_own_one_says_it():
    command = [sys.executable, "-c", CLEANED, sys.executable, "-c", CLEANED, sys.executable, "-c", CODE]
    env = os.environ | {"PORT42_DEPTH": "2"}
    assert subprocess.check_output(command, env=env, text=True).strip() == "2"


@on_linux
def test_the_nearest_one_counts():
    inner = "import os, subprocess, sys; os.environ['PORT42_DEPTH'] = '1'\n"
    inner += "print(subprocess.check_output(sys.argv[1:], text=True), end='')"
    command = [sys.executable, "-c", inner, sys.executable, "-c", CLEANED, sys.executable, "-c", CODE]
    # The process in between keeps in /proc the environment that it was started with.
    assert subprocess.check_output(command, env=os.environ | {"PORT42_DEPTH": "5"}, text=True).strip() == "1"


@on_linux
def test_a_process_that_is_gone_ends_the_search():
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    assert current_depth({}, pid=int(gone.stdout)) == 0

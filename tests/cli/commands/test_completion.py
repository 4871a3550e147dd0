"""`port42 completion`: a script for each shell, and for no other."""

from __future__ import annotations

import shutil
import subprocess

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_its_script_and_no_daemon_is_started(port42, home, shell):
    done = port42("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_PORT42_COMPLETE" in done.stdout
    assert not home.exists()
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here to read it")
    read = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


@pytest.mark.parametrize("typed", [[], ["tcsh"], ["bash", "zsh"]])
def test_another_shell_is_refused(port42, typed):
    done = port42("completion", *typed)
    assert (done.returncode, done.stdout) == (2, "")

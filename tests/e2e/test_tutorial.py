"""The commands of the tutorial, typed one after another as a new user would; they show what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.once

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text()
COMMANDS = [
    (command, shown.rstrip("\n"))
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
VARIES = (
    (r"cli-\d{8,13}", r"cli-\d{8,13}"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", r"\d{4}-\d\d-\d\d \d\d:\d\d"),
    (r"\d+ s ago", r"(\d+ \w+ ago|now)"),
    (r"\d+\.\d s", r"\d+\.\d s"),
    (r"pid \d+", r"pid \d+"),
)
"""What differs from one time to the next, and what it always is."""


def pattern(shown):
    """An expression for the text with what varies in it; blanks are as wide as the columns need."""
    varying = re.compile("|".join(f"(?P<v{number}>{found})" for number, (found, _) in enumerate(VARIES)))
    parts, position = [], 0
    for match in varying.finditer(shown):
        parts += [re.escape(shown[position : match.start()]), VARIES[int(match.lastgroup[1:])][1]]
        position = match.end()
    parts.append(re.escape(shown[position:]))
    return re.sub(r"(\\ )+", r" +", "".join(parts))


def test_each_command_shows_what_the_tutorial_says(fresh_user, process):
    assert len(COMMANDS) > 15
    folder = fresh_user.home.parent
    programs = str(Path(fresh_user.argv[0]).parent)
    environment = fresh_user.environment | {"TERM": "dumb", "NO_COLOR": "1"}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    for command, shown in COMMANDS:
        child = process.at_terminal(
            ["bash", "-c", command], env=environment, cwd=str(folder), timeout=60, dimensions=(40, 120)
        )
        child.expect(pexpect.EOF)
        child.close()
        lines = [line.rstrip() for line in child.before.replace("\r\n", "\n").rstrip("\n").split("\n")]
        assert child.exitstatus == 0, (command, child.before)
        if shown:
            assert re.fullmatch(pattern(shown), "\n".join(lines)), (command, child.before)


def test_a_text_that_differs_is_noticed():
    assert re.fullmatch(pattern("Session: cli-1757350466684"), "Session: cli-1795718956630")
    assert not re.fullmatch(pattern("Session: cli-1757350466684"), "Session: x")
    assert not re.fullmatch(pattern("Recorded (1 message)."), "Recorded (2 messages).")

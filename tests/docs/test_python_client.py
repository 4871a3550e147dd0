"""Each example of docs/python-client.md is run as it stands, and its types are checked by mypy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers.daemons import stop_daemon_of
from peers.talk import configure

pytestmark = pytest.mark.once

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python-client.md"
BLOCKS = {
    heading.strip(): re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for heading, text in re.findall(
        r"^#+ (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
}
SAYS = {
    "Use it from Python": r"BUILD A PARSER",
    "Events as they come": r"AND A LEXERanswered python-\d+",
    "Any method": r"1 user\n(?:.+\n)*what I read a book about parsers",
    "Follow what happens": r"1 user\n2 assistant",
    "On an event loop": r"PART 0\nPART 1\nPART 2\nONE MORE\n6",
    "Errors": r"GO ON",
    "Which daemon": r"\d+\.\d+\.\d+\nno daemon answers at .*",
}


def test_each_section_with_code_has_one_example_and_says_what_it_prints():
    assert {heading: len(blocks) for heading, blocks in BLOCKS.items() if blocks} == dict.fromkeys(SAYS, 1)


def test_the_examples_run_one_after_another_in_one_home(home, daemon, tmp_path):
    """In the order of the page: later ones find the sessions of earlier ones."""
    configure(home, **{"ai-engineer": ["tr", "a-z", "A-Z"]})
    daemon.call("reload_config")
    printed = {}
    try:
        for heading in SAYS:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", BLOCKS[heading][0]],
                cwd=tmp_path,
                env=os.environ | {"PORT42_HOME": str(home)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), heading
            printed[heading] = done.stdout.strip()
    finally:
        stop_daemon_of(tmp_path / "another-home")
    for heading, pattern in SAYS.items():
        assert re.fullmatch(pattern, printed[heading]), (heading, printed[heading])


def test_the_examples_have_types_for_a_user(tmp_path):
    """Takes 5 s: mypy reads all that an example imports, as for whoever uses the client."""
    files = []
    for number, heading in enumerate(SAYS):
        files.append(tmp_path / f"example_{number}.py")
        files[-1].write_text(BLOCKS[heading][0])
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from port42_client import Client\n\nClient().possess('a', 'b', if_busy='perhaps').result.replay\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, *files, wrong], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    complaints = done.stdout.splitlines()
    assert {line.partition(":")[0] for line in complaints} == {"wrong.py"}, done.stdout + done.stderr
    assert "if_busy" in done.stdout or "Literal" in done.stdout
    assert 'has no attribute "replay"' in done.stdout

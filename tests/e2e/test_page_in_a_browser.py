"""The exported page in headless Chromium: it is laid out, and nothing that a message says runs.

Skipped where there is no Chromium (Debian's package `chromium`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from peers.page_rules import HOSTILE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --enable-logging=stderr --v=0"
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")


def opened(page: Path, profile: Path, fragment: str = "") -> tuple[str, str]:
    """The DOM after the page has loaded, and what the console said."""
    command = [
        str(BROWSER),
        *FLAGS.split(),
        f"--user-data-dir={profile}",
        "--dump-dom",
        page.as_uri() + fragment,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_nothing_runs_and_everything_is_laid_out(daemon, port42, tmp_path):
    begun = daemon.call("create_session", agent="ai-muse", title=HOSTILE[0])["session_id"]
    for text in (*HOSTILE, "```python\nimport os\n```"):
        for role in ("user", "assistant"):
            daemon.call("append_message", agent="ai-muse", session_id=begun, role=role, content=text)
    page = tmp_path / "page.html"
    assert port42("export", begun, "-o", str(page)).returncode == 0
    dom, console = opened(page, tmp_path / "profile")
    assert "data-ran" not in dom.split("<body>")[0]
    assert dom.count("<article") == 2 * len(HOSTILE) + 2
    assert console == "", "style sheet and script are let in by their hashes, and nothing else tried"
    assert dom.count(">Copy</button>") == dom.count("<pre"), "the script ran"


def test_the_page_of_contents_shows_the_sessions_that_have_the_words(daemon, port42, tmp_path):
    for text in (*HOSTILE, "İstanbul is a TOWN, <b>not</b> a village"):
        begun = daemon.call("create_session", agent="ai-muse")["session_id"]
        daemon.call("append_message", agent="ai-muse", session_id=begun, role="user", content=text)
    done = port42("export", "--all", "@ai-muse", "-f", "html", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    page = tmp_path / "out" / "index.html"
    dom, console = opened(page, tmp_path / "profile", "#town%20%3Cb")
    assert console == ""
    assert "data-ran" not in dom.split("<body>")[0]
    assert f"1 of {len(HOSTILE) + 1}" in dom
    assert dom.count("<li hidden") == len(HOSTILE)
    assert "İstanbul is a <mark>TOWN</mark>, &lt;b&gt;not" in dom


def test_this_test_can_fail(tmp_path):
    """The same texts in a page that takes them as they are do run."""
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><html><body>{HOSTILE[0]}{json.dumps('x')}</body></html>")
    assert 'data-ran="1"' in opened(page, tmp_path / "profile")[0]

"""`port42 export --all -f html`: a page of contents that searches; `--open`: a browser that gets the page."""

from __future__ import annotations

import html
import re
import shlex
import sys
from pathlib import Path

import pytest
from peers.page_rules import HOSTILE, Rules

KEY = "sk-ant-api03-" + "aB3" * 20


@pytest.fixture
def exported(port42, daemon, tmp_path):
    """Exports sessions that begin with these messages; gives the text of the page of contents."""

    def export(*messages, options=(), tags=()):
        for message in messages:
            begun = daemon.call("create_session", agent="ai-muse")["session_id"]
            daemon.call("append_message", agent="ai-muse", session_id=begun, role="user", content=message)
            daemon.call("tag_session", session_id=begun, add=list(tags))
        done = port42("export", "--all", "@ai-muse", "-f", "html", "-o", str(tmp_path / "out"), *options)
        assert done.returncode == 0, done.stderr
        return (tmp_path / "out" / "index.html").read_text()

    return export


def test_each_session_has_a_link_to_its_page_and_its_words(exported, tmp_path):
    page = exported("build a parser", "an ode\n\nto <clouds>", tags=["poem"])
    links = re.findall(r'<a href="([^"]+)">([^<]*)</a>', page)
    assert {title for _, title in links} == {"build a parser", "an ode"}
    assert all((tmp_path / "out" / file).is_file() for file, _ in links)
    assert "hidden>an ode to &lt;clouds&gt; " in page
    assert "1 messages" not in page
    assert " #poem" in page


def test_secrets_are_redacted_in_it_as_in_the_pages(exported):
    page = exported(f"{KEY} is my key", options=["--redact"])
    assert KEY not in page
    assert page.count("[redacted: anthropic key]") >= 2, "in the title and in the text"


def test_nothing_in_it_runs_but_its_own_script(exported):
    page = exported(*HOSTILE)
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts == ["<script>"]
    texts = re.findall(r'<p class="text" hidden>(.*?)</p>', page, re.DOTALL)
    assert len(texts) == len(HOSTILE)
    for text in texts:
        assert "<" not in text
    assert "<iframe srcdoc=" in html.unescape("".join(texts)), "it is all there, as text"
    rules = Rules(Path("cli/port42_cli/contents_page/page.js").read_text())
    rules.feed(page)
    own = re.compile(
        r"<(input|output)>|(input|output) .*|(href=|no rel: )rpc-\d+\.html|p hidden|(input|output) "
    )
    assert [found for found in rules.found if not own.fullmatch(found)] == []


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """A browser that notes what it is to open; gives the file with that."""
    noted = tmp_path / "opened"
    program = tmp_path / "browser.py"
    program.write_text(f"import sys, pathlib\npathlib.Path({str(noted)!r}).write_text(sys.argv[1])\n")
    monkeypatch.setenv("BROWSER", f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} %s")
    return noted


def test_the_page_is_opened(port42, browser, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    done = port42("export", begun, "--open", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert browser.read_text() == (tmp_path / f"{begun}.html").as_uri()
    assert "hello" in (tmp_path / f"{begun}.html").read_text()
    assert port42("export", "--all", "@ai-muse", "-o", "out", "--open", cwd=tmp_path).returncode == 0
    assert browser.read_text() == (tmp_path / "out" / "index.html").as_uri()


def test_without_a_browser_it_says_where_the_page_is(port42, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    page = tmp_path / "a.html"
    nothing = {"BROWSER": "", "PATH": str(tmp_path), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = port42("export", begun, "-o", str(page), "--open", env=nothing)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1, f"Error: no browser was found here; the page is {page}",
    )  # fmt: skip
    assert page.is_file()


@pytest.mark.parametrize("options", [["-f", "md"], ["-o", "a.json"]])
def test_only_a_page_can_be_opened(port42, options):
    done = port42("export", "x", "--open", *options)
    assert (done.returncode, "--open: expected the format html" in done.stderr) == (2, True)

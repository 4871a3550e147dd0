"""The site: each page is in its navigation, links lead somewhere, and MkDocs builds it without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MADE = ("reference/", "pictures/", "security.md", "changelog.md")
"""What is made while the site is built; its names are in `docs/generators/hooks.py`."""


def pages(node):
    """The pages in a part of the navigation."""
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node
    return [page for child in children for page in pages(child)]


def test_every_page_is_in_the_navigation_once():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = [page for page in pages(settings["nav"]) if not page.startswith(MADE)]
    assert sorted(named) == sorted([*(path.name for path in DOCS.glob("*.md")), "decisions/README.md"])


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_links_lead_somewhere(page):
    folder = (DOCS / page).parent
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (DOCS / page).read_text()):
        assert target.startswith(MADE) or (folder / target).is_file(), target


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="no MkDocs here (the extra `docs`)")
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("tutorial/index.html", "reference/methods/index.html", "pictures/status.svg"):
        assert (tmp_path / "site" / page).stat().st_size > 1000
    picture = (tmp_path / "site" / "pictures" / "status.svg").read_text()
    assert "url(http" not in picture, "it loads nothing"
